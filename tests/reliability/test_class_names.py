"""What a label means is decided by the classes asked for, never by the type that a parser gave a column."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from residual_ssl.data import OUTSIDE, class_ids, table_rows
from residual_ssl.errors import ConfigError, ResidualSSLWarning

MEANT = {
    "numbers that are names, off by one": ([1, 2, 3], ["1", "2", "3"], [0, 1, 2]),
    "numbers that are names, in another order": ([0, 1, 2], ["2", "1", "0"], [2, 1, 0]),
    "a part of the numbers": ([7, 8, 5], ["7", "8"], [0, 1, OUTSIDE]),
    "a negative number that is a class": ([-1, 1], ["-1", "1"], [0, 1]),
    "a negative number that is none": ([-1, 1], ["1", "2"], [None, 0]),
    "words in the order of their ids": ([2, 0, 1], ["ant", "bee", "cow"], [2, 0, 1]),
    "an id of no class": ([3, 0], ["ant", "bee"], [OUTSIDE, 0]),
    "names": (["cow", "ant"], ["ant", "cow"], [1, 0]),
    "numbers as text": (["2", "1"], ["1", "2"], [1, 0]),
    "truth values": ([True, False], ["False", "True"], [1, 0]),
    "truth values in small letters": ([True, False], ["false", "true"], [1, 0]),
    "a missing label": ([1, None], ["1", "2"], [0, None]),
}


@pytest.mark.parametrize("kind", MEANT)
def test_a_label_is_of_the_class_of_its_name(kind: str) -> None:
    raw, classes, expected = MEANT[kind]
    assert list(class_ids(raw, classes, None, "pets")) == expected


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("gap", [False, True], ids=["whole", "with an empty cell"])
@pytest.mark.parametrize("stored", [[1, 2, 3], [3, 1, 2]])
def test_columns_of_files_are_read_by_the_same_rule(stored: list[int], gap: bool, suffix: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [0.0] * 4, "label": [*stored, None if gap else 1]})
    file = tmp_path / f"rows.{suffix}"
    frame.to_csv(file, index=False) if suffix == "csv" else frame.to_parquet(file)
    rows = table_rows(suffix, ["1", "2", "3"], ["x"], data_files=str(file))
    assert list(rows.labels) == [*(label - 1 for label in stored), None if gap else 0]


def test_a_column_of_truth_values_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    pd.DataFrame({"x": [0.0, 1.0, 2.0], "label": [True, False, None]}).to_csv(file, index=False)
    assert list(table_rows("csv", ["False", "True"], ["x"], data_files=str(file)).labels) == [1, 0, None]


REFUSED = {
    "numbers and words": ([0, 1], ["1", "cat"], r"the numbers 1 and the words cat"),
    "ids counted from 1": ([1, 2, 3], ["ant", "bee", "cow"], r"counted from 1\? Name the classes by these numbers"),
    "truth words in the other order": ([0, 1], ["True", "False"], r"class 0 would be 'True'"),
    "one number twice": ([1, 2], ["1", "01"], r"some are the same number"),
    "truth values for other classes": ([True], ["cat", "dog"], r"truth values; name the classes False and True"),
    "a class read as a truth value": (["no"], [False, True], r'quoted: "no", "yes"'),
    "a class read as a number": ([1], [1, 2], r"quote it, as '1'"),
    "a name with a blank": (["cat ", "dog"], ["cat", "dog"], r"'cat' is 'cat ' there"),
    "a name in capitals": (["Cat", "dog"], ["cat", "dog"], r"'cat' is 'Cat' there"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_may_be_misread_is_refused_with_what_to_write(kind: str) -> None:
    raw, classes, message = REFUSED[kind]
    with pytest.raises(ConfigError, match=message):
        class_ids(raw, classes, None, "pets")


def test_an_id_beyond_the_names_of_a_dataset_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"got id 2 in pets, which names 2 classes"):
        class_ids([0, 2], ["cat"], ["cat", "dog"], "pets")


def test_ids_of_numpy_are_ids() -> None:
    found = class_ids(np.array([0, 2, 1, -1]), ["a", "b", "c"], None, "here")
    assert found == (0, 2, 1, None)
    assert class_ids(list(np.array(["b", "a"])), ["a", "b"], None, "here") == (1, 0)


def test_a_class_spelled_in_two_ways_is_said() -> None:
    with pytest.warns(ResidualSSLWarning, match=r"classes: pets has 'Cat' beside 'cat'"):
        assert class_ids(["cat", "Cat", "dog"], ["cat", "dog"], ["Cat", "cat", "dog"], "pets") == (0, -1, 1)
