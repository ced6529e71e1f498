"""Losses for wrong and biased labels: their formulas from numbers, their memory, and what reaches which head."""

import math
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config, tiny_digits
from helpers.toy_domains import toy_config
from helpers.two_processes import run_on_two
from torch import Tensor, nn

from residual_ssl import train
from residual_ssl.algorithms import DebiasedSelfTraining, EarlyLearning
from residual_ssl.algorithms.auxiliary.loss import Prediction, Seen
from residual_ssl.config.components import build
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError

NO_HEAD = torch.zeros(0)
STEP = {"_target_": "residual_ssl.algorithms.InputBranch", "weight": 1.0}
ELR = {
    "_target_": "residual_ssl.algorithms.ConsistencyAlgorithm",
    "selector": {"_target_": "residual_ssl.selection.TrustAll"},
    "branches": {"strong": STEP},
    "auxiliary": {"early_learning": {"_target_": "residual_ssl.algorithms.EarlyLearning", "momentum": 0.5}},
}


def softmax(values: list[float]) -> list[float]:
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def unlabelled(logits: Tensor, index: Tensor | None, **more: Tensor) -> Seen:
    nothing = Prediction(torch.zeros(1, logits.shape[1]), NO_HEAD)
    return Seen(torch.tensor([0]), -1, nothing, Prediction(logits, NO_HEAD), index=(None, index), **more)  # type: ignore


def test_early_learning_follows_the_published_equations_over_two_visits() -> None:
    loss = EarlyLearning(momentum=0.7)
    loss.prepare(3, 9, 6)
    assert loss.memory.shape == (6, 3)
    memory = [[0.0] * 3 for _ in range(6)]
    for visit in range(2):
        logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(visit), requires_grad=True)
        index = [4, 1]
        total = 0.0
        for row, place in zip(logits.tolist(), index, strict=True):
            p = softmax(row)
            memory[place] = [0.7 * t + 0.3 * q for t, q in zip(memory[place], p, strict=True)]
            total += math.log(1 - sum(q * t for q, t in zip(p, memory[place], strict=True))) / 2
        found = loss.terms(unlabelled(logits, torch.tensor(index)))["regularisation"]
        assert found.item() == pytest.approx(total, rel=1e-5)
        torch.testing.assert_close(loss.memory, torch.tensor(memory))
        # The gradient of log(1 - ⟨p, t⟩) with t a constant.
        (gradient,) = torch.autograd.grad(found, logits)
        p, t = torch.tensor([softmax(r) for r in logits.tolist()]), torch.tensor([memory[i] for i in index])
        inner = (p * t).sum(1, keepdim=True)
        torch.testing.assert_close(gradient, -p * (t - inner) / (1 - inner) / 2)


def test_early_learning_on_labels_remembers_the_labelled_set() -> None:
    loss = EarlyLearning(on="labelled", momentum=0.0)
    loss.prepare(2, 3, 0)
    assert not loss.needs_unlabelled
    seen = Seen(torch.tensor([1, -1]), -1, Prediction(torch.tensor([[0.0, 0.0], [9.0, 0.0]]), NO_HEAD))
    seen = Seen(seen.target, -1, seen.labelled, index=(torch.tensor([2, 0]), None))
    assert loss.terms(seen)["regularisation"].item() == pytest.approx(math.log(0.5))  # of the first point alone
    torch.testing.assert_close(loss.memory[2], torch.tensor([0.5, 0.5]))


def test_early_learning_by_a_teacher_takes_its_prediction_at_each_point() -> None:
    logits, teaching = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    found = EarlyLearning(targets="teacher").terms(unlabelled(logits, None, teaching=teaching))["regularisation"]
    rows = [values.movedim(1, 2).flatten(0, 1).tolist() for values in (logits, teaching)]
    expected = [
        math.log(1 - sum(p * t for p, t in zip(softmax(a), softmax(b), strict=True)))
        for a, b in zip(*rows, strict=True)
    ]
    assert found.item() == pytest.approx(sum(expected) / 8, rel=1e-4)


def test_early_learning_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="targets 'teacher' on 'labelled'"):
        EarlyLearning(on="labelled", targets="teacher")
    with pytest.raises(ConfigError, match="without an index"):
        EarlyLearning().terms(unlabelled(torch.zeros(2, 3), None))
    with pytest.raises(ConfigError, match=r"expected targets 'teacher', and algorithm.ema_decay"):
        EarlyLearning().terms(unlabelled(torch.zeros(2, 3, 4), torch.tensor([0, 1])))


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_memory_holds_the_samples_that_were_seen_by_all_processes(tmp_path: Path, processes: int) -> None:
    config = toy_config(tmp_path / "whole", ELR)
    train(config)
    whole = torch.load(tmp_path / "whole" / "last.pt", weights_only=True)["algorithm"]
    memory = whole["auxiliary.early_learning.memory"]
    samples = len(build(config["task"], "task").unlabelled(0))
    assert memory.shape[0] == samples
    steps, batch = config["steps"], config["unlabelled_batch"]
    assert int((memory.sum(1) > 0).sum()) == min(steps * batch, samples)
    if processes == 1:
        return
    run_on_two(_train, tmp_path)
    other = torch.load(tmp_path / "two" / "last.pt", weights_only=True)["algorithm"]
    torch.testing.assert_close(other["auxiliary.early_learning.memory"], memory, rtol=1e-4, atol=1e-5)


def _train(rank: int, folder: Path) -> None:
    train(toy_config(folder / "two", ELR))


def test_labels_that_are_wrong_are_learned_with_the_labelled_batch_alone(tmp_path: Path) -> None:
    algorithm = {
        "_target_": "residual_ssl.algorithms.ConsistencyAlgorithm",
        "auxiliary": {"elr": {"_target_": "residual_ssl.algorithms.EarlyLearning", "on": "labelled"}},
    }
    train(toy_config(tmp_path, algorithm))
    rows = [row for row in read_log(tmp_path) if "train/loss" in row]
    assert rows[0]["train/loss"] == pytest.approx(
        rows[0]["train/loss_labelled"] + 3 * rows[0]["train/loss_elr_regularisation"], rel=1e-5
    )


def test_the_worst_case_loss_is_the_released_one() -> None:
    loss = DebiasedSelfTraining(trade_off=2.0)
    drawn = [torch.randn(4, 3, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    head = [torch.cat([torch.zeros(4, 3), worst], 1) for worst in drawn[2:]]
    seen = Seen(
        torch.tensor([0, 1, -1, 2]),
        -1,
        Prediction(drawn[0], head[0]),
        Prediction(drawn[1], head[1]),
        valid=torch.tensor([True, True, True, False]),
    )
    right = [-math.log(softmax(drawn[2][i].tolist())[int(drawn[0][i].argmax())]) for i in (0, 1, 3)]
    wrong = [-math.log(1 - softmax(drawn[3][i].tolist())[int(drawn[1][i].argmax())] + 1e-6) for i in (0, 1, 2)]
    assert loss.terms(seen)["worst"].item() == pytest.approx(2 * sum(right) / 3 + sum(wrong) / 3, rel=1e-5)


def test_pseudo_labels_teach_the_pseudo_head_and_never_the_classifier(tmp_path: Path) -> None:
    config = tiny_digits(tmp_path, "algorithm=dst", "selector=none", "algorithm.auxiliary.debiased.hidden=8")
    task, algorithm = build(config["task"], "task"), build(config["algorithm"], "algorithm")
    model = algorithm.build_model(task)
    batches = [
        {name: torch.stack([s[name] for s in samples]) for name in samples[0]}
        for samples in ([task.labelled(0)[i, i] for i in range(6)], [task.unlabelled(0)[i, i] for i in range(6)])
    ]
    algorithm.on_train_start(10)
    with_labels = algorithm.step(model, task, *batches)
    selected = with_labels.loss - with_labels.terms["labelled"]
    gradients = torch.autograd.grad(
        algorithm.step(model, task, *batches).loss, list(model.parameters()), allow_unused=True
    )
    assert all(g is not None for g in gradients)
    # Without the labelled loss nothing is left for the classifier.
    algorithm.labelled_weight = 0.0
    model.zero_grad()
    algorithm.step(model, task, *batches).loss.backward()
    assert model.network.head.weight.grad is None or not model.network.head.weight.grad.any()
    assert model.heads["debiased"].pseudo[0].weight.grad.abs().sum() > 0
    assert model.heads["debiased"].worst[0].weight.grad.abs().sum() > 0
    assert selected > 0


def test_the_reversed_gradient_grows_as_released() -> None:
    loss = DebiasedSelfTraining(strength=0.1, warmup=4)
    head = loss.make_head(3, 2, nn.Linear).eval()
    for step in range(1, 4):
        loss.after_step(head)
        assert head.strength.item() == pytest.approx(0.1 * (2 / (1 + math.exp(-step / 4)) - 1), rel=1e-5)
    features = torch.ones(1, 3, requires_grad=True)
    (reversed_gradient,) = torch.autograd.grad(head(features)[:, 2:].sum(), features)
    (plain,) = torch.autograd.grad(head.worst(features).sum(), features)
    torch.testing.assert_close(reversed_gradient, -head.strength * plain)


@pytest.mark.parametrize("selector", ["csl", "flexmatch"])
@pytest.mark.parametrize("name", ["dst", "early_learning_teacher", "trimmed"])
def test_runs_on_images_with_any_selector(tmp_path: Path, name: str, selector: str) -> None:
    small = ["algorithm.auxiliary.debiased.hidden=16"] if name == "dst" else []
    train(tiny_config(tmp_path, f"algorithm={name}", f"selector={selector}", "steps=1", "evaluate_every=1", *small))
    (row,) = [row for row in read_log(tmp_path) if "train/loss" in row]
    assert math.isfinite(row["train/loss"])
