"""Settings: contradictions are named before anything is read."""

from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_runs import tiny_config

from residual_ssl import compose
from residual_ssl.config.settings import Settings
from residual_ssl.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, r"steps, epochs: got 6 and 3, expected one of the two"),
        ({"steps": None}, r"steps, epochs: got None and None, expected one of the two"),
        ({"steps": None, "epochs": 0}, r"epochs: got 0, expected a number > 0"),
        ({"steps": None, "epochs": -1}, r"epochs: got -1, expected a number ≥ 0"),
        ({"steps": 2.5}, r"steps: got 2.5, expected a whole number"),
        ({"seed": None}, r"seed: got None, expected a number ≥ 0"),
        ({"labelled_batch": 6, "accumulate": 4}, r"labelled_batch: got 6, expected a multiple of accumulate \(4\)"),
        ({"accumulate": 0}, r"accumulate: got 0, expected a number ≥ 1"),
        ({"reference_batch": 8, "optimizer": {"_target_": "torch.optim.AdamW"}}, r"reference_batch: scales optimizer"),
        ({"schedule": "linear"}, r"schedule: got 'linear', expected one of polynomial, cosine"),
        ({"dry_run": "yes"}, r"dry_run: got 'yes', expected true or false"),
    ],
)
def test_contradictions_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings.from_config(tiny_config(tmp_path) | changes)


def test_a_fraction_of_an_epoch_is_a_length(tmp_path: Path) -> None:
    settings = Settings.from_config(tiny_config(tmp_path) | {"steps": None, "epochs": 0.5})
    assert (settings.steps, settings.epochs) == (None, 0.5)


def test_one_length_given_takes_back_the_default_of_the_other() -> None:
    in_epochs, in_steps = compose(["epochs=80"]), compose(["steps=7"])
    assert (in_epochs["steps"], in_epochs["epochs"]) == (None, 80)
    assert (in_steps["steps"], in_steps["epochs"]) == (7, None)
    both = compose(["steps=7", "epochs=80"])
    assert (both["steps"], both["epochs"]) == (7, 80)
