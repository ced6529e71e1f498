"""TrustedMask: what is erased, where, and how often."""

import warnings

import pytest
import torch

from residual_ssl import TrustedMask
from residual_ssl.errors import InvalidInputError, ResidualSSLWarning


@pytest.mark.parametrize("shape", [(4, 3, 40), (4, 3, 24, 40), (2, 3, 8, 16, 24)])
def test_only_trusted_points_of_whole_cells_are_erased(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    trusted = torch.rand((shape[0], *shape[2:]), generator=generator) < 0.7
    masked, mask = TrustedMask(ratio=0.5, block=8, probability=1.0, fill=-7.0)(x, trusted)
    assert mask.shape == trusted.shape
    assert not mask[~trusted].any()
    erased = mask.unsqueeze(1).expand_as(x)
    assert bool((masked[erased] == -7).all())
    assert torch.equal(masked[~erased], x[~erased])
    # Within a cell either all trusted points go, or none.
    blocks = mask.reshape(shape[0], *[n for side in shape[2:] for n in (side // 8, 8)])
    seen = trusted.reshape(blocks.shape)
    inner = tuple(range(2, blocks.dim(), 2))
    erased_in_cell, trusted_in_cell = blocks.sum(inner), seen.sum(inner)
    assert bool(((erased_in_cell == 0) | (erased_in_cell == trusted_in_cell)).all())


def test_whole_cells_go_where_trust_does_not_matter() -> None:
    x = torch.randn(4, 3, 24, 40)
    torch.manual_seed(0)
    _, everywhere = TrustedMask(ratio=0.5, block=8, probability=1.0)(x, torch.ones(4, 24, 40, dtype=torch.bool))
    torch.manual_seed(0)
    mask = TrustedMask(ratio=0.5, block=8, probability=1.0, trusted_only=False)
    masked, erased = mask(x, torch.zeros(4, 24, 40, dtype=torch.bool))
    assert torch.equal(erased, everywhere)
    assert 0.3 < erased.float().mean() < 0.7
    assert torch.equal(masked != x, erased.unsqueeze(1).expand_as(x))


def test_the_share_of_cells_and_of_samples_is_as_asked() -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 1, 32, 32)
    trusted = torch.ones(400, 32, 32, dtype=torch.bool)
    _, mask = TrustedMask(ratio=0.7, block=4, probability=0.5)(x, trusted)
    touched = mask.flatten(1).any(1)
    assert 0.42 < touched.float().mean() < 0.58
    assert 0.68 < mask[touched].float().mean() < 0.72


def test_samples_can_be_chosen_by_the_caller() -> None:
    samples = torch.tensor([True, False, True])
    _, mask = TrustedMask(ratio=1.0, block=2)(torch.ones(3, 1, 4), torch.ones(3, 4, dtype=torch.bool), samples)
    assert torch.equal(mask.any(1), samples)


def test_one_trust_value_per_sample_masks_blocks_of_the_trusted_samples() -> None:
    torch.manual_seed(0)
    trusted = torch.tensor([True, False])
    _, mask = TrustedMask(ratio=0.5, block=4, probability=1.0)(torch.ones(2, 3, 32, 32), trusted)
    assert 0.2 < mask[0].float().mean() < 0.8
    assert not mask[1].any()


def test_a_size_that_is_no_multiple_of_the_block_is_divided_into_rounded_cells() -> None:
    torch.manual_seed(0)
    x, trusted = torch.ones(200, 1, 321), torch.ones(200, 321, dtype=torch.bool)
    _, mask = TrustedMask(ratio=0.5, block=32, probability=1.0)(x, trusted)
    borders = (mask[:, 1:] != mask[:, :-1]).any(0).nonzero().flatten() + 1
    assert torch.equal(borders, torch.tensor([-(-cell * 321 // 10) for cell in range(1, 10)]))


def test_a_block_larger_than_the_input_is_one_cell() -> None:
    _, mask = TrustedMask(ratio=1.0, block=100, probability=1.0)(
        torch.ones(1, 1, 5, 5), torch.ones(1, 5, 5, dtype=torch.bool)
    )
    assert bool(mask.all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.5}, r"ratio: got 1.5"),
        ({"probability": -0.1}, r"probability: got -0.1"),
        ({"block": 0}, r"block: "),
    ],
)
def test_wrong_choices_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        TrustedMask(**options)  # type: ignore[arg-type]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"trusted: got torch.bool of shape \(2, 5\), .*\(2, 4\) or \(2,\)"):
        TrustedMask()(torch.ones(2, 3, 4), torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(InvalidInputError, match=r"x: got shape \(2, 3\)"):
        TrustedMask()(torch.ones(2, 3), torch.ones(2, dtype=torch.bool))


def test_a_block_as_large_as_the_input_is_warned_of_once() -> None:
    mask, x = TrustedMask(block=32), torch.ones(2, 3, 30, 40)
    trusted = torch.ones(2, 30, 40, dtype=torch.bool)
    with pytest.warns(ResidualSSLWarning, match="block: got 32 for inputs of 30×40 points, which is one cell"):
        mask(x, trusted)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mask(x, trusted)
        TrustedMask(block=8)(x, trusted)
