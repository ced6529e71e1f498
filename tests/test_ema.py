"""The moving-average teacher against the recursion."""

import pytest
import torch
from torch import nn

from residual_ssl.algorithms.ema import EMATeacher
from residual_ssl.errors import InvalidInputError


def test_parameters_and_statistics_follow_the_recursion() -> None:
    student = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    teacher = EMATeacher(student, decay=0.8)
    weight = [student[0].weight.detach().clone()]
    variance = [student[1].running_var.clone()]
    for step in range(1, 8):
        with torch.no_grad():
            student[0].weight.add_(step)
            student[1].running_var.add_(step)
            student[1].num_batches_tracked.add_(1)
        teacher.update(student)
        decay = min(0.8, 1 - 1 / (step + 1))
        weight.append(decay * weight[-1] + (1 - decay) * student[0].weight.detach())
        variance.append(decay * variance[-1] + (1 - decay) * student[1].running_var)
    torch.testing.assert_close(teacher.model[0].weight, weight[-1])
    torch.testing.assert_close(teacher.model[1].running_var, variance[-1])
    assert teacher.model[1].num_batches_tracked == 7


def test_the_teacher_stays_in_evaluation_mode_and_out_of_the_graph() -> None:
    teacher = EMATeacher(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), decay=0.9).train()
    assert not any(module.training for module in teacher.modules())
    assert not teacher(torch.ones(1, 2)).requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"decay: got 1"):
        EMATeacher(nn.Linear(1, 1), decay=1)
