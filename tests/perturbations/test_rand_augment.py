"""RandAugment: every operation against Pillow's and torchvision's, and what is drawn for whom."""

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.perturbations import RandAugment
from residual_ssl.perturbations.image_operations import OPERATIONS
from residual_ssl.runtime.global_batch import batch_part

AFFINE = PIL.Image.Transform.AFFINE


def pictures(count: int = 3, size: tuple[int, int] = (24, 32)) -> Tensor:
    """Smooth colours with noise, levels of 8 bits."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    noisy = 0.15 + 0.6 * smooth + 0.1 * torch.rand(count, 3, *size, generator=generator)
    return (noisy * 255).round() / 255


def as_pillow(image: Tensor) -> PIL.Image.Image:
    return PIL.Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def blend(enhancer: type, u: float) -> object:
    return lambda image: enhancer(image).enhance(0.05 + 0.9 * u)


def expected(name: str, image: PIL.Image.Image, u: float) -> PIL.Image.Image:
    """The operations as FixMatch's appendix defines them, in Pillow."""
    width, height = image.size
    symmetric = 0.6 * u - 0.3
    return {
        "auto_contrast": PIL.ImageOps.autocontrast,
        "brightness": blend(PIL.ImageEnhance.Brightness, u),
        "colour": blend(PIL.ImageEnhance.Color, u),
        "contrast": blend(PIL.ImageEnhance.Contrast, u),
        "sharpness": blend(PIL.ImageEnhance.Sharpness, u),
        "equalize": PIL.ImageOps.equalize,
        "identity": lambda image: image,
        "posterize": lambda image: PIL.ImageOps.posterize(image, int(4 + 4 * u)),
        "solarize": lambda image: PIL.ImageOps.solarize(image, 256 * u),
        "rotate": lambda image: image.rotate(60 * u - 30),
        "shear_x": lambda image: image.transform(image.size, AFFINE, (1, symmetric, 0, 0, 1, 0)),
        "shear_y": lambda image: image.transform(image.size, AFFINE, (1, 0, 0, symmetric, 1, 0)),
        "translate_x": lambda image: image.transform(image.size, AFFINE, (1, 0, symmetric * width, 0, 1, 0)),
        "translate_y": lambda image: image.transform(image.size, AFFINE, (1, 0, 0, 0, 1, symmetric * height)),
    }[name](image)  # type: ignore[operator]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_what_pillow_does_to_each_image_by_its_magnitude(name: str) -> None:
    images, magnitudes = pictures(), torch.tensor([0.1, 0.48, 0.93])
    found = OPERATIONS[name](images, magnitudes).clamp(0, 1)
    for image, own, u in zip(images, found, magnitudes.tolist(), strict=True):
        wanted = torch.from_numpy(np.array(expected(name, as_pillow(image), u))).permute(2, 0, 1) / 255
        # Pillow rounds to 8 bits, and takes another of two pixels that are equally near.
        different = ((own - wanted).abs() > 2.5 / 255).float().mean()
        assert different < (0.02 if name.startswith(("rotate", "shear", "translate")) else 1e-9), name


def test_the_operations_are_as_frequent_as_each_other_and_drawn_for_each_image() -> None:
    torch.manual_seed(0)
    images = pictures(1).expand(400, -1, -1, -1)
    found = RandAugment(operations=1, cutout=0)(images)
    by_operation = {}
    for name in ("identity", "equalize", "auto_contrast"):
        alone = OPERATIONS[name](images[:1], torch.zeros(1)).clamp(0, 1)
        by_operation[name] = (found - alone).abs().amax((1, 2, 3)).lt(1e-6).float().mean().item()
    for share in by_operation.values():
        assert share == pytest.approx(1 / 14, abs=0.04)


def test_cutout_covers_a_square_of_up_to_half_the_width() -> None:
    torch.manual_seed(0)
    images = torch.zeros(200, 3, 20, 20)
    cut = RandAugment(operations=0)(images)
    hidden = (cut != 0).any(1)
    sides = torch.stack([hidden.any(2).sum(1), hidden.any(1).sum(1)])
    assert torch.equal(hidden.flatten(1).sum(1), sides.prod(0))
    assert sides.max() == 10
    assert hidden.float().mean((1, 2)).max() <= 0.25
    assert (sides[0] != sides[1]).any()  # where the border cuts the square
    assert torch.allclose(cut[hidden.unsqueeze(1).expand_as(cut)].unique(), torch.tensor([114, 123, 125]) / 255)


def test_an_image_gets_the_same_however_the_batch_is_divided() -> None:
    images, augment = pictures(4), RandAugment()
    with batch_part(3):
        whole = augment(images)
    parts = []
    for part in range(2):
        with batch_part(3, part, 2):
            parts.append(augment(images[2 * part : 2 * part + 2]))
    torch.testing.assert_close(torch.cat(parts), whole)


def test_the_range_is_kept_and_the_input_left_alone() -> None:
    images = pictures(16)
    before = images.clone()
    torch.manual_seed(0)
    found = RandAugment()(images)
    assert torch.equal(images, before)
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1


def test_choices_out_of_range_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"operations: got -1"):
        RandAugment(-1)
    with pytest.raises(InvalidInputError, match=r"cutout: got 2"):
        RandAugment(cutout=2)
    with pytest.raises(InvalidInputError, match=r"only: got \['spin'\], expected some of auto_contrast"):
        RandAugment(only=["spin"])
