"""Precision and processes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from helpers.tiny_runs import tiny_config

from residual_ssl import train
from residual_ssl.config.settings import Settings
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.setup import devices, prepared
from residual_ssl.errors import ConfigError


def test_half_precision_with_loss_scaling_is_refused_on_a_cpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"precision: got fp16 on cpu, expected a GPU; use bf16 or no"):
        train(tiny_config(tmp_path / "run", "precision=fp16"))
    assert not (tmp_path / "run").exists()


def test_runs_of_one_program_may_differ_in_precision(tmp_path: Path) -> None:
    losses = []
    for precision in ("bf16", '"no"', "bf16"):
        run = tmp_path / f"{len(losses)}"
        train(tiny_config(run, "algorithm=csl", f"precision={precision}", "steps=1"))
        losses.append(read_log(run)[0]["train/loss"])
    assert losses[0] == losses[2] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_steps_that_overflow_are_skipped_and_the_scale_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scaling(settings: Settings) -> Accelerator:
        accelerator = devices.accelerator_for(settings)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
        return accelerator

    def stored(name: str) -> dict[str, Any]:
        content: dict[str, Any] = torch.load(tmp_path / name / "last.pt", weights_only=True)
        return content

    monkeypatch.setattr(prepared, "accelerator_for", scaling)
    # Gradients of about 10, which the first scale takes beyond the largest number.
    large = ("algorithm=supervised", "+algorithm.labelled_weight=100", "warmup_steps=0")
    config = tiny_config(tmp_path / "one", *large, "steps=1")
    run = prepared.prepare(Settings.from_config(config))
    initial = {name: value.clone() for name, value in run.model.state_dict().items()}
    train(config)
    after = stored("one")
    assert torch.equal(after["model"]["classifier.weight"], initial["classifier.weight"])
    assert after["scaler"]["scale"] == 2.0**126

    train(tiny_config(tmp_path / "many", *large, "steps=12", "evaluate_every=6"))
    after = stored("many")
    assert not torch.equal(after["model"]["classifier.weight"], initial["classifier.weight"])
    assert all(value.isfinite().all() for value in after["model"].values())
    # Continued with the scale reached, not with the first one.
    continued = prepared.prepare(Settings.from_config(after["config"]), after)
    assert continued.accelerator.scaler.get_scale() == after["scaler"]["scale"] < 2.0**127
