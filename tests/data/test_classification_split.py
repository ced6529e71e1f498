"""ClassificationSplit: who is labelled, who is in the pool, and what must not happen."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from residual_ssl.data import OUTSIDE, ClassificationSplit, ImageArrays, LongTail
from residual_ssl.errors import ConfigError, DataError

CLASSES = ("a", "b", "c")


def samples(labels: list[int | None], name: str) -> ImageArrays:
    return ImageArrays(torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8), labels, name)


def split(labelled: Any = 6, train: list[int | None] | None = None, **more: Any) -> ClassificationSplit:
    train = [0, 1, 2] * 20 if train is None else train
    held_out = more.pop("validation", [0, 1, 2, 2])
    return ClassificationSplit(
        CLASSES, lambda: samples(train, "train"), lambda: samples(held_out, "validation"), labelled, **more
    )


def names(part: Any) -> list[str]:
    return [part[i].name for i in range(len(part))]


def test_as_many_of_each_class_are_labelled_and_all_others_are_not() -> None:
    found = split(6)
    assert Counter(found.labelled.labels) == {0: 2, 1: 2, 2: 2}
    assert Counter(found.unlabelled.labels) == {0: 18, 1: 18, 2: 18}
    assert sorted(names(found.labelled) + names(found.unlabelled)) == [f"train/{i:06d}" for i in range(60)]
    assert names(found.validation) == [f"validation/{i:06d}" for i in range(4)]


def test_the_draw_follows_from_the_seed_and_is_nested() -> None:
    assert names(split(6, seed=1).labelled) == names(split(6, seed=1).labelled)
    assert names(split(6, seed=1).labelled) != names(split(6, seed=2).labelled)
    assert set(names(split(6).labelled)) < set(names(split(12).labelled))


def test_both_sets_may_have_long_tails_of_their_own() -> None:
    found = split(LongTail(8, 4), unlabelled=LongTail(12, 0.25))
    assert [Counter(found.labelled.labels)[k] for k in range(3)] == [8, 4, 2]
    assert [Counter(found.unlabelled.labels)[k] for k in range(3)] == [3, 6, 12]
    assert not set(names(found.labelled)) & set(names(found.unlabelled))


def test_the_labelled_may_be_in_the_pool_too() -> None:
    found = split(6, labelled_in_pool=True)
    assert names(found.unlabelled) == [f"train/{i:06d}" for i in range(60)]
    assert set(names(found.labelled)) < set(names(found.unlabelled))


def test_all_may_be_labelled_and_a_pool_of_other_samples_joins_the_unlabelled() -> None:
    found = split("all", pool=lambda: samples([None, 1], "extra"))
    assert len(found.labelled) == 60
    assert names(found.unlabelled) == ["extra/000000", "extra/000001"]
    assert list(found.unlabelled.labels) == [None, 1]


def test_a_list_says_who_is_labelled(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("train/000004\ntrain/000000\n")
    found = split(tmp_path / "list.txt")
    assert names(found.labelled) == ["train/000000", "train/000004"]
    assert found.labelled.labels == (0, 1)
    (tmp_path / "list.txt").write_text("train/000099\n")
    with pytest.raises(DataError, match=r"no such samples: train/000099; they are named train/000000"):
        split(tmp_path / "list.txt")


def test_classes_of_unlabelled_samples_may_be_hidden() -> None:
    found = split(6, unlabelled_truth=False)
    assert set(found.unlabelled.labels) == {None}
    assert found.unlabelled[0].label is None
    assert set(found.labelled.labels) == {0, 1, 2}


def test_samples_without_a_class_are_unlabelled() -> None:
    found = split(3, [0, 1, 2, None, None])
    assert list(found.unlabelled.labels) == [None, None]
    with pytest.raises(DataError, match=r"1 of 2 validation samples have no class: validation/000001"):
        split(3, validation=[0, None])


def test_strangers_are_an_error_left_out_or_contaminate_the_pool() -> None:
    train: list[int | None] = [0, 1, 2, 0, 1, 2, OUTSIDE, OUTSIDE]
    with pytest.raises(DataError, match=r"2 samples of train are of none of the classes a, b, c: train/000006"):
        split(3, train)
    assert Counter(split(3, train, strangers="leave_out").unlabelled.labels) == {0: 1, 1: 1, 2: 1}
    kept = split(3, train, strangers="unlabelled", validation=[0, OUTSIDE])
    assert Counter(kept.unlabelled.labels) == {0: 1, 1: 1, 2: 1, OUTSIDE: 2}
    assert list(kept.validation.labels) == [0]
    tail = split(3, train, strangers="unlabelled", unlabelled=LongTail(1))
    assert Counter(tail.unlabelled.labels) == {0: 1, 1: 1, 2: 1, OUTSIDE: 2}
    with pytest.raises(ConfigError, match=r"strangers: got 'keep', expected one of error, leave_out, unlabelled"):
        split(3, strangers="keep")


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"labelled: more samples asked for than there are: a has 20 of 21"):
        split(63)
    with pytest.raises(ConfigError, match=r"unlabelled: more samples asked for than there are: a has 18 of 19"):
        split(6, unlabelled=LongTail(19))


def test_one_set_for_two_purposes_is_refused() -> None:
    same = samples([0, 1, 2], "train")
    with pytest.raises(DataError, match=r"3 images are both in train and in validation"):
        ClassificationSplit(CLASSES, lambda: same, lambda: same, 3)
