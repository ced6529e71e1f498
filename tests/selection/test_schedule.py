"""ScheduledSelector: how far training has come, with a number of steps given or told."""

import pytest

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.points.schedule import ScheduledSelector


def test_without_a_number_of_steps_it_is_told_one() -> None:
    rule = ScheduledSelector()
    assert [rule.progress().item() for _ in range(3)] == [0, 0, 0]
    rule = ScheduledSelector()
    rule.on_train_start(4)
    assert [rule.progress().item() for _ in range(3)] == [0, 0.25, 0.5]


def test_a_number_of_its_own_prevails() -> None:
    rule = ScheduledSelector(2)
    rule.on_train_start(100)
    assert [rule.progress().item() for _ in range(4)] == [0, 0.5, 1, 1]


def test_training_goes_on_with_the_number_that_it_began_with() -> None:
    rule, restored = ScheduledSelector(), ScheduledSelector()
    rule.on_train_start(10)
    rule.progress()
    restored.load_state_dict(rule.state_dict())
    assert restored.progress() == 0.1


def test_in_evaluation_no_step_passes() -> None:
    rule = ScheduledSelector(4).eval()
    rule.progress()
    assert rule.step == 0


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_a_wrong_number_is_named(steps: int) -> None:
    with pytest.raises(InvalidInputError, match="total_steps: got"):
        ScheduledSelector(steps)
