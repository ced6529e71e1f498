"""WeakGeometry: one geometry for image, mask and valid area."""

from typing import Any

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.tasks.segmentation.geometry import IMAGENET_MEAN, WeakGeometry


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _coordinates(height: int, width: int) -> tuple[Tensor, Tensor]:
    """An image whose first channels say where a pixel came from, and a mask that numbers the pixels."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, rows * 0]).float() / 100, rows * width + columns


def _masked(result: tuple[Tensor, Tensor | None, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    image, mask, valid = result
    assert mask is not None
    return image, mask, valid


def test_without_resize_a_crop_is_a_window_of_image_and_mask_alike() -> None:
    image, mask = _coordinates(20, 30)
    weak = WeakGeometry((8, 12), scale=(1, 1), flip=0)
    corners = set()
    for seed in range(40):
        crop, ids, valid = _masked(weak(image, mask, _generator(seed)))
        top, left = divmod(int(ids[0, 0]), 30)
        assert torch.equal(ids, mask[top : top + 8, left : left + 12])
        assert torch.equal(crop, image[:, top : top + 8, left : left + 12])
        assert valid.all()
        corners.add((top, left))
    assert len(corners) > 30
    assert max(top for top, _ in corners) <= 12
    assert max(left for _, left in corners) <= 18


def test_every_window_is_possible_including_the_last() -> None:
    image, mask = _coordinates(3, 4)
    weak = WeakGeometry((2, 2), scale=(1, 1), flip=0)
    starts = {int(_masked(weak(image, mask, _generator(seed)))[1][0, 0]) for seed in range(200)}
    assert starts == {0, 1, 2, 4, 5, 6}


def test_small_image_is_placed_at_random_and_padded_around() -> None:
    image, mask = _coordinates(3, 4)
    weak = WeakGeometry((5, 8), scale=(1, 1), flip=0, ignore_index=254)
    places = set()
    for seed in range(200):
        crop, ids, valid = _masked(weak(image, mask, _generator(seed)))
        rows, columns = valid.any(1).nonzero().flatten(), valid.any(0).nonzero().flatten()
        assert valid.sum() == 12
        assert torch.equal(ids[valid], mask.flatten())
        assert torch.equal(crop[:, valid], image.flatten(1))
        assert (ids[~valid] == 254).all()
        assert torch.equal(crop[:, ~valid], torch.tensor(IMAGENET_MEAN)[:, None].expand(3, 28))
        places.add((rows[0].item(), columns[0].item()))
    assert places == {(top, left) for top in range(3) for left in range(5)}


def test_one_side_may_be_cropped_while_the_other_is_padded() -> None:
    image, mask = _coordinates(10, 3)
    _, ids, valid = _masked(WeakGeometry((4, 6), scale=(1, 1), flip=0)(image, mask, _generator()))
    assert valid.sum() == 12
    assert (ids[~valid] == 255).all()
    assert ids.shape == (4, 6)


def test_flip_mirrors_image_mask_and_padding_together() -> None:
    image, mask = _coordinates(3, 4)
    for seed in range(10):
        plain = _masked(WeakGeometry((5, 8), scale=(1, 1), flip=0)(image, mask, _generator(seed)))
        flipped = _masked(WeakGeometry((5, 8), scale=(1, 1), flip=1)(image, mask, _generator(seed)))
        assert all(torch.equal(a.flip(-1), b) for a, b in zip(plain, flipped, strict=True))
        assert not torch.equal(plain[1], flipped[1])


def test_flips_come_with_their_probability() -> None:
    image, mask = _coordinates(2, 2)
    weak = WeakGeometry(2, scale=(1, 1), flip=0.3)
    flips = sum(int(_masked(weak(image, mask, _generator(seed)))[1][0, 0]) == 1 for seed in range(400))
    assert 80 < flips < 160  # binomial, mean 120, standard deviation 9


def test_factors_are_uniform_in_their_range() -> None:
    image = torch.rand(3, 100, 4)
    weak = WeakGeometry((200, 8), scale=(0.5, 2.0), flip=0)
    factors = [weak(image, None, _generator(seed))[2].any(1).sum().item() / 100 for seed in range(300)]
    assert 0.5 <= min(factors) < 0.55
    assert 1.95 < max(factors) <= 2.0
    assert abs(sum(factors) / 300 - 1.25) < 0.1  # four standard errors


def test_image_and_mask_stay_in_register_when_resized() -> None:
    mask = torch.zeros(60, 80, dtype=torch.long)
    mask[20:45, 30:60] = 1
    image = mask.float().expand(3, -1, -1)
    weak = WeakGeometry(64)
    for seed in range(20):
        crop, ids, valid = _masked(weak(image, mask, _generator(seed)))
        disagree = ((crop[0] > 0.5) != (ids == 1)) & valid
        assert disagree.sum() <= 0.02 * valid.sum()


def test_mask_gets_no_ids_that_were_not_there() -> None:
    image, mask = torch.rand(3, 40, 40), torch.randint(0, 2, (40, 40), generator=_generator()) * 7
    ids = [_masked(WeakGeometry(48)(image, mask, _generator(seed)))[1] for seed in range(10)]
    assert set(torch.stack(ids).unique().tolist()) <= {0, 7, 255}


def test_eight_bit_and_floating_images_agree() -> None:
    eight = torch.randint(0, 256, (3, 30, 40), dtype=torch.uint8, generator=_generator())
    for seed in range(5):
        a, _, valid = WeakGeometry(32)(eight, None, _generator(seed))
        b, _, _ = WeakGeometry(32)(eight.float() / 255, None, _generator(seed))
        assert a.dtype == b.dtype == torch.float32
        assert (a - b).abs().max() <= 1.01 / 255
        assert 0 <= a.min() <= a.max() <= 1
        assert valid.dtype == torch.bool


def test_mask_none_stays_none_and_changes_nothing_else() -> None:
    image, mask = _coordinates(10, 10)
    with_mask, without = WeakGeometry(6)(image, mask, _generator()), WeakGeometry(6)(image, None, _generator())
    assert without[1] is None
    assert torch.equal(with_mask[0], without[0])
    assert torch.equal(with_mask[2], without[2])


def test_global_randomness_is_used_without_a_generator() -> None:
    image, mask = _coordinates(20, 20)
    torch.manual_seed(3)
    first = _masked(WeakGeometry(6)(image, mask))
    torch.manual_seed(3)
    assert all(torch.equal(a, b) for a, b in zip(first, _masked(WeakGeometry(6)(image, mask)), strict=True))


def test_inputs_are_left_alone() -> None:
    image, mask = _coordinates(8, 8)
    before = image.clone(), mask.clone()
    crop, ids, _ = _masked(WeakGeometry(8, scale=(1, 1), flip=0)(image, mask))
    crop.zero_()
    ids.zero_()
    assert torch.equal(image, before[0])
    assert torch.equal(mask, before[1])


def test_tiny_image_keeps_at_least_one_pixel() -> None:
    assert WeakGeometry(4, scale=(0.1, 0.1))(torch.rand(3, 2, 2))[2].sum() == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"crop": 0}, "crop: got 0"),
        ({"scale": (2.0, 0.5)}, "scale"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"flip": 1.5}, "flip: got 1.5"),
        ({"fill": (124, 116, 104)}, "fill.*divide"),
    ],
)
def test_choices_out_of_range_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        WeakGeometry(**{"crop": 4, **arguments})


@pytest.mark.parametrize(
    ("image", "mask", "named"),
    [
        (torch.rand(1, 4, 4), None, "image"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), None, "image"),
        (torch.rand(3, 4, 4), torch.zeros(4, 5, dtype=torch.long), r"mask.*\(4, 5\)"),
        (torch.rand(3, 4, 4), torch.zeros(4, 4), "mask"),
    ],
)
def test_inputs_of_another_kind_are_named(image: Tensor, mask: Tensor | None, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        WeakGeometry(4)(image, mask)
