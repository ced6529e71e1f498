"""Networks that torch compiles: the same run, compiled once, with weights that any other run reads."""

from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_digits
from torch._dynamo.utils import counters

from residual_ssl import train
from residual_ssl.errors import ConfigError


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch.compiler.reset()
    counters.clear()


def test_a_compiled_run_is_the_plain_one_and_compiles_nothing_after_its_first_steps(tmp_path: Path) -> None:
    plain = train(tiny_digits(tmp_path / "plain", "algorithm=csl", "steps=6", "evaluate_every=2"))
    after = []
    for steps in (2, 6):
        torch.compiler.reset()
        compiled = ["algorithm=csl", f"steps={steps}", "evaluate_every=2", "compile=aot_eager", "schedule=cosine"]
        train(tiny_digits(tmp_path / f"compiled-{steps}", *compiled))
        after.append(counters["stats"]["unique_graphs"])
        counters.clear()
    assert after[0] == after[1] > 0
    same = train(tiny_digits(tmp_path / "same", "algorithm=csl", "steps=6", "evaluate_every=2", "compile=aot_eager"))
    assert same.last == pytest.approx(plain.last, abs=0.3)
    names = [set(torch.load(tmp_path / run / "last.pt", weights_only=True)["model"]) for run in ("plain", "same")]
    assert names[0] == names[1]
    assert same == train(tiny_digits(tmp_path / "same", "algorithm=csl", "steps=6", "evaluate_every=2"))


def test_an_unknown_backend_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"compile: got 'fast', expected one of .*inductor.*, or null"):
        train(tiny_digits(tmp_path, "compile=fast"))
    with pytest.raises(ConfigError, match="compile: got True, expected one of"):
        train(tiny_digits(tmp_path, "compile=true"))
