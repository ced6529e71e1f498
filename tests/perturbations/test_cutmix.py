"""CutMix boxes."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations import CutMix

CPU = torch.device("cpu")


def test_each_sample_has_one_solid_box_within_the_ranges() -> None:
    torch.manual_seed(0)
    for mask in CutMix(probability=1.0)(300, (60, 90), CPU):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
        assert int(mask.sum()) == height * width
        assert 0.015 < height * width / (60 * 90) < 0.42
        if height < 60 and width < 90:
            assert 0.25 < height / width < 1 / 0.25


def test_boxes_reach_every_pixel_and_samples_are_skipped_at_the_given_rate() -> None:
    torch.manual_seed(0)
    masks = CutMix(probability=0.5)(2000, (20, 20), CPU)
    assert bool(masks.any(0).all())
    assert 0.45 < masks.flatten(1).any(1).float().mean() < 0.55
    assert not CutMix(probability=0.0)(5, (20, 20), CPU).any()


@pytest.mark.parametrize("size", [(400,), (24, 30, 36)])
def test_boxes_of_signals_and_volumes_are_solid_and_within_the_ranges(size: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    for mask in CutMix(probability=1.0)(100, size, CPU):
        sides = [torch.unique(places).numel() for places in mask.nonzero(as_tuple=True)]
        assert int(mask.sum()) == torch.tensor(sides).prod()
        cut = any(side == length for side, length in zip(sides, size, strict=True)) and len(size) > 1
        assert int(mask.sum()) / mask.numel() < 0.45
        assert cut or int(mask.sum()) / mask.numel() > 0.012
        for side in sides[:-1]:  # every side but the last has its own ratio to it
            assert cut or 0.2 < side / sides[-1] < 1 / 0.2


def test_no_size_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"size: got \(\), expected \(T,\), \(H, W\) or \(D, H, W\)"):
        CutMix()(2, (), CPU)


@pytest.mark.parametrize("options", [{"probability": 2}, {"area": (0.5, 0.1)}, {"aspect": (0, 1)}])
def test_wrong_ranges_are_named(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        CutMix(**options)  # type: ignore[arg-type]
