"""Numbers that are not finite, and runs that learn nothing: what is written, reported and said."""

import itertools
import json
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_digits
from torch import nn

from residual_ssl import evaluate, train
from residual_ssl.algorithms import ConsistencyAlgorithm
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.step import TrainingStep
from residual_ssl.errors import ResidualSSLError, ResidualSSLWarning
from residual_ssl.runtime import checkpoint
from residual_ssl.runtime.finite import gradients_finite, non_finite_entries


def config(run_dir: Path, *overrides: str) -> dict[str, Any]:
    return tiny_digits(run_dir, "algorithm=supervised", "steps=12", "evaluate_every=4", *overrides)


def weights(path: Path) -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return model


def spoil(monkeypatch: pytest.MonkeyPatch, fault: str, steps: set[int], value: float = math.nan) -> None:
    """Let a fault happen in the steps of these numbers, from 1 on."""
    count = itertools.count(1)
    original = ConsistencyAlgorithm.step

    def spoilt(self: Any, model: nn.Module, task: Any, labelled: Any, unlabelled: Any) -> Any:
        now = next(count) in steps
        if now and fault == "input":
            labelled = {**labelled, "input": labelled["input"] * value}
        output = original(self, model, task, labelled, unlabelled)
        return replace(output, loss=output.loss * value) if now and fault == "loss" else output

    done = itertools.count(1)
    after = ConsistencyAlgorithm.after_step

    @torch.no_grad()
    def spoilt_after(self: Any, model: nn.Module) -> None:
        after(self, model)
        now = next(done) in steps
        if now and fault == "weights":
            next(model.parameters()).fill_(value)
        if now and fault == "statistics":
            next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).running_var.fill_(value)  # type: ignore[union-attr]

    monkeypatch.setattr(ConsistencyAlgorithm, "after_step", spoilt_after)
    monkeypatch.setattr(ConsistencyAlgorithm, "step", spoilt)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=["nan", "inf"])
@pytest.mark.parametrize("fault", ["loss", "input"])
def test_one_gradient_that_is_not_finite_skips_its_step_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, value: float
) -> None:
    spoil(monkeypatch, fault, {3}, value)
    result = train(config(tmp_path / "run"))
    assert result.skipped_steps == 1
    assert json.loads((tmp_path / "run" / "result.json").read_text())["skipped_steps"] == 1
    assert [row["step"] for row in read_log(tmp_path / "run") if "train/skipped_steps" in row] == [3]
    assert all(value.isfinite().all() for value in weights(tmp_path / "run" / "last.pt").values())


def test_a_skipped_step_leaves_weights_statistics_and_memory_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[dict[str, torch.Tensor]] = []
    original = TrainingStep.__call__

    def watched(self: Any, *arguments: Any) -> Any:
        metrics = original(self, *arguments)
        modules = {"model": self._model, "algorithm": self._algorithm}
        states.append({f"{n}.{k}": v.clone() for n, m in modules.items() for k, v in m.state_dict().items()})
        return metrics

    monkeypatch.setattr(TrainingStep, "__call__", watched)
    spoil(monkeypatch, "input", {3})
    train(
        tiny_digits(tmp_path / "run", "algorithm=fixmatch", "steps=4", "evaluate_every=4", "+algorithm.ema_decay=0.9")
    )
    assert all(torch.equal(states[1][name], value) for name, value in states[2].items())
    assert not all(torch.equal(states[2][name], value) for name, value in states[3].items())


# Fault, steps, and what the error must say.
STOPS = {
    "ten losses in a row": (
        "loss",
        set(range(3, 13)),
        r"loss: got nan at step 12; .*10 of the last 12 .*labelled ",
    ),
    "weights": ("weights", {3}, r"network: .* not finite at step 4; the run diverged"),
    "running statistics": ("statistics", {3}, r"network: .*running_var.* not finite at step 4; the run diverged"),
    "weights after a good evaluation": ("weights", {6}, r"at step 8; .*Good, and from before: last.pt \(step 4\)"),
}


@pytest.mark.parametrize(("fault", "steps", "message"), STOPS.values(), ids=STOPS)
def test_numbers_that_stay_not_finite_stop_the_run_and_no_such_network_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, steps: set[int], message: str
) -> None:
    spoil(monkeypatch, fault, steps)
    with pytest.raises(ResidualSSLError, match=message):
        train(config(tmp_path / "run"))
    for path in (tmp_path / "run").glob("*.pt"):
        assert all(value.isfinite().all() for value in weights(path).values()), path
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("entry", ["weight", "running_mean"])
def test_evaluating_a_network_that_is_not_finite_gives_no_metric(tmp_path: Path, entry: str) -> None:
    train(config(tmp_path / "run", "steps=1"))
    stored = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    next(value for name, value in stored["model"].items() if name.endswith(entry)).fill_(math.nan)
    checkpoint.save(tmp_path / "run" / "best.pt", stored)
    with pytest.raises(ResidualSSLError, match=r"logits: not finite for \d+ of \d+ points"):
        evaluate(tmp_path / "run", device="cpu")


def said(run: dict[str, Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(run)
    return [str(warning.message) for warning in caught if issubclass(warning.category, ResidualSSLWarning)]


# Overrides that make a run learn nothing, and the knob that the one warning names.
COLLAPSES = {
    "rate of 0": (["algorithm=supervised", "optimizer.lr=0"], "optimizer.lr: is 0"),
    "nothing trusted": (["algorithm=fixmatch", "selector.threshold=1.0"], "coverage: no pseudo-label"),
    "everything trusted": (["algorithm=fixmatch", "selector.threshold=0.0"], "coverage: all pseudo-labels"),
}


@pytest.mark.parametrize(("overrides", "message"), COLLAPSES.values(), ids=COLLAPSES)
def test_a_run_that_learns_nothing_says_so_once(tmp_path: Path, overrides: list[str], message: str) -> None:
    found = said(tiny_digits(tmp_path / "run", "steps=30", "evaluate_every=30", *overrides))
    assert len([text for text in found if text.startswith(message)]) == 1, found


def test_a_run_that_learns_is_not_warned(tmp_path: Path) -> None:
    found = said(tiny_digits(tmp_path / "run", "steps=30", "evaluate_every=30", "algorithm=csl"))
    assert not [text for text in found if text.startswith(("coverage", "optimizer", "labelled batch"))]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_any_value_that_is_not_finite_is_found_among_gradients_and_weights(value: float) -> None:
    layer = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert gradients_finite(layer.parameters())
    assert non_finite_entries(layer) == []
    layer[0].bias.grad[1] = value
    layer[1].running_mean[2] = value  # type: ignore[union-attr]
    assert not gradients_finite(layer.parameters())
    assert non_finite_entries(layer) == ["1.running_mean"]
