"""Rows of features: what is fitted to what, files of a user's own, generated texts."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from residual_ssl.data import FeatureArrays, RawRows, feature_split, loaded_rows, make_texts, table_rows
from residual_ssl.errors import ConfigError, DataError, MissingDataError

IRIS = partial(loaded_rows, partial(load_iris, return_X_y=True))
FLOWERS = ["setosa", "versicolor", "virginica"]


def test_features_are_standardised_by_the_training_rows_alone() -> None:
    split = feature_split(FLOWERS, IRIS, StandardScaler(), labelled=9)
    raw = torch.from_numpy(IRIS("train").inputs)
    mean, deviation = raw.mean(0), raw.std(0, correction=0)
    held_out = torch.from_numpy(IRIS("validation").inputs)
    for index, sample in enumerate([split.validation[i] for i in range(5)]):
        torch.testing.assert_close(sample.image[0].double(), (held_out[index] - mean) / deviation, atol=1e-6, rtol=0)
    rows = [split.labelled[i].image for i in range(9)] + [split.unlabelled[i].image for i in range(104)]
    torch.testing.assert_close(torch.cat(rows).mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    assert rows[0].dtype == torch.float32


def test_the_transformer_given_stays_as_it_was() -> None:
    scaler = StandardScaler()
    feature_split(FLOWERS, IRIS, scaler, labelled=9)
    assert not hasattr(scaler, "mean_")


def test_three_quarters_are_for_training_and_no_row_is_in_both() -> None:
    numbers = partial(loaded_rows, lambda: (np.arange(10).reshape(10, 1), np.zeros(10, int)))
    train, validation = (set(numbers(part).inputs.flatten().tolist()) for part in ("train", "validation"))
    assert (len(train), len(validation)) == (8, 2)
    assert train | validation == set(range(10))
    with pytest.raises(ConfigError, match=r"^split: got 'test'"):
        numbers("test")


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "train.csv").write_text("age,height,note,label\n1,2,a b,yes\n3,5,c d,no\n5,8,a d,\n7,9,b b,\n")
    (tmp_path / "validation.csv").write_text("age,height,note,label\n4,6,a c,yes\n2,2,d d,no\n")
    return {part: str(tmp_path / f"{part}.csv") for part in ("train", "validation")}


def test_a_csv_file_gives_columns_and_rows_without_a_label_are_unlabelled(tables: dict[str, str]) -> None:
    read = partial(table_rows, "csv", ["no", "yes"], ["age", "height"], data_files=tables)
    assert read("train").labels == (1, 0, None, None)
    split = feature_split(["no", "yes"], read, StandardScaler(), labelled="all")
    assert [split.labelled[i].label for i in range(2)] == [1, 0]
    assert (len(split.unlabelled), len(split.validation)) == (2, 2)
    # age: mean 4, deviation √5
    assert split.validation[1].image[0, 0].item() == pytest.approx(-2 / 5**0.5)


def test_ids_next_to_empty_cells_are_ids(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("x,label\n0.5,1\n0.25,\n0.75,0\n")
    rows = table_rows("csv", ["no", "yes"], ["x"], data_files=str(path))
    assert rows.labels == (1, None, 0)
    path.write_text("x,label\n0.5,1.5\n0.25,\n0.75,0\n")
    with pytest.raises(ConfigError, match=r"^label: got column 'label'.*float64"):
        table_rows("csv", ["no", "yes"], ["x"], data_files={"train": str(path)})


def test_one_column_of_texts_becomes_tf_idf(tables: dict[str, str]) -> None:
    read = partial(table_rows, "csv", ["no", "yes"], "note", data_files=tables)
    split = feature_split(["no", "yes"], read, TfidfVectorizer(token_pattern=r"\w"), labelled="all")
    assert split.validation[0].image.shape == (1, 4)
    assert (split.validation[0].image[0] > 0).tolist() == [True, False, True, False]  # "a c"
    torch.testing.assert_close(split.validation[1].image[0], torch.tensor([0.0, 0.0, 0.0, 1.0]))


def test_columns_that_are_not_there_and_cells_that_are_empty_are_named(tables: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^columns: got age, weight, of which weight are not in .* it has age, height"
    ):
        table_rows("csv", ["no", "yes"], ["age", "weight"], data_files=tables)
    with pytest.raises(MissingDataError):
        table_rows("csv", ["no", "yes"], ["age"], data_files=str(tmp_path / "no.csv"))
    (tmp_path / "holes.csv").write_text("age,label\n1,no\n,yes\n3,no\n")
    files = {part: str(tmp_path / "holes.csv") for part in ("train", "validation")}
    with pytest.raises(DataError, match=r"1 of 3 rows have features that are not finite, the first is row 1; fill"):
        feature_split(
            ["no", "yes"],
            partial(table_rows, "csv", ["no", "yes"], ["age"], data_files=files),
            StandardScaler(),
            "all",
        )


def test_what_a_transformer_refuses_names_it() -> None:
    with pytest.raises(ConfigError, match=r"^transform: StandardScaler\(\) refused the rows"):
        feature_split(["a", "b"], lambda split: RawRows(["some", "text"], (0, 1)), StandardScaler(), 2)


def test_generated_texts_tell_of_their_topic_and_are_the_same_for_a_seed() -> None:
    texts, topics = make_texts(400, seed=3)
    assert (texts, topics) == make_texts(400, seed=3)
    assert texts != make_texts(400, seed=4)[0]
    X = TfidfVectorizer().fit_transform(texts)
    model = LogisticRegression().fit(X[:300], topics[:300])
    assert model.score(X[300:], topics[300:]) > 0.4  # chance is .2
    shuffled = np.random.default_rng(0).permutation(topics)
    assert LogisticRegression().fit(X[:300], shuffled[:300]).score(X[300:], shuffled[300:]) < 0.35


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^features: got torch.float32 of shape \(2, 3, 4\) for 2 labels"):
        FeatureArrays(torch.zeros(2, 3, 4), [0, 1], "mine")
