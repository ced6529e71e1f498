"""DigitScenes: reproducible, disjoint, legible, and labelled as documented."""

import time
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from residual_ssl.data import OUTSIDE, Sample, SegmentationSource
from residual_ssl.errors import ConfigError
from residual_ssl.tasks.segmentation import digit_scenes
from residual_ssl.tasks.segmentation.digit_scenes import DigitScenes


@pytest.fixture(scope="module")
def scenes() -> DigitScenes:
    return DigitScenes(labelled=40, unlabelled=20, validation=20)


def _same(a: Sample, b: Sample) -> bool:
    assert a.mask is not None
    assert b.mask is not None
    return torch.equal(a.image, b.image) and torch.equal(a.mask, b.mask) and a.name == b.name


def test_is_a_source_of_images_and_masks_of_the_documented_kind(scenes: DigitScenes) -> None:
    source: SegmentationSource = scenes
    assert (len(source.labelled), len(source.unlabelled), len(source.validation)) == (40, 20, 20)
    assert source.spec.classes[0] == "background"
    assert source.spec.num_classes == 11
    samples = [*scenes.labelled, *scenes.unlabelled, *scenes.validation]
    for image, mask, _ in samples:
        assert (image.dtype, image.shape) == (torch.uint8, (3, 64, 64))
        assert mask is not None
        assert (mask.dtype, mask.shape) == (torch.int64, (64, 64))
    assert len({sample.name for sample in samples}) == 80
    masks = torch.stack([mask for _, mask, _ in scenes.labelled if mask is not None])
    assert masks.unique().tolist() == list(range(11))
    assert 0.5 < (masks == 0).float().mean() < 0.85


def test_same_seed_gives_the_same_scenes_and_another_seed_others(scenes: DigitScenes) -> None:
    again, other = DigitScenes(3, 3, 3), DigitScenes(3, 3, 3, seed=1)
    for subset in ("labelled", "unlabelled", "validation"):
        for i in range(3):
            assert _same(getattr(again, subset)[i], getattr(scenes, subset)[i])
            assert not torch.equal(getattr(other, subset)[i].image, getattr(scenes, subset)[i].image)


def test_number_of_one_subset_changes_no_other_scene(scenes: DigitScenes) -> None:
    changed = DigitScenes(labelled=2, unlabelled=5, validation=7)
    assert all(_same(changed.labelled[i], scenes.labelled[i]) for i in range(2))
    assert all(_same(changed.unlabelled[i], scenes.unlabelled[i]) for i in range(5))
    assert all(_same(changed.validation[i], scenes.validation[i]) for i in range(7))


def test_subsets_show_different_scenes(scenes: DigitScenes) -> None:
    assert not torch.equal(scenes.labelled[0].image, scenes.unlabelled[0].image)


@pytest.mark.parametrize("seed", [0, 5])
def test_training_and_validation_digits_are_disjoint_and_complete(seed: int) -> None:
    (train, train_labels), (held_out, held_out_labels) = digit_scenes.handwritten(seed)
    assert (len(train), len(held_out)) == (1400, 397)
    every = np.concatenate([train, held_out]).reshape(1797, -1)
    real = load_digits().data / 16
    assert np.array_equal(every[np.lexsort(every.T)], real[np.lexsort(real.T)].astype(np.float32))
    assert sorted(label - 1 for label in [*train_labels, *held_out_labels]) == sorted(load_digits().target)


def test_ink_is_brighter_than_all_ground_below_it_by_three_tenths() -> None:
    for seed in range(200):
        rng = np.random.default_rng(seed)
        ground = digit_scenes.textured_ground(64, rng)
        assert 0 <= ground.min() <= ground.max() <= 0.62
        below = ground.mean(axis=2)[seed % 40 :][:24, :24]
        colour = digit_scenes._colour(below, rng)
        assert colour.mean() - below.max() > 0.3 - 1e-6
        assert -1e-6 <= colour.min() <= colour.max() <= 1 + 1e-6


def test_digits_stand_out_from_the_background_around_them(scenes: DigitScenes) -> None:
    # Within a class, the brighter pixels are ink; around it, the background within 4 pixels, strokes included.
    contrasts = []
    for image, mask, _ in scenes.labelled:
        assert mask is not None
        grey = image.float().mean(0) / 255
        for label in mask.unique().tolist()[1:]:
            region = mask == label
            around = F.max_pool2d(region[None].float(), 9, 1, 4)[0].bool() & (mask == 0)
            contrasts.append((grey[region].quantile(0.85) - grey[around].mean()).item())
    assert min(contrasts) > 0.2 - 0.05  # one standard deviation of the noise
    assert np.mean(contrasts) > 0.33


def test_every_scene_shows_some_digits_on_much_background(scenes: DigitScenes) -> None:
    for _, mask, _ in scenes.labelled:
        assert mask is not None
        assert 1 <= len(mask.unique()) - 1 <= 5
        assert 300 < (mask > 0).sum() < 2300


def test_free_place_is_the_one_that_covers_least() -> None:
    taken = np.zeros((20, 20), dtype=bool)
    taken[:, :12] = True
    shape = np.ones((8, 8), dtype=bool)
    rows, columns = digit_scenes._free_place(taken, shape, np.random.default_rng(0))
    assert (rows.stop - rows.start, columns.start) == (8, 12)


def test_dilation_is_the_maximum_of_each_neighbourhood() -> None:
    ink = torch.rand(7, 9, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(digit_scenes._dilated(ink.numpy()), F.max_pool2d(ink[None], 3, 1, 1)[0].numpy())


def test_other_sizes_hold_larger_digits() -> None:
    image, mask, _ = DigitScenes(1, 0, 1, size=96).labelled[0]
    assert image.shape == (3, 96, 96)
    assert mask is not None
    assert (mask > 0).sum() > 300 * (96 / 64) ** 2


def test_default_set_is_rendered_in_seconds() -> None:
    start = time.process_time()
    DigitScenes(labelled=48, unlabelled=80, validation=20)
    assert time.process_time() - start < 6 * 148 / 1048 + 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"labelled": 0}, "labelled: got 0"),
        ({"unlabelled": -1}, "unlabelled: got -1"),
        ({"validation": 0}, "validation: got 0"),
        ({"size": 16}, "size: got 16"),
        ({"seed": -1}, "seed: got -1"),
        ({"digits": "typed"}, "digits: got 'typed', expected one of handwritten, printed"),
        ({"corrupted": 2}, r"corrupted: got 2, expected a share in \[0, 1\]"),
        ({"imbalance": 0.5}, "imbalance: got 0.5, expected a finite ratio of frequencies ≥ 1"),
    ],
)
def test_numbers_out_of_range_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        DigitScenes(**arguments)


def test_a_contaminated_pool_holds_letters_where_no_class_is_right() -> None:
    clean = DigitScenes(labelled=2, unlabelled=20, validation=2)
    mixed = DigitScenes(labelled=2, unlabelled=20, validation=2, letters=0.6)
    strange = [bool((scene.mask == OUTSIDE).any()) for scene in mixed.unlabelled]
    assert sum(strange) == 12
    assert 5 <= sum(strange[:10]) <= 7
    for scene, letters, same in zip(mixed.unlabelled, strange, clean.unlabelled, strict=True):
        assert torch.equal(scene.mask, same.mask) == (not letters)
        if letters:
            assert set(scene.mask.unique().tolist()) == {OUTSIDE, 0}
    for subset in ("labelled", "validation"):
        pairs = zip(getattr(clean, subset), getattr(mixed, subset), strict=True)
        assert all(torch.equal(a.image, b.image) for a, b in pairs)


def test_a_share_of_letters_beyond_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"letters: got 60, expected a share in \[0, 1\]"):
        DigitScenes(letters=60)


def test_printed_digits_lie_in_scenes_of_the_same_ground(scenes: DigitScenes) -> None:
    printed = DigitScenes(labelled=40, unlabelled=1, validation=1, digits="printed")
    assert not any(_same(a, b) for a, b in zip(printed.labelled, scenes.labelled, strict=True))
    for a, b in zip(printed.labelled, scenes.labelled, strict=True):
        ground = (a.mask == 0) & (b.mask == 0)
        assert ((a.image.float() - b.image.float()).abs().mean(0)[ground] < 40).float().mean() > 0.6
    masks = torch.stack([sample.mask for sample in printed.labelled])
    assert masks.unique().tolist() == list(range(11))


def test_printed_digits_of_training_and_validation_are_different_ones() -> None:
    (train, labels), (held_out, held_out_labels) = digit_scenes._printed_digits(0)
    assert (len(train), len(held_out)) == (1400, 397)
    assert set(labels.tolist()) == set(held_out_labels.tolist()) == set(range(1, 11))
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in held_out}


def test_corrupted_scenes_are_harder_to_see_and_keep_their_masks() -> None:
    clear = DigitScenes(labelled=2, unlabelled=20, validation=2)
    mixed = DigitScenes(labelled=2, unlabelled=20, validation=2, corrupted=0.6)
    changed = [not torch.equal(a.image, b.image) for a, b in zip(clear.unlabelled, mixed.unlabelled, strict=True)]
    assert sum(changed) == 12
    assert all(torch.equal(a.mask, b.mask) for a, b in zip(clear.unlabelled, mixed.unlabelled, strict=True))
    for subset in ("labelled", "validation"):
        pairs = zip(getattr(clear, subset), getattr(mixed, subset), strict=True)
        assert all(torch.equal(a.image, b.image) for a, b in pairs)


def test_a_long_tail_reaches_labelled_and_unlabelled_scenes_but_not_validation() -> None:
    balanced = DigitScenes(labelled=150, unlabelled=0, validation=3)
    tailed = DigitScenes(labelled=150, unlabelled=0, validation=3, imbalance=30)
    pairs = zip(balanced.validation, tailed.validation, strict=True)
    assert all(torch.equal(a.image, b.image) for a, b in pairs)

    def scenes_with_each(scenes: DigitScenes) -> list[int]:
        return sorted(sum(int((scene.mask == label).any()) for scene in scenes.labelled) for label in range(1, 11))

    assert scenes_with_each(balanced)[0] > 30
    rarest, *_, most = scenes_with_each(tailed)
    assert rarest <= 10
    assert most > 90


def test_the_most_frequent_digit_is_as_much_more_frequent_as_asked() -> None:
    train, _ = digit_scenes.handwritten(3)
    images, labels = digit_scenes._long_tailed(train, 30, seed=3)
    counts = np.sort(np.unique(labels, return_counts=True)[1])
    assert len(counts) == 10
    assert counts[-1] / counts[0] == pytest.approx(30, rel=0.15)
    ratios = counts[1:] / counts[:-1]
    assert ratios == pytest.approx(30 ** (1 / 9), rel=0.2)
    assert len(images) == len(labels)
    every = {image.tobytes() for image in train[0]}
    assert all(image.tobytes() in every for image in images)
