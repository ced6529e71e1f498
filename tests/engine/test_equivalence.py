"""One run whatever divides its batches: two processes and micro-batches give the losses of one process."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config, without_batchnorm
from helpers.two_processes import run_on_two

from residual_ssl import train
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.setup.batchnorm import average_running_statistics

STEPS = 5
# A tiny network is sure of nothing: a low threshold lets FixMatch select a part of the points.
METHODS = {
    "supervised": ("algorithm=supervised",),
    "fixmatch": ("algorithm=fixmatch", "selector.threshold=0.2"),
    "dacs": ("algorithm=dacs", "selector=csl", "algorithm.ema_decay=0.5", "algorithm.domain_batchnorm=true"),
    "csl": ("algorithm=csl", "+algorithm.ema_decay=0.5"),
}
# No padding, so that all micro-batches count the same points.
EQUAL = ("dataset.geometry.scale=[1.0,1.2]",)


def config(run_dir: Path, *overrides: str) -> dict[str, Any]:
    sizes = ("labelled_batch=4", "unlabelled_batch=8", f"steps={STEPS}", "warmup_steps=0", "optimizer.lr=0.02")
    return without_batchnorm(tiny_config(run_dir, *sizes, "evaluate_every=3", *overrides))


def figures(run_dir: Path, name: str) -> list[float]:
    return [row[f"train/{name}"] for row in read_log(run_dir) if "train/loss" in row]


def samples() -> torch.Tensor:
    return torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def _train(rank: int, folder: Path) -> None:
    for name, method in METHODS.items():
        train(config(folder / name, *method))
    train(config(folder / "accumulated", *METHODS["csl"], *EQUAL, "accumulate=2"))
    layer = torch.nn.BatchNorm2d(3)
    layer(samples().chunk(2)[rank])
    average_running_statistics(layer)
    torch.save(layer.state_dict(), folder / f"layer{rank}.pt")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directories of each method and of accumulated CSL, trained on two processes."""
    folder = tmp_path_factory.mktemp("two")
    run_on_two(_train, folder)
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_have_the_losses_of_one(tmp_path: Path, two_processes: Path, name: str) -> None:
    single = train(config(tmp_path, *METHODS[name]))
    terms = [key.removeprefix("train/") for key in read_log(tmp_path)[0] if "loss" in key]
    assert len(terms) > 1
    for term in terms:
        assert figures(two_processes / name, term) == pytest.approx(figures(tmp_path, term), abs=1e-5), term
    assert len(set(figures(tmp_path, "loss"))) == STEPS
    stored = torch.load(two_processes / name / "last.pt", weights_only=True)
    assert stored["last"]["miou"] == pytest.approx(single.last["miou"], abs=0.1)
    if name != "supervised":
        assert 0 < figures(tmp_path, "coverage")[-1] < 1


@pytest.mark.parametrize("name", METHODS)
def test_micro_batches_have_the_losses_of_the_whole_batch(tmp_path: Path, name: str) -> None:
    for accumulate in (1, 2):
        train(config(tmp_path / f"{accumulate}", *METHODS[name], *EQUAL, f"accumulate={accumulate}"))
    assert figures(tmp_path / "2", "loss") == pytest.approx(figures(tmp_path / "1", "loss"), abs=1e-5)
    if name == "csl":
        states = [torch.load(tmp_path / f"{n}" / "last.pt", weights_only=True)["algorithm"] for n in (1, 2)]
        assert states[0]["teacher.updates"] == states[1]["teacher.updates"] == STEPS
        for key, value in states[0].items():
            torch.testing.assert_close(states[1][key], value, rtol=1e-4, atol=1e-5)


def test_processes_and_micro_batches_combine(tmp_path: Path, two_processes: Path) -> None:
    train(config(tmp_path, *METHODS["csl"], *EQUAL))
    assert figures(two_processes / "accumulated", "loss") == pytest.approx(figures(tmp_path, "loss"), abs=1e-5)


def test_running_statistics_are_averaged_over_processes(two_processes: Path) -> None:
    first, second = (torch.load(two_processes / f"layer{rank}.pt", weights_only=True) for rank in range(2))
    halves = samples().chunk(2)
    expected = 0.1 * torch.stack([half.mean((0, 2, 3)) for half in halves]).mean(0)
    torch.testing.assert_close(first["running_mean"], expected)
    assert not torch.allclose(first["running_mean"], 0.1 * halves[0].mean((0, 2, 3)))
    for name, value in first.items():
        assert torch.equal(second[name], value)
