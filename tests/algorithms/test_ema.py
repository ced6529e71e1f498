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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_average_of_a_student_of_low_precision_moves_as_in_single_precision(dtype: torch.dtype) -> None:
    student = nn.Linear(8, 8).to(dtype)
    teacher = EMATeacher(student, decay=0.999)
    teacher.updates += 100_000
    start = student.weight.detach().float().clone()
    with torch.no_grad():
        student.weight += 0.05
    expected = start + (1 - 0.999**500) * (student.weight.detach().float() - start)
    for _ in range(500):
        teacher.update(student)
    torch.testing.assert_close(teacher.averages.get_buffer("weight"), expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(teacher.model.weight, teacher.averages.get_buffer("weight").to(dtype))
    assert teacher(torch.zeros(1, 8, dtype=dtype)).dtype == dtype


def test_a_cast_there_and_back_loses_nothing() -> None:
    teacher = EMATeacher(nn.Linear(4, 4))
    before = teacher.model.weight.clone()
    assert teacher.to(torch.bfloat16).model.weight.dtype == torch.bfloat16
    assert torch.equal(teacher.float().model.weight, before)
    assert list(teacher.state_dict()) == ["updates", "model.weight", "model.bias"]


@pytest.mark.parametrize("saved", [torch.float32, torch.bfloat16], ids=lambda kind: f"saved {kind}")
@pytest.mark.parametrize("loaded", [torch.float32, torch.bfloat16], ids=lambda kind: f"loaded {kind}")
@pytest.mark.parametrize("old", [True, False], ids=["without averages", "with averages"])
def test_states_of_another_precision_and_without_averages_load(
    saved: torch.dtype, loaded: torch.dtype, old: bool
) -> None:
    student = nn.Linear(4, 4).to(saved)
    teacher, fresh = EMATeacher(student, 0.9), EMATeacher(nn.Linear(4, 4).to(loaded), 0.9)
    with torch.no_grad():
        student.weight += 0.1
    teacher.update(student)
    state = {name: value for name, value in teacher.state_dict().items() if not (old and name.startswith("averages"))}
    fresh.load_state_dict(state)
    best = state.get("averages.weight", state["model.weight"]).float()
    kept = fresh.averages.get_buffer("weight") if loaded == torch.bfloat16 else fresh.model.weight
    assert torch.equal(kept, best)


def test_it_takes_what_its_model_takes_and_returns_what_it_returns() -> None:
    class Encoder(nn.Module):
        def forward(self, x: torch.Tensor, *, mask: torch.Tensor | None = None) -> dict[str, torch.Tensor | None]:
            return {"x": x, "mask": mask}

    given = torch.ones(2)
    assert EMATeacher(Encoder())(given, mask=given)["mask"] is given
