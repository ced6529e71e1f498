"""MLP: layers of the given widths, a linear model without them, one view of channel 1 or none."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.models import MLP


def test_the_logits_are_those_of_the_layers_written_out() -> None:
    model = MLP(5, 3, hidden=[4]).eval()
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    linear, norm, _ = model.encoder  # type: ignore[misc]
    norm.running_mean.fill_(0.3)
    hidden = ((x @ linear.weight.T - 0.3) / (1 + norm.eps) ** 0.5).clamp(min=0)
    expected = hidden @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(x), expected)
    torch.testing.assert_close(model(x.unsqueeze(1)), expected)


def test_without_hidden_layers_the_features_are_the_input_and_the_model_is_linear() -> None:
    model = MLP(5, 3, hidden=[])
    x = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(x), model.head(x[:, 0]))
    assert sum(parameter.numel() for parameter in model.parameters()) == 5 * 3 + 3


@pytest.mark.parametrize(("features", "hidden"), [(0, [4]), (5, [4, 0])])
def test_widths_below_one_are_refused(features: int, hidden: list[int]) -> None:
    with pytest.raises(InvalidInputError, match=r"^num_features, hidden"):
        MLP(features, 3, hidden)


def test_a_linear_model_of_standardised_features_does_not_depend_on_their_scale() -> None:
    torch.manual_seed(0)
    model = MLP(6, 3, hidden=[], standardise=True)
    x = torch.randn(50, 6)
    torch.testing.assert_close(model(x), model(1000 * x + 7), rtol=1e-3, atol=1e-3)
    assert [name for name, _ in model.named_parameters()] == ["head.weight", "head.bias"]
