"""Runs: they continue where they stopped, refuse what does not fit, and lose nothing."""

import itertools
import json
import math
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folder_sets import folder_config, write_folders
from helpers.power_cuts import PowerCutError, stop_after
from helpers.tiny_runs import tiny_config

from residual_ssl import evaluate, train
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.setup.loading import StepSampler
from residual_ssl.errors import CheckpointError, ConfigError, MissingDataError, ResidualSSLError, ResidualSSLWarning
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.seeds import mixed_seed


def weights(run: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = torch.load(run / "last.pt", weights_only=True)["model"]
    return model


@pytest.mark.parametrize("algorithm", ["csl", "supervised"])
def test_a_run_that_was_cut_off_continues_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    extra = [f"algorithm={algorithm}"] + (["+algorithm.ema_decay=0.9"] if algorithm == "csl" else [])
    whole = train(tiny_config(tmp_path / "whole", *extra))
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(PowerCutError):
            train(tiny_config(tmp_path / "cut", *extra))
    assert torch.load(tmp_path / "cut" / "last.pt", weights_only=True)["step"] == 3
    resumed = train(tiny_config(tmp_path / "cut", *extra))
    for name, tensor in weights(tmp_path / "whole").items():
        torch.testing.assert_close(
            weights(tmp_path / "cut")[name], tensor, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert resumed.last == pytest.approx(whole.last)
    assert resumed.best == pytest.approx(whole.best)
    rows = [row["step"] for row in read_log(tmp_path / "cut") if "train/loss" in row]
    assert rows == [1, 2, 3, 4, 5, 6]


def test_a_termination_signal_saves_the_step_and_the_run_continues(tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = ["experiment=digits", f"run_dir={run}", "device=cpu", "steps=400", "evaluate_every=400", "log_every=1"]
    small = [f"dataset.source.{name}=4" for name in ("labelled", "unlabelled", "validation")]
    command = [sys.executable, "-m", "residual_ssl.cli", "train", *overrides, *small, "labelled_batch=2"]
    process = subprocess.Popen([*command, "algorithm=supervised"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(read_log(run)) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors.decode()
    step = torch.load(run / "last.pt", weights_only=True)["step"]
    assert 3 <= step < 400
    assert f"stopped after step {step}" in errors.decode()


def test_a_finished_run_is_reported_and_not_repeated(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run", "algorithm=supervised")
    first = train(config)
    before = (tmp_path / "run" / "last.pt").stat().st_mtime_ns
    again = train(config)
    assert again.last == first.last
    assert again.training == first.training
    assert (tmp_path / "run" / "last.pt").stat().st_mtime_ns == before


def test_the_result_file_says_where_the_figures_come_from(tmp_path: Path) -> None:
    result = train(tiny_config(tmp_path / "run", "algorithm=csl"))
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["last"]["miou"] == result.last["miou"]
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["config"]["steps"] == 6
    assert {"command", "hardware", "commit", "seconds"} <= record.keys()
    assert any((tmp_path / "run" / "tensorboard").iterdir())


def test_evaluation_of_a_checkpoint_gives_the_figures_of_the_run(tmp_path: Path) -> None:
    result = train(tiny_config(tmp_path / "run", "algorithm=supervised"))
    assert evaluate(tmp_path / "run", device="cpu") == pytest.approx(result.best)
    assert evaluate(tmp_path / "run", checkpoint_name="last.pt", device="cpu") == pytest.approx(result.last)


def test_a_run_directory_with_other_settings_is_refused(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "run", "algorithm=supervised"))
    with pytest.raises(ConfigError, match=r"run_dir: .* holds a run with other settings \(optimizer, seed, task\)"):
        train(tiny_config(tmp_path / "run", "algorithm=supervised", "seed=1", "optimizer.lr=0.1"))
    train(tiny_config(tmp_path / "run", "algorithm=supervised", "log_every=2"))


def test_a_run_in_epochs_continues_and_keeps_its_steps_where_the_data_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(run: str) -> dict[str, Any]:
        return tiny_config(tmp_path / run, "algorithm=supervised", "steps=null", "epochs=2")

    whole = train(config("whole"))
    assert (whole.last["step"], whole.epoch_steps, whole.effective["steps"]) == (6, 3.0, 6)
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(PowerCutError):
            train(config("cut"))
    with monkeypatch.context() as patch:
        patch.setattr("residual_ssl.engine.setup.training_data.len", lambda data: 14, raising=False)
        stop_after(patch, 1)
        with (
            pytest.warns(ResidualSSLWarning, match=r"epochs: the data as they are now make 7 steps, the run .* 6"),
            pytest.raises(PowerCutError),
        ):
            train(config("cut"))
    assert train(config("cut")).last == pytest.approx(whole.last)


def test_the_learning_rate_follows_the_batch_from_its_reference(tmp_path: Path) -> None:
    scaled = ("labelled_batch=8", "reference_batch=4", "optimizer.lr=0.01", "head_lr_multiplier=5", "steps=1")
    result = train(tiny_config(tmp_path / "run", "algorithm=supervised", "warmup_steps=0", *scaled))
    assert result.effective["learning_rates"] == pytest.approx([0.02, 0.1])
    assert read_log(tmp_path / "run")[0]["train/rate"] == pytest.approx(0.02)
    assert json.loads((tmp_path / "run" / "effective.json").read_text()) == result.effective


def test_a_dry_run_shows_what_a_step_takes_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(tmp_path / "run", "algorithm=csl", "accumulate=2") | {"dry_run": True}
    result = train(config)
    assert (result.last, result.best) == ({}, {})
    assert not (tmp_path / "run").exists()
    printed = capsys.readouterr().out
    for expected in (
        "global batch  4 labelled + 4 unlabelled, in 2 micro-batches per process",
        "labelled batch  input (2, 3, 64, 64) float32, target (2, 64, 64) int64",
        "predicted  logits (1, 11, 64, 64) float32",
        "GiB resident",
        "nothing was written",
    ):
        assert expected in printed


def test_a_dry_run_predicts_the_largest_image_and_says_where_crops_are_padding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folders(tmp_path, size=lambda index: (32, 32 + 8 * (index == 1)))
    with pytest.warns(ResidualSSLWarning, match=r"crop: got 64×64 for labelled images of at most 32×.*crop=\[32,"):
        train(folder_config(tmp_path, "algorithm=supervised", "dataset.geometry.crop=64", "dry_run=true"))
    assert "largest evaluation sample  input (1, 3, 32, 40)" in capsys.readouterr().out
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResidualSSLWarning)
        train(folder_config(tmp_path, "algorithm=supervised", "dataset.geometry.crop=40", "dry_run=true"))


def test_a_dry_run_of_an_unfinished_run_leaves_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(tmp_path / "run", "algorithm=supervised")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(PowerCutError):
            train(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")}
    train(config | {"dry_run": True})
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*")} == before


def test_weights_of_another_run_start_a_new_one(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "first", "algorithm=supervised"))
    start = tmp_path / "first" / "last.pt"
    tiny = tiny_config(tmp_path / "second", "algorithm=supervised", f"init_from={start}", "optimizer.lr=0")
    train(tiny | {"steps": 1})
    for name, tensor in weights(tmp_path / "first").items():
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(weights(tmp_path / "second")[name], tensor), name


def test_a_checkpoint_of_another_number_of_classes_is_refused_with_its_keys(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "run", "algorithm=supervised"))
    stored = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    stored["model"]["classifier.weight"] = stored["model"]["classifier.weight"][:5]
    torch.save(stored, tmp_path / "other.pt")
    config = tiny_config(tmp_path / "second", "algorithm=supervised", f"init_from={tmp_path / 'other.pt'}")
    with pytest.raises(CheckpointError, match=r"1 of another shape: classifier.weight \(5, 32, 1, 1\) for \(11, 32"):
        train(config)


def test_a_diverging_loss_stops_the_run_and_keeps_what_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from residual_ssl.algorithms import ConsistencyAlgorithm

    config = tiny_config(tmp_path / "run", "algorithm=supervised", "steps=60", "evaluate_every=1")
    config["log_every"] = 50
    original, steps = ConsistencyAlgorithm.step, itertools.count(1)

    def diverging(self: Any, *arguments: Any) -> Any:
        output = original(self, *arguments)
        return replace(output, loss=output.loss * (math.nan if next(steps) > 3 else 1))

    monkeypatch.setattr(ConsistencyAlgorithm, "step", diverging)
    with pytest.raises(ResidualSSLError, match=r"loss: got (nan|inf) at step \d+; the run diverged"):
        train(config)
    assert checkpoint.load(tmp_path / "run" / "best.pt")["step"] >= 1


def test_a_network_that_predicts_nothing_finite_stops_the_run_and_is_set_aside(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run", "algorithm=supervised", "steps=60", "evaluate_every=1", "optimizer.lr=1e18")
    with pytest.raises(
        ResidualSSLError, match=r"logits: not finite for .* at step 1; the run diverged.* No checkpoint"
    ):
        train(config)
    assert [path.name for path in (tmp_path / "run").glob("*.pt")] == ["diverged.pt"]


def test_a_full_disk_leaves_the_previous_checkpoint_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    checkpoint.save(path, {"model": {}, "config": {}, "step": 1})
    written = path.read_bytes()

    def full(content: Any, file: Any) -> None:
        file.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*the previous checkpoint there is intact"):
        checkpoint.save(path, {"model": {}, "config": {}, "step": 2})
    assert path.read_bytes() == written
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_damaged_and_missing_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"checkpoint .*best.pt: no such file"):
        evaluate(tmp_path)
    (tmp_path / "best.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"best.pt: cannot be read"):
        evaluate(tmp_path)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_micro_batches_follow_one_another_within_the_share_of_a_process(accumulate: int) -> None:
    def batches(process: int, processes: int, accumulate: int, start: int = 0) -> list[list[tuple[int, int]]]:
        sampler = StepSampler(10, 8, seed=5, start=start, process=process, processes=processes, accumulate=accumulate)
        return list(itertools.islice(sampler, 5 * accumulate))

    shares = [batches(process, 2, accumulate) for process in range(2)]
    for step, whole in enumerate(batches(0, 1, 1)):
        parts = [share[step * accumulate + micro] for share in shares for micro in range(accumulate)]
        assert list(itertools.chain(*parts)) == whole
        assert {len(part) for part in parts} == {4 // accumulate}
    assert batches(1, 2, accumulate, start=3)[:accumulate] == shares[1][3 * accumulate : 4 * accumulate]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_each_batch_and_every_sample_comes_once_an_epoch(processes: int) -> None:
    def batches(process: int, processes: int, start: int = 0) -> list[list[tuple[int, int]]]:
        sampler = iter(StepSampler(10, 4, seed=5, start=start, process=process, processes=processes))
        return [next(sampler) for _ in range(15)]

    single = batches(0, 1)
    shares = [batches(process, processes) for process in range(processes)]
    assert [list(itertools.chain(*parts)) for parts in zip(*shares, strict=True)] == single
    flat = [index for batch in single for index, _ in batch]
    for epoch in range(6):
        assert sorted(flat[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert flat[:10] != flat[10:20]
    assert batches(0, 1, start=5)[:10] == single[5:]


def test_seeds_of_neighbouring_numbers_differ() -> None:
    assert len({mixed_seed(a, b) for a in range(50) for b in range(50)}) == 2500
