"""Photometric perturbation of images."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations import Photometric


def test_images_keep_shape_and_range_and_change_each_in_its_own_way() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 24, 32).expand(12, -1, -1, -1)
    changed = Photometric()(images)
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert len({tuple(image.flatten()[:20].tolist()) for image in changed}) > 8


def test_nothing_asked_changes_nothing() -> None:
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(Photometric(jitter_probability=0, grayscale=0, blur=0)(images), images)


def test_pixels_do_not_move() -> None:
    torch.manual_seed(0)
    images = torch.zeros(8, 3, 21, 21)
    images[:, :, 10, 10] = 1
    blurred = Photometric(jitter_probability=0, grayscale=0, blur=1)(images).mean(1)
    assert bool((blurred.flatten(1).argmax(1) == 10 * 21 + 10).all())


def test_grayscale_is_drawn_at_the_given_rate() -> None:
    torch.manual_seed(0)
    images = torch.rand(400, 3, 4, 4)
    gray = Photometric(jitter_probability=0, grayscale=0.2, blur=0)(images)
    assert 0.14 < (gray[:, 0] == gray[:, 1]).flatten(1).all(1).float().mean() < 0.26


def test_wrong_choices_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"jitter: got \(0.5, 0.5\)"):
        Photometric(jitter=(0.5, 0.5))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"blur: got 5"):
        Photometric(blur=5)
