"""Runs of every algorithm: what is evaluated, predicted and reported is the network that the run evaluated."""

import json
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config, tiny_digits
from PIL import Image
from torch import Tensor
from torch.utils.data import default_collate

import residual_ssl.configs
from residual_ssl import Selection, evaluate, predict, train
from residual_ssl.algorithms import Branch, ConsistencyAlgorithm, InputBranch, StepOutput
from residual_ssl.commands.report import write_report
from residual_ssl.config.components import build
from residual_ssl.selection import TrustAll
from residual_ssl.task import Batch, Task

ALGORITHMS = sorted(
    path.stem for path in (Path(next(iter(residual_ssl.configs.__path__))) / "algorithm").glob("*.yaml")
)
OF_CLASSIFIERS = ("cdan", "dann", "early_learning", "mcc", "mic_classification")
# One of each class of algorithm and of each kind of teacher; the others are in the long tier.
FAST = ("cps", "dann", "mean_teacher")


def cases() -> list[object]:
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in ALGORITHMS]


@pytest.mark.parametrize("name", cases())
@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_a_run_is_evaluated_predicted_with_and_reported(name: str, tmp_path: Path) -> None:
    made = tiny_digits if name in OF_CLASSIFIERS else tiny_config
    start = []
    if name == "source_free":
        train(tiny_config(tmp_path / "source", "algorithm=supervised", "steps=2", "evaluate_every=2"))
        start = [f"init_from={tmp_path / 'source' / 'last.pt'}"]
    train(made(tmp_path / "run", f"algorithm={name}", "steps=4", "evaluate_every=4", "warmup_steps=0", *start))
    results = sorted((tmp_path / "run").rglob("result.json"), key=lambda path: path.stat().st_mtime)
    run = results[-1].parent  # of the last stage, where there are several
    recorded = json.loads(results[-1].read_text())

    metric = recorded["main_metric"]
    assert evaluate(run, checkpoint_name="last.pt")[metric] == pytest.approx(recorded["last"][metric], abs=1e-4)

    pixels = torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(pixels.numpy()).save(tmp_path / "image.png")
    assert predict(run, tmp_path / "image.png", tmp_path / "predictions")

    write_report([run], tmp_path / "report.html")
    assert "</html>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_algorithm_takes_a_branch_of_ones_own() -> None:
    """A new kind of branch is one class: here a penalty of flipped views that disagree, of a weight of its own."""

    class Flipped(Branch):
        def shown(self, task: Task, inputs: Tensor, selection: Selection, labelled: Batch) -> tuple[Tensor, Selection]:
            return task.view(inputs, "plain").flip(-1), selection.map(lambda points: points.flip(-1))

        def term(self, logits: Tensor, selection: Selection | None, valid: Tensor | None) -> Tensor:
            assert selection is not None
            return (logits.argmax(1) != selection.label).float().mean() + 0 * logits.sum()

    task = build(tiny_config(Path("unused"))["task"], "task")
    model = task.build_model()
    batch = default_collate([task.unlabelled(0)[index, index] for index in range(3)])
    labelled = default_collate([task.labelled(0)[index, index] for index in range(2)])

    def stepped(**more: Branch) -> StepOutput:
        torch.manual_seed(0)
        algorithm = ConsistencyAlgorithm(TrustAll(), {"strong": InputBranch(0.5, view="plain"), **more})
        return algorithm.step(model.eval(), task, labelled, batch)

    without, with_branch = stepped(), stepped(flipped=Flipped(2.0))
    flipped = with_branch.terms["flipped"]
    assert 0 < flipped < 1
    torch.testing.assert_close(with_branch.loss, without.loss + 2 * flipped)
