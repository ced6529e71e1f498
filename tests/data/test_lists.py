"""Split lists and draws: what a line means, in every encoding, and which images a seed labels."""

import itertools
from pathlib import Path

import pytest

from residual_ssl.data import check_disjoint, draw_labelled, read_list
from residual_ssl.errors import DataError


def test_draw_is_nested_over_counts_and_uniform_over_seeds() -> None:
    names = [f"{i:02d}" for i in range(20)]
    for seed in range(5):
        draws = [set(draw_labelled(names, count, seed)) for count in (1, 5, 12, 20)]
        assert all(small < large for small, large in itertools.pairwise(draws))
    drawn = [name for seed in range(400) for name in draw_labelled(names, 5, seed)]
    counts = [drawn.count(name) for name in names]  # binomial, mean 100, standard deviation 8.7
    assert min(counts) > 60
    assert max(counts) < 140


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b c\n", "line 1: got 3 columns"),
        (b"# only this\n\n", "empty"),
        (b"a\nb\na\n", "a listed more than once"),
        (b"\xff\xff", "UTF-8"),
    ],
)
def test_faults_of_a_split_list(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_list(tmp_path / "list.txt")


def test_tabs_allow_names_with_spaces(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("my image.png\tmy mask.png\n")
    assert read_list(path) == [("my image.png", "my mask.png")]


def test_disjoint_subsets_pass() -> None:
    check_disjoint([("one", ["a"]), ("two", ["b"]), ("three", [])], fix="")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_in_the_encodings_of_editors_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\ta.png\r\nгод/é.jpg\r\n", encoding=encoding, newline="")
    assert read_list(tmp_path / "list.txt") == [("a.jpg", "a.png"), ("год/é.jpg", None)]
