"""Photometric perturbation of images."""

import pytest
import torch
from torchvision.transforms.v2 import functional as F

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


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_are_changed_in_brightness_contrast_and_blur_alone(channels: int) -> None:
    torch.manual_seed(0)
    images = torch.rand(6, channels, 12, 12)
    of_rgb = Photometric(jitter=(0, 0, 0.5, 0.25), jitter_probability=1, grayscale=1, blur=0)
    assert torch.equal(of_rgb(images), images)
    assert of_rgb.changes_colours()
    brighter = Photometric(jitter=(0.3, 0, 0, 0), jitter_probability=1, grayscale=0, blur=0)
    ratio = (brighter(images) / images)[images < 0.7].reshape(-1)
    assert not brighter.changes_colours()
    assert 0.69 < ratio.min() < ratio.max() < 1.31
    assert not torch.equal(Photometric()(images), images)


@pytest.mark.parametrize("kind", ["brightness", "contrast"])
def test_one_channel_is_changed_as_torchvision_changes_grey(kind: str) -> None:
    torch.manual_seed(3)
    jitter = (0.5, 0, 0, 0) if kind == "brightness" else (0, 0.5, 0, 0)
    image = torch.rand(1, 1, 16, 16)
    changed = Photometric(jitter=jitter, jitter_probability=1, grayscale=0, blur=0)(image)
    adjust = getattr(F, f"adjust_{kind}")
    best = min((adjust(image, factor) - changed).abs().max().item() for factor in torch.linspace(0.5, 1.5, 2001))
    assert best < 1e-3


def test_wrong_choices_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"jitter: got \(0.5, 0.5\)"):
        Photometric(jitter=(0.5, 0.5))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"blur: got 5"):
        Photometric(blur=5)
    with pytest.raises(InvalidInputError, match=r"sigma: got \(2, 1\)"):
        Photometric(sigma=(2, 1))


@pytest.mark.parametrize(("kind", "reach"), [(0, 0.5), (1, 0.5), (2, 1.5), (3, 0.25)])
def test_one_kind_of_jitter_is_that_change_by_an_amount_within_its_range(kind: int, reach: float) -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 6, 6)
    jitter = tuple(reach if i == kind else 0.0 for i in range(4))
    changed = Photometric(jitter, jitter_probability=1, grayscale=0, blur=0)(image.expand(200, -1, -1, -1))  # type: ignore[arg-type]
    change = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)[kind]
    ends = (-reach, reach) if kind == 3 else (max(0.0, 1 - reach), 1 + reach)
    amounts = torch.linspace(*ends, 2001).tolist()
    candidates = torch.stack([change(image[0], amount) for amount in amounts])
    distance, nearest = torch.cdist(changed.flatten(1), candidates.flatten(1)).min(1)
    assert distance.max() < 0.01
    drawn = torch.tensor(amounts)[nearest]
    middle, width = sum(ends) / 2, ends[1] - ends[0]
    assert abs(drawn.mean() - middle) < 0.08 * width
    assert drawn.max() - drawn.min() > 0.9 * width
