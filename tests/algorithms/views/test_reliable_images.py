"""ReliableImages: the ranking of the whole set against mean IoU by sets, and ST++ on half of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import Tensor, nn

from residual_ssl import train
from residual_ssl.algorithms import InputBranch, ReliableImages
from residual_ssl.algorithms.frozen_teacher import FrozenTeacher
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.selection import TrustAll

# Labels of five images of six points: the last state's, and those of two earlier ones.
LAST = [[0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1], [2, 2, 2, 2, 2, 2], [0, 1, 2, 0, 1, 2], [1, 1, 1, 1, 0, 0]]
FIRST = [[0, 0, 1, 1, 2, 2], [1, 1, 1, 0, 0, 0], [2, 2, 2, 2, 2, 0], [0, 1, 1, 0, 1, 1], [1, 1, 1, 0, 0, 0]]
SECOND = [[0, 0, 1, 1, 2, 1], [1, 1, 1, 0, 0, 0], [2, 2, 2, 2, 2, 2], [0, 1, 1, 0, 1, 1], [1, 1, 1, 1, 0, 0]]


def mean_iou(first: list[int], second: list[int], without: int | None = None) -> float:
    values = []
    for k in (set(first) | set(second)) - {without}:
        a = {i for i, label in enumerate(first) if label == k}
        b = {i for i, label in enumerate(second) if label == k}
        values.append(len(a & b) / len(a | b))
    return sum(values) / len(values)


class Known(nn.Module):
    """Predicts some labels; the input is the number of the image."""

    def __init__(self, labels: list[list[int]] = LAST) -> None:
        super().__init__()
        self.labels = torch.tensor(labels)
        self.place = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return 9.0 * nn.functional.one_hot(self.labels[x[:, 0].long()], 3).movedim(-1, 1)


class Task:
    """Knows its inputs as the pool draws them, and where ``apart`` is set as they are: the next image."""

    num_classes = 3

    def __init__(self, apart: bool = False) -> None:
        self.apart = apart

    def unlabelled_input(self, index: int) -> Tensor | None:
        return torch.tensor([float((index + 1) % 5)]) if self.apart else None

    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        found: Tensor = model(inputs)
        return found


class Pool:
    def __len__(self) -> int:
        return 5

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        return {"input": torch.tensor([float(key[0])]), "draw": torch.tensor(key[1])}


def made(**settings: Any) -> ReliableImages:
    algorithm = ReliableImages(TrustAll(), {"strong": InputBranch(1.0)}, ["1.pt", "2.pt", "3.pt"], **settings)
    algorithm.teacher = FrozenTeacher(Known(), ["1.pt", "2.pt", "3.pt"])
    algorithm.teacher.networks = nn.ModuleList(map(Known, (FIRST, SECOND, LAST)))
    return algorithm


@pytest.mark.parametrize("background", [None, 0])
def test_the_whole_set_is_ranked_and_the_first_share_is_kept(background: int | None) -> None:
    task: Any = Task()
    pool: Any = Pool()
    scores = [
        (mean_iou(first, last, background) + mean_iou(second, last, background)) / 2
        for first, second, last in zip(FIRST, SECOND, LAST, strict=True)
    ]
    expected = sorted(range(5), key=lambda i: -scores[i])[:3]
    kept: Any = made(share=0.6, background=background).chosen_unlabelled(task, pool)
    assert [int(kept[i, 7]["input"]) for i in range(len(kept))] == expected
    assert kept[0, 7]["draw"] == 7


def test_images_are_ranked_as_they_are_where_the_task_knows_that() -> None:
    pool: Any = Pool()
    drawn, apart = (made(share=1.0).chosen_unlabelled(task, pool).places for task in (Task(), Task(apart=True)))  # type: ignore[attr-defined,arg-type]
    assert apart[0] == (drawn[0] - 1) % 5
    assert apart != drawn


def test_an_image_that_cannot_be_read_ranks_last() -> None:
    class Broken(Pool):
        def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
            if key[0] == 0:
                raise DataError("0: truncated")
            return super().__getitem__(key)

    task: Any = Task()
    pool: Any = Broken()
    assert made(share=1.0).chosen_unlabelled(task, pool).places[-1] == 0  # type: ignore[attr-defined]


def test_one_checkpoint_says_nothing_of_change() -> None:
    with pytest.raises(ConfigError, match="expected two checkpoints of one run or more"):
        ReliableImages(TrustAll(), {"strong": InputBranch(1.0)}, "last.pt")


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_its_first_round_sees_half_of_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    whole = ReliableImages.chosen_unlabelled

    def chosen(self: ReliableImages, task: Any, unlabelled: Any) -> Any:
        found: Any = whole(self, task, unlabelled)
        kept.extend([len(found), len(unlabelled)])
        return found

    monkeypatch.setattr(ReliableImages, "chosen_unlabelled", chosen)
    train(tiny_config(tmp_path / "run", "algorithm=st_plus_plus", "steps=3", "evaluate_every=3", "warmup_steps=0"))
    assert kept == [6, 12]
    assert json.loads((tmp_path / "run" / "3-all_images" / "result.json").read_text())["last"]["step"] == 3
