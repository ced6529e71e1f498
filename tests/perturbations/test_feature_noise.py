"""FeatureNoise: the share that is hidden, the deviation of the rest, one draw for a batch however it is divided."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations import FeatureNoise
from residual_ssl.runtime.global_batch import batch_part


def test_hides_the_share_asked_for_and_leaves_the_rest_as_it_is() -> None:
    torch.manual_seed(0)
    x = 1 + torch.rand(200, 1, 100)
    shown = FeatureNoise(masked=0.3)(x)
    hidden = shown == 0
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.01)
    torch.testing.assert_close(shown[~hidden], x[~hidden])


def test_noise_is_normal_with_the_deviation_asked_for_and_spares_what_is_zero() -> None:
    torch.manual_seed(0)
    x = torch.full((200, 1, 200), 5.0)
    x[:, :, ::2] = 0
    shown = FeatureNoise(masked=0.0, deviation=0.2)(x)
    assert (shown[:, :, ::2] == 0).all()
    noise = (shown[:, :, 1::2] - 5) / 0.2
    assert noise.mean().item() == pytest.approx(0, abs=0.03)
    assert noise.std().item() == pytest.approx(1, abs=0.03)
    assert (noise.abs() < 1.96).float().mean().item() == pytest.approx(0.95, abs=0.01)


def test_a_sample_gets_the_same_however_the_batch_is_divided() -> None:
    perturbation = FeatureNoise(masked=0.3, deviation=0.5)
    x = torch.ones(6, 1, 10)
    with batch_part(3):
        together = perturbation(x)
    parts = []
    for part in range(2):
        with batch_part(3, part, 2):
            parts.append(perturbation(x[:3]))
    torch.testing.assert_close(torch.cat(parts), together)


def test_keeps_the_dtype() -> None:
    assert FeatureNoise(deviation=0.1)(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(("name", "value"), [("masked", -0.1), ("masked", 1.1), ("deviation", -1.0)])
def test_a_choice_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InvalidInputError, match=f"^{name}: got {value}"):
        FeatureNoise(**{name: value})
