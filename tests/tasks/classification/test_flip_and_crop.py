"""FlipAndCrop: every result is a shifted and flipped window of the image with a reflected border."""

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.tasks.classification import FlipAndCrop


def image(height: int = 6, width: int = 6) -> Tensor:
    return torch.arange(3 * height * width, dtype=torch.uint8).view(3, height, width)


def windows(size: int, padding: int) -> dict[bytes, str]:
    """Every crop and flip of the padded image, by their pixels."""
    rows = [*range(padding, 0, -1), *range(6), *range(4, 4 - padding, -1)]
    padded = image()[:, rows][:, :, rows]
    found = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            window = padded[:, top : top + size, left : left + size]
            for name, dims in (("plain", []), ("across", [2]), ("down", [1]), ("both", [1, 2])):
                found[window.flip(dims).contiguous().numpy().tobytes()] = f"{top} {left} {name}"
    return found


def test_results_are_all_windows_of_the_padded_image_equally_often() -> None:
    weak, known = FlipAndCrop(6, padding=2, flip=0.5), windows(6, 2)
    generator = torch.Generator().manual_seed(0)
    seen = [known[(weak(image(), generator) * 255).round().byte().numpy().tobytes()] for _ in range(1500)]
    assert {name.split()[2] for name in seen} == {"plain", "across"}
    assert len(set(seen)) == 2 * 5 * 5
    assert sum(name.endswith("across") for name in seen) == pytest.approx(750, abs=80)


def test_vertical_flips_are_drawn_by_themselves() -> None:
    weak, known = FlipAndCrop(6, flip=0.0, vertical_flip=0.5), windows(6, 0)
    generator = torch.Generator().manual_seed(0)
    seen = [known[(weak(image(), generator) * 255).round().byte().numpy().tobytes()] for _ in range(100)]
    assert {name.split()[2] for name in seen} == {"plain", "down"}


def test_evaluation_sees_the_square_in_the_middle() -> None:
    weak = FlipAndCrop(6, padding=2)
    torch.testing.assert_close(weak.plain(image()), image().float() / 255)
    torch.testing.assert_close(weak.plain(image(6, 10)), image(6, 10)[:, :, 2:8].float() / 255)
    assert weak.plain(torch.rand(3, 31, 17)).shape == (3, 6, 6)
    flat = weak.plain(torch.full((3, 31, 17), 200, dtype=torch.uint8))
    torch.testing.assert_close(flat, torch.full((3, 6, 6), 200 / 255))


def test_choices_out_of_range_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"size: got 0"):
        FlipAndCrop(0)
    with pytest.raises(InvalidInputError, match=r"padding: got 6, expected a width in \[0, 6\)"):
        FlipAndCrop(6, 6)
    with pytest.raises(InvalidInputError, match=r"vertical_flip: got 2"):
        FlipAndCrop(6, vertical_flip=2)
    with pytest.raises(InvalidInputError, match=r"image: got torch.int64 of shape \(6, 6\)"):
        FlipAndCrop(6)(torch.zeros(6, 6, dtype=torch.long))
