"""A draw that covers classes: rare ones first, and the rest at random."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residual_ssl.data import draw_covering
from residual_ssl.errors import ConfigError

images = st.lists(st.frozensets(st.integers(0, 5)), min_size=1, max_size=12)


@given(images, st.integers(0, 9), st.data())
def test_every_class_is_covered_where_as_many_images_as_classes_are_drawn(
    present: list[frozenset[int]], seed: int, data: st.DataObject
) -> None:
    classes = frozenset[int]().union(*present)
    count = data.draw(st.integers(min(max(1, len(classes)), len(present)), len(present)))
    drawn = draw_covering(present, count, seed)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == count
    if count >= len(classes):
        assert frozenset[int]().union(*(present[i] for i in drawn)) == classes


@given(images, st.integers(0, 9))
def test_draw_is_repeatable_and_nested(present: list[frozenset[int]], seed: int) -> None:
    draws = [set(draw_covering(present, count, seed)) for count in range(1, len(present) + 1)]
    assert draws == [set(draw_covering(present, count, seed)) for count in range(1, len(present) + 1)]
    assert all(small < large for small, large in itertools.pairwise(draws))


def test_rarest_class_comes_first_though_another_image_holds_more_classes() -> None:
    present = [frozenset({0, 2, 3})] * 9 + [frozenset({1})]
    assert all(draw_covering(present, 1, seed) == [9] for seed in range(5))


def test_of_the_images_with_the_rarest_class_the_one_that_adds_most_is_drawn() -> None:
    present = [frozenset({0})] * 50 + [frozenset({0, 1}), frozenset({2}), frozenset({1, 2, 3}), frozenset({3})]
    assert all(draw_covering(present, 1, seed) == [52] for seed in range(5))
    assert all(52 in draw_covering(present, 2, seed) for seed in range(5))


def test_a_class_of_one_image_in_a_thousand_is_drawn_where_a_uniform_draw_would_miss_it() -> None:
    present = [frozenset({0})] * 999 + [frozenset({0, 1})]
    assert all(999 in draw_covering(present, 5, seed) for seed in range(20))


def test_what_covers_no_further_class_is_drawn_uniformly() -> None:
    present = [frozenset({0})] * 20
    drawn = [image for seed in range(400) for image in draw_covering(present, 5, seed)]
    counts = [drawn.count(image) for image in range(20)]  # binomial, mean 100, standard deviation 8.7
    assert min(counts) > 60
    assert max(counts) < 140


@pytest.mark.parametrize("count", [0, 3, True, 1.0])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match=r"labelled: got .*, expected 1 … 2"):
        draw_covering([frozenset({0}), frozenset({1})], count, seed=0)
