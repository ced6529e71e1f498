"""Where the rows of a run's log go: trackers by their names, callbacks; and that neither harms a run or its file."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from helpers.tiny_runs import tiny_config

from residual_ssl import Callbacks, RunResult, compose, train
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError, MissingPackageError, ResidualSSLWarning


class Remembering(GeneralTracker):  # type: ignore[misc]
    """A tracker that remembers, and fails from a step on."""

    name = "remembering"
    requires_logging_directory = False
    made: list["Remembering"] = []  # noqa: RUF012
    fails_from: int | None = None

    def __init__(self, run_name: str) -> None:
        super().__init__()
        self.run_name, self.rows, self.config, self.finished = run_name, [], None, False
        self.made.append(self)

    @property
    def tracker(self) -> None:
        return None

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, float], step: int | None, **further: Any) -> None:
        if self.fails_from is not None and step >= self.fails_from:
            raise ConnectionError("no route to host")
        self.rows.append({"step": step, **values})

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def remembering(monkeypatch: pytest.MonkeyPatch) -> type[Remembering]:
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "json", Remembering)  # the name of a package that is always there
    monkeypatch.setattr(Remembering, "made", [])
    monkeypatch.setattr(Remembering, "fails_from", None)
    return Remembering


def test_a_tracker_is_told_every_row_of_the_file_and_the_settings(
    tmp_path: Path, remembering: type[Remembering]
) -> None:
    train(tiny_config(tmp_path / "run", "trackers=[json]", "algorithm=supervised"))
    (tracker,) = remembering.made
    assert tracker.rows == read_log(tmp_path / "run")
    assert len(tracker.rows) == 8  # six windows, two evaluations
    assert tracker.config is not None
    assert tracker.config["seed"] == 0
    assert tracker.config["task.geometry.crop"] == 64
    assert tracker.finished
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_a_tracker_that_fails_ends_no_run(tmp_path: Path, remembering: type[Remembering]) -> None:
    remembering.fails_from = 4
    with pytest.warns(ResidualSSLWarning, match="trackers: json failed and is told no more .*no route to host") as said:
        result = train(tiny_config(tmp_path / "run", "trackers=[json]", "algorithm=supervised"))
    assert result.last["step"] == 6
    assert len([one for one in said if "trackers" in str(one.message)]) == 1
    assert max(row["step"] for row in remembering.made[0].rows) == 3
    assert len(read_log(tmp_path / "run")) == 8


@pytest.mark.parametrize(
    ("trackers", "kind", "message"),
    [
        ("[nowhere]", ConfigError, "trackers: got 'nowhere', expected some of"),
        ("[aim]", MissingPackageError, "trackers: got aim, which is not installed; pip install aim"),
        ("tensorboard", ConfigError, r"trackers: got 'tensorboard', expected a list of names: \[tensorboard,mlflow\]"),
    ],
)
def test_trackers_that_cannot_be_are_said_before_anything_is_written(
    trackers: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        train(tiny_config(tmp_path / "run", f"trackers={trackers}", "algorithm=supervised"))
    assert not (tmp_path / "run").exists()


def test_tensorboard_is_the_default_and_another_choice_continues_the_run(tmp_path: Path) -> None:
    assert compose(["experiment=digits"])["trackers"] == ["tensorboard"]
    first = train(tiny_config(tmp_path / "run", "algorithm=supervised"))
    assert [path.name.split(".")[0] for path in (tmp_path / "run" / "tensorboard").iterdir()] == ["events"]
    assert train(tiny_config(tmp_path / "run", "algorithm=supervised", "trackers=[]")).last == first.last


def test_mlflow_has_the_rows_in_one_run_also_when_it_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    config = tiny_config(tmp_path / "run", "trackers=[mlflow]", "algorithm=supervised")

    def stop(step: int, metrics: Mapping[str, float]) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, callbacks=Callbacks(on_log=stop))
    train(config)
    client = mlflow.MlflowClient()
    (experiment,) = client.search_experiments(filter_string="name = 'residual_ssl'")
    (run,) = client.search_runs([experiment.experiment_id])
    rows = {row["step"]: row["train/loss"] for row in read_log(tmp_path / "run") if "train/loss" in row}
    told = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "train/loss")}
    assert told == pytest.approx(rows)
    assert run.data.params["seed"] == "0"
    assert json.loads((tmp_path / "run" / "trackers.json").read_text()) == {"mlflow": run.info.run_id}


def test_callbacks_are_told_rows_evaluations_and_the_end(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    evaluations: list[tuple[int, float, int]] = []
    ends: list[RunResult] = []

    def evaluated(step: int, metrics: Mapping[str, float], checkpoint: Path) -> None:
        evaluations.append((step, metrics["miou"], load_run(checkpoint, device="cpu").step))

    callbacks = Callbacks(lambda step, metrics: rows.append({"step": step, **metrics}), evaluated, ends.append)
    config = tiny_config(tmp_path / "run", "algorithm=supervised", "trackers=[]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResidualSSLWarning)
        result = train(config, callbacks=callbacks)
        again = train(config, callbacks=callbacks)
    assert rows == read_log(tmp_path / "run")
    assert [(step, stored) for step, _, stored in evaluations] == [(3, 3), (6, 6)]
    assert evaluations[-1][1] == result.last["miou"]
    assert ends == [result]
    assert again.last == result.last
