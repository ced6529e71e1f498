"""The length of a run in epochs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_runs import tiny_config

from residual_ssl.config.settings import Settings
from residual_ssl.engine.setup.training_data import open_training_data, steps_of_epochs
from residual_ssl.errors import DataError


class Listed:
    """A set that is counted and never read."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, key: object) -> Any:
        raise AssertionError("was read")


@dataclass
class Counts:
    """Stands for a task."""

    sizes: tuple[int, int, int]

    def labelled(self, seed: int) -> Listed:
        return Listed(self.sizes[0])

    def unlabelled(self, seed: int) -> Listed:
        return Listed(self.sizes[1])

    def validation(self) -> Listed:
        return Listed(self.sizes[2])


def opened(folder: Path, sizes: tuple[int, int, int], needs_unlabelled: bool = True, **changes: Any) -> Any:
    settings = Settings.from_config(
        tiny_config(folder) | {"steps": None, "labelled_batch": 4, "unlabelled_batch": 8} | changes
    )
    return open_training_data(Counts(sizes), settings, needs_unlabelled)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "expected"),
    [(10, 100, 38), (100, 10, 75), (10, 0, 8), (16, 16, 6)],  # ceil of 3 epochs of 100/8, 100/4, 10/4 and 16/8 steps
)
def test_an_epoch_is_a_pass_over_the_larger_set_for_every_algorithm(
    tmp_path: Path, labelled: int, unlabelled: int, expected: int
) -> None:
    for needs_unlabelled in (False, True) if unlabelled else (False,):
        data = opened(tmp_path, (labelled, unlabelled, 5), needs_unlabelled, epochs=3)
        assert data.steps == expected
        assert (data.unlabelled is None) == (not needs_unlabelled)


def test_a_run_in_steps_opens_the_unlabelled_set_only_where_it_is_needed(tmp_path: Path) -> None:
    data = opened(tmp_path, (10, 100, 5), needs_unlabelled=False, steps=7)
    assert (data.steps, data.epoch_steps) == (7, None)
    assert "unlabelled" not in data.counts


def test_steps_are_rounded_up_from_the_exact_number() -> None:
    # 0.1 · 30 / 3 in floating point is above 1.
    assert [steps_of_epochs(*case) for case in ((0.1, 30, 3), (80, 10_216, 8), (1, 9, 8))] == [1, 102_160, 2]


@pytest.mark.parametrize(("sizes", "name"), [((0, 9, 9), "labelled"), ((9, 0, 9), "unlabelled")])
def test_an_empty_set_is_named(tmp_path: Path, sizes: tuple[int, int, int], name: str) -> None:
    with pytest.raises(DataError, match=rf"^{name}.* set: holds no samples"):
        opened(tmp_path, sizes, epochs=1)
