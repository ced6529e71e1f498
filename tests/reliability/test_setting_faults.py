"""Values of a wrong type in a configuration, and run directories with other settings: all faults, a line each."""

from pathlib import Path
from typing import Any

import pytest
from helpers.tiny_runs import tiny_digits

from residual_ssl import compose, train
from residual_ssl.config.argument_types import type_faults
from residual_ssl.config.settings import Settings
from residual_ssl.errors import ConfigError

NAN = float("nan")
INF = float("inf")
# What is typed in the place of a setting, and the line that must come.
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "text for a rate": ({"optimizer": {"lr": "abc"}}, r"optimizer.lr: got 'abc', expected a number"),
    "null for a rate": ({"optimizer": {"lr": None}}, r"optimizer.lr: got None, expected a number"),
    "list for a rate": ({"optimizer": {"lr": [1]}}, r"optimizer.lr: got \[1\], expected a number"),
    "mapping for a rate": ({"optimizer": {"lr": {"a": 1}}}, r"optimizer.lr: got \{'a': 1\}, expected a number"),
    "true for a rate": ({"optimizer": {"lr": True}}, r"optimizer.lr: got True, expected a number"),
    "nan for a rate": ({"optimizer": {"lr": NAN}}, r"optimizer.lr: got nan, expected a number"),
    "inf for a rate": ({"optimizer": {"lr": INF}}, r"optimizer.lr: got inf, expected a finite number"),
    "negative rate": ({"optimizer": {"lr": -1.0}}, r"optimizer: .*Invalid learning rate: -1.0"),
    "inf for weight decay": ({"optimizer": {"weight_decay": INF}}, r"optimizer.weight_decay: got inf"),
    "text for betas": ({"optimizer": {"betas": "a"}}, r"optimizer.betas: got 'a', expected a list"),
    "inf for a count": ({"steps": INF}, r"steps: got inf"),
    "nan for a count": ({"steps": NAN}, r"steps: got nan"),
    "text for a count": ({"labelled_batch": "8"}, r"labelled_batch: got '8', expected a number"),
    "list for a count": ({"workers": [2]}, r"workers: got \[2\], expected a number"),
    "null for a count": ({"log_every": None}, r"log_every: got None, expected a number"),
    "huge seed": ({"seed": 1e300}, r"seed: got 1e\+300"),
    "inf for epochs": ({"steps": None, "epochs": INF}, r"epochs: got inf"),
    "number for a folder": ({"run_dir": 5}, r"run_dir: got 5, expected the path of a folder"),
    "nothing for a folder": ({"run_dir": " "}, r"run_dir: got ' ', expected the path of a folder"),
    "number for a file": ({"init_from": 5}, r"init_from: got 5, expected the path of a file"),
    "list for a choice": ({"precision": ["bf16"]}, r"precision: got \['bf16'\], expected one of"),
    "number for a truth value": ({"sync_batchnorm": 1}, r"sync_batchnorm: got 1, expected true or false"),
    "text for a component": ({"algorithm": "csl"}, r"algorithm: got 'csl', expected a mapping with _target_"),
    "unknown unit of time": ({"checkpoint_every": "10 lightyears"}, r"checkpoint_every: got '10 lightyears', expected"),
    "no time at all": ({"checkpoint_every": "0min"}, r"checkpoint_every: got '0min', expected"),
    "no steps": ({"checkpoint_every": 0}, r"checkpoint_every: got 0, expected"),
    "number for a timeout": ({"timeout": 600}, r"timeout: got 600, expected a length of time"),
    "text in a selector": ({"algorithm": {"selector": {"threshold": "high"}}}, r"selector.threshold: got 'high'"),
    "nan in a selector": ({"algorithm": {"selector": {"threshold": NAN}}}, r"selector.threshold: got nan"),
}


def changed(config: Any, changes: Any) -> Any:
    if not isinstance(config, dict) or not isinstance(changes, dict):
        return changes
    return {**config, **{key: changed(config.get(key), value) for key, value in changes.items()}}


@pytest.mark.parametrize(("changes", "message"), FAULTS.values(), ids=FAULTS)
def test_a_value_of_a_wrong_type_is_a_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings.from_config(changed(tiny_digits(tmp_path / "run", "algorithm=fixmatch"), changes))
    assert not (tmp_path / "run").exists()


def test_all_wrong_values_come_at_once(tmp_path: Path) -> None:
    changes = {"optimizer": {"lr": "abc", "eps": None}, "steps": INF, "run_dir": 5, "timeout": 1}
    with pytest.raises(ConfigError) as caught:
        Settings.from_config(changed(tiny_digits(tmp_path / "run"), changes))
    lines = str(caught.value).splitlines()
    assert {line.split(":")[0] for line in lines} == {"optimizer.lr", "optimizer.eps", "steps", "run_dir", "timeout"}


def test_widths_that_are_no_list_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.widths: got 'abc', expected a list of whole numbers"):
        Settings.from_config(compose(["experiment=digits", "+model.widths=abc", f"run_dir={tmp_path}"]))


@pytest.mark.parametrize("override", ["optimizer=null", "algorithm=null", "=5"])
def test_a_group_without_a_name_is_a_configuration_error(override: str) -> None:
    with pytest.raises(ConfigError):
        Settings.from_config(compose(["experiment=digits", override]))


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path) -> None:
    settings = Settings.from_config(tiny_digits(tmp_path / "run") | {"labelled_batch": 4.0, "steps": 1e3})
    assert (settings.labelled_batch, settings.steps) == (4, 1000)
    assert isinstance(settings.labelled_batch, int)


@pytest.mark.parametrize("algorithm", ["csl", "fixmatch", "supervised", "unimatch", "cps", "st_plus_plus"])
def test_no_value_of_the_shipped_configurations_is_refused(algorithm: str) -> None:
    config = compose(["experiment=digits", f"algorithm={algorithm}"])
    assert [fault for name in ("task", "algorithm", "optimizer") for fault in type_faults(config[name], name)] == []


def test_a_run_with_other_settings_is_refused_with_both_values(tmp_path: Path) -> None:
    train(tiny_digits(tmp_path / "run", "algorithm=supervised", "optimizer.lr=0.01"))
    with pytest.raises(ConfigError) as caught:
        train(tiny_digits(tmp_path / "run", "algorithm=supervised", "optimizer.lr=0.02", "warmup_steps=1"))
    lines = str(caught.value).splitlines()
    assert lines[1:] == ["optimizer.lr: was 0.01, now 0.02", "warmup_steps: was 0, now 1"]
    assert "remove" not in lines[0]
