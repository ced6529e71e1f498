"""What a dry run says of memory: the batch that a budget holds, whatever batch it was measured with."""

import re
from itertools import repeat
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_digits

from residual_ssl import train
from residual_ssl.config.settings import Settings
from residual_ssl.engine.batch_memory import held_bytes
from residual_ssl.engine.setup.prepared import prepare
from residual_ssl.engine.setup.unreadable import SkippedSamples
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.peak_memory import peak_bytes


def test_the_peak_is_that_of_tensors_alive_together() -> None:
    def use() -> None:
        for _ in range(3):
            first = torch.zeros(1000, 1000)
            second = first + 1
            del first, second
        torch.zeros(500)

    assert peak_bytes(use, torch.device("cpu")) == pytest.approx(2 * 4 * 1000 * 1000, abs=100)  # and a scalar


def held_by(folder: Path, capsys: pytest.CaptureFixture[str], *settings: str) -> tuple[int, int]:
    train(tiny_digits(folder, "algorithm=csl", "dry_run=true", *settings))
    text = capsys.readouterr().out
    found = re.search(r"GiB hold (\d+) \+ (\d+) samples", text)
    assert found, text
    return int(found[1]), int(found[2])


def test_a_step_with_the_batch_that_is_said_takes_the_budget_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = held_by(tmp_path, capsys, "memory=60MiB", "labelled_batch=8", "unlabelled_batch=24")
    assert other == 3 * one
    sizes = [f"labelled_batch={one}", f"unlabelled_batch={other}"]
    run = prepare(Settings.from_config(tiny_digits(tmp_path, "algorithm=csl", *sizes)))
    labelled, unlabelled = run.batches(0, SkippedSamples())
    assert unlabelled is not None
    run.take_step(0, labelled, unlabelled)  # makes the optimizer's state
    batches = repeat(next(labelled)), repeat(next(unlabelled))
    taken = held_bytes(run) + peak_bytes(lambda: run.take_step(1, *batches), torch.device("cpu"))
    assert 0.9 * 60 * 2**20 < taken <= 60 * 2**20


def test_all_micro_batches_make_the_batch_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["memory=20MiB", "labelled_batch=8", "unlabelled_batch=8"]
    whole, halves = (held_by(tmp_path, capsys, *sizes, f"accumulate={parts}")[0] for parts in (1, 2))
    assert 1.5 * whole < halves < 2.1 * whole  # the gradients of the first stay while the second is computed


def test_what_is_too_small_for_the_proportion_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["labelled_batch=2", "unlabelled_batch=3"]
    train(tiny_digits(tmp_path, "algorithm=csl", "dry_run=true", "memory=0.1MB", *sizes))
    assert "hold not even 2 + 3 samples; make the crop smaller" in capsys.readouterr().out
    train(tiny_digits(tmp_path, "algorithm=csl", "dry_run=true", "memory=0.4MB"))
    assert re.search(r"hold [1-7] \+ [1-7] samples; measure again with that batch", capsys.readouterr().out)


def test_an_amount_without_unit_or_dry_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="memory: got 24, expected an amount of memory such as 24GiB"):
        train(tiny_digits(tmp_path, "memory=24", "dry_run=true"))
    with pytest.raises(ConfigError, match="memory: got '24GiB' without dry_run=true"):
        train(tiny_digits(tmp_path, "memory=24GiB"))
