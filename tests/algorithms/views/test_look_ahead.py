"""LookAhead: the teacher's way by hand on one parameter, what stays as it was, and that it trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import Tensor, nn

from residual_ssl import FixedThreshold, Task, train
from residual_ssl.algorithms import Branch, LookAhead
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.selection import FlexMatchThreshold, Selection


class Line(nn.Module):
    """Two logits ``(a·x, 0)`` of rows x, with one parameter a."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a * x, torch.zeros_like(x)], 1)


class Rows:
    """What the algorithm asks of a task; the labelled loss is that of a = 3."""

    num_classes, ignore_index, num_values = 2, 255, 0
    parted, labelled_loss, judged, pseudo_labels = Task.parted, Task.labelled_loss, Task.judged, Task.pseudo_labels

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return inputs

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return (logits[:, 0] - 3).square().mean()


class Towards(Branch):
    """The squared distance to what the teacher predicts, whose confidence tells its logit."""

    def term(self, logits: Tensor, selection: Selection | None, valid: Tensor | None) -> Tensor:
        assert selection is not None
        return (logits[:, 0] - selection.confidence.logit()).square().mean()


def batch() -> dict[str, Tensor]:
    return {"input": torch.ones(1, 1, dtype=torch.float64), "target": torch.zeros(1, dtype=torch.long)}


def test_the_teacher_follows_virtual_steps_and_the_student_stays() -> None:
    rate, decay = 0.1, 0.5
    algorithm = LookAhead(FixedThreshold(0.0), {"towards": Towards(1.0)}, ema_decay=decay, steps_ahead=2, rate=rate)
    student: nn.Module = Line()
    task: Any = Rows()
    algorithm.attach(student)
    assert algorithm.teacher is not None
    algorithm.teacher.updates.fill_(1000)  # type: ignore[operator]  # past the first updates, whose decay is smaller
    algorithm.teacher.model.a.data.fill_(1.0)  # type: ignore[union-attr]

    a, phi = 2.0, 1.0
    for _ in range(2):
        a -= rate * (2 * (a - 3) + 2 * (a - phi))
        phi = decay * phi + (1 - decay) * a
    output = algorithm.step(student, task, batch(), batch())
    assert algorithm.teacher.model.a.item() == pytest.approx(phi)  # type: ignore[union-attr]
    assert student.a.item() == 2.0
    assert output.loss.item() == pytest.approx((2 - 3) ** 2 + (2 - phi) ** 2)
    output.loss.backward()
    assert student.a.grad is not None
    assert student.a.grad.item() == pytest.approx(2 * (2 - 3) + 2 * (2 - phi))
    algorithm.after_step(student)
    assert algorithm.teacher.model.a.item() == pytest.approx(decay * phi + (1 - decay) * 2)  # type: ignore[union-attr]


def test_a_selectors_memory_follows_the_real_steps_alone() -> None:
    states = []
    for ahead in (1, 4):
        algorithm = LookAhead(FlexMatchThreshold(), {"towards": Towards(1.0)}, steps_ahead=ahead, rate=1e-9)
        student: nn.Module = Line()
        algorithm.attach(student)
        task: Any = Rows()
        algorithm.step(student, task, batch(), batch())
        assert algorithm.selector is not None
        assert algorithm.selector.training
        states.append(algorithm.selector.state_dict())
    assert states[0]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value)


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_it_trains(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "run", "algorithm=fst", "steps=2", "evaluate_every=2"))
    assert len([row for row in read_log(tmp_path / "run") if "train/loss_strong" in row]) == 2
