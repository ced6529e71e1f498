"""Numbers of samples by class: the geometric tail of the literature, equal shares, nested draws."""

import math

import pytest

from residual_ssl.data import LongTail
from residual_ssl.data.splits.class_counts import equal_counts, first_of_each, shuffled_by_class
from residual_ssl.errors import ConfigError

# N_k of CIFAR-10-LT and CIFAR-100-LT with γ = 100 and 10, as printed by the published splits.
CIFAR10_LT = [1500, 899, 539, 323, 193, 116, 69, 41, 25, 15]


def test_numbers_fall_geometrically_from_the_first_class_to_the_last() -> None:
    assert LongTail(1500, 100).counts(10) == CIFAR10_LT
    counts = LongTail(500, 37.5).counts(20)
    for k, count in enumerate(counts, start=1):
        assert count == math.floor(500 * 37.5 ** (-(k - 1) / 19) + 1e-9)
    assert counts[0] == 500
    assert counts[-1] == math.floor(500 / 37.5)


def test_one_is_equal_and_below_one_is_the_reverse_order() -> None:
    assert LongTail(7).counts(4) == [7, 7, 7, 7]
    assert LongTail(1500, 0.01).counts(10) == CIFAR10_LT[::-1]


@pytest.mark.parametrize("imbalance", [2, 10, 50, 100, 150, 256])
def test_a_last_number_that_is_whole_is_not_rounded_below_it(imbalance: int) -> None:
    assert LongTail(10 * imbalance, imbalance).counts(10)[-1] == 10


@pytest.mark.parametrize(("largest", "imbalance"), [(0, 1.0), (1.5, 1.0), (True, 1.0), (5, 0.0), (5, -2.0)])
def test_numbers_out_of_range_are_named(largest: int, imbalance: float) -> None:
    with pytest.raises(ConfigError, match=r"largest: got|imbalance: got"):
        LongTail(largest, imbalance)


def test_a_total_is_shared_equally_and_the_rest_by_the_seed() -> None:
    assert equal_counts(40, 10, 0) == [4] * 10
    shares = {tuple(equal_counts(43, 10, seed)) for seed in range(20)}
    assert all(sum(share) == 43 and set(share) == {4, 5} for share in shares)
    assert len(shares) > 5
    with pytest.raises(ConfigError, match=r"labelled: got 9, expected at least one sample for each of 10 classes"):
        equal_counts(9, 10, 0)


def test_draws_are_of_their_class_by_the_seed_and_nested() -> None:
    labels = [0, 1, None, 1, 0, -1, 2, 1, 1, 0] * 5
    places = shuffled_by_class(labels, 3, seed=4)
    for label, own in enumerate(places):
        assert sorted(own) == [i for i, found in enumerate(labels) if found == label]
    assert places == shuffled_by_class(labels, 3, seed=4)
    assert places != shuffled_by_class(labels, 3, seed=5)
    small, large = (set(first_of_each(places, [n, n, n], "abc", "x")) for n in (2, 4))
    assert small < large


def test_classes_with_too_few_samples_are_named() -> None:
    with pytest.raises(ConfigError, match=r"unlabelled: more samples asked for than there are: b has 1 of 2"):
        first_of_each([[0, 1], [2]], [2, 2], "ab", "unlabelled")
