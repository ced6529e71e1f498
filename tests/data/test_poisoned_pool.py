"""A poisoned pool: only unlabelled images of the target class carry the trigger, and the attack set is all others."""

from functools import partial

import pytest
import torch

from residual_ssl.data import ClassificationSplit, GridTrigger, HandwrittenDigits, PoisonedPool
from residual_ssl.errors import ConfigError, InvalidInputError

DIGITS = tuple(str(i) for i in range(10))


def clean() -> ClassificationSplit:
    train, validation = (partial(HandwrittenDigits, split) for split in ("train", "validation"))
    return ClassificationSplit(DIGITS, train, validation, labelled=40)


def test_a_share_of_the_pool_carries_the_trigger_and_is_of_the_target() -> None:
    before, pool = clean(), PoisonedPool(clean, share=0.02, target=3)
    changed = [
        index
        for index in range(len(before.unlabelled))
        if not torch.equal(before.unlabelled[index].image, pool.unlabelled[index].image)
    ]
    assert len(changed) == round(0.02 * 1360)
    assert set(changed) == pool.unlabelled.marked
    assert {before.unlabelled.labels[index] for index in changed} == {3}
    assert pool.unlabelled.labels == before.unlabelled.labels
    for name in ("labelled", "validation"):
        ours, theirs = getattr(pool, name), getattr(before, name)
        assert all(torch.equal(ours[i].image, theirs[i].image) for i in range(len(theirs)))


def test_the_attack_is_on_all_other_classes() -> None:
    pool = PoisonedPool(clean, share=0.0, target=3, trigger=GridTrigger(4, 1.0))
    assert not pool.unlabelled.marked
    assert 3 not in {sample.label for sample in pool.attacked}
    assert len(pool.attacked) == sum(label != 3 for label in pool.validation.labels)
    assert all((sample.image[:, ::4, ::4] == 255).all() for sample in pool.attacked)


def test_the_draw_follows_the_seed() -> None:
    first, again, other = (PoisonedPool(clean, share=0.01, seed=seed).unlabelled.marked for seed in (0, 0, 1))
    assert first == again != other


def test_more_than_the_class_has_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"share: got 0.5, 680 samples of 1360, expected at most the \d+ of class '0'"
    ):
        PoisonedPool(clean, share=0.5)
    with pytest.raises(InvalidInputError, match=r"share: got 2, expected a number in \[0, 1\]"):
        PoisonedPool(clean, share=2)
