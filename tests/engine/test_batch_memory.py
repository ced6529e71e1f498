"""What a dry run says of memory: the batch that a budget holds, whatever batch it was measured with."""

import re
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_digits

from residual_ssl import train
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


def batch_of(text: str) -> tuple[int, int]:
    found = re.search(r"GiB hold (\d+) \+ (\d+) samples at most", text)
    assert found, text
    return int(found[1]), int(found[2])


def test_the_batch_that_a_budget_holds_does_not_depend_on_the_batch_of_the_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = []
    for batch in (4, 32):
        sizes = [f"labelled_batch={batch}", f"unlabelled_batch={3 * batch}"]
        train(tiny_digits(tmp_path, "algorithm=csl", "dry_run=true", "memory=100MiB", *sizes))
        held.append(batch_of(capsys.readouterr().out))
    assert held[0][1] == 3 * held[0][0]
    assert held[0][0] == pytest.approx(held[1][0], rel=0.1)
    assert held[0][0] > 8


def test_batches_without_a_common_divisor_are_measured_once_and_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["labelled_batch=2", "unlabelled_batch=3"]
    train(tiny_digits(tmp_path, "algorithm=csl", "dry_run=true", "memory=0.1MB", *sizes))
    printed = capsys.readouterr().out
    assert "measured at 2 + 3 and 4 + 6" in printed
    assert "hold not even 2 + 3 samples" in printed


def test_an_amount_without_unit_or_dry_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="memory: got 24, expected an amount of memory such as 24GiB"):
        train(tiny_digits(tmp_path, "memory=24", "dry_run=true"))
    with pytest.raises(ConfigError, match="memory: got '24GiB' without dry_run=true"):
        train(tiny_digits(tmp_path, "memory=24GiB"))
