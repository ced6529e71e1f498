"""ConvolutionalHead: its layers written out, standardised input, refusals."""

import pytest
import torch
import torch.nn.functional as F

from residual_ssl.errors import InvalidInputError
from residual_ssl.models import ConvolutionalHead


def test_the_logits_are_those_of_the_layers_written_out() -> None:
    torch.manual_seed(0)
    model = ConvolutionalHead(5, 3, hidden=4).eval()
    x = torch.randn(2, 5, 6, 7)
    model.encoder.running_mean.fill_(0.3)  # type: ignore[operator, union-attr]
    first, _, _, second, _, _, last = model.head
    scale = 1 / (1 + 1e-5) ** 0.5
    hidden = (F.conv2d((x - 0.3) * scale, first.weight) * scale).clamp(min=0)
    hidden = (F.conv2d(hidden, second.weight, padding=1) * scale).clamp(min=0)
    torch.testing.assert_close(model(x), F.conv2d(hidden, last.weight, last.bias))


def test_the_scale_of_the_maps_does_not_matter() -> None:
    torch.manual_seed(0)
    model = ConvolutionalHead(5, 3)
    x = torch.randn(4, 5, 6, 6)
    torch.testing.assert_close(model(x), model(1000 * x + 7), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("features", "hidden"), [(0, 4), (5, 0)])
def test_widths_below_one_are_refused(features: int, hidden: int) -> None:
    with pytest.raises(InvalidInputError, match=r"^num_features, hidden"):
        ConvolutionalHead(features, 3, hidden)
