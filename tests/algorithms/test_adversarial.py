"""DomainAdversarial: DANN's and CDAN's loss, their schedule, and runs that continue and divide."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config
from helpers.toy_domains import ShiftedVectors, toy_config
from helpers.two_processes import run_on_two
from torch.nn import functional as F

from residual_ssl import evaluate, train
from residual_ssl.algorithms import DomainAdversarial
from residual_ssl.engine import training
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError
from residual_ssl.task import Batch

DANN = {"_target_": "residual_ssl.algorithms.DomainAdversarial", "hidden": 16}
MCC = {
    "_target_": "residual_ssl.algorithms.ConsistencyAlgorithm",
    "branches": {
        "confusion": {
            "_target_": "residual_ssl.algorithms.PredictionBranch",
            "weight": 1.0,
            "loss": {"_target_": "residual_ssl.losses.MinimumClassConfusion"},
        }
    },
}
METHODS: dict[str, dict[str, Any]] = {
    "dann": DANN,
    "cdan": {**DANN, "conditioned": True, "entropy_weighted": True},
    "mcc": MCC,
}


def batches() -> tuple[Batch, Batch]:
    task = ShiftedVectors()
    sets = [[data[i] for i in range(8)] for data in (task.labelled(0), task.unlabelled(0))]
    first, second = ({name: torch.stack([s[name] for s in samples]) for name in samples[0]} for samples in sets)
    return first, second


@pytest.mark.parametrize("entropy_weighted", [False, True])
def test_the_loss_is_the_published_sum(entropy_weighted: bool) -> None:
    algorithm = DomainAdversarial(0.5, conditioned=True, entropy_weighted=entropy_weighted, hidden=16)
    task = ShiftedVectors()
    model = algorithm.build_model(task)
    source, target = batches()
    output = algorithm.step(model, task, source, target)
    of_domains = []
    for inputs, is_source in ((source["input"], True), (target["input"], False)):
        logits, domain = model(inputs, 0.0)
        rows = logits.softmax(1).tolist()
        weights = [1 + math.exp(sum(p * math.log(p) for p in row)) if entropy_weighted else 1.0 for row in rows]
        chances = [d if is_source else 1 - d for d in domain.sigmoid().tolist()]
        of_domains.append(-sum(w * math.log(c) for w, c in zip(weights, chances, strict=True)) / sum(weights))
    labelled = F.cross_entropy(model.network(source["input"]), source["target"]).item()
    assert output.terms["domain"].item() == pytest.approx(sum(of_domains) / 2, rel=1e-5)
    assert output.loss.item() == pytest.approx(labelled + 0.5 * sum(of_domains) / 2, rel=1e-5)
    assert output.selection is None


def test_the_strength_rises_from_nothing_as_published() -> None:
    algorithm = DomainAdversarial()
    algorithm.on_train_start(40)
    seen = []
    for _ in range(41):
        seen.append(algorithm.strength.item())
        algorithm.after_step(torch.nn.Identity())
    assert seen == pytest.approx([2 / (1 + math.exp(-10 * t / 40)) - 1 for t in range(41)], abs=1e-6)
    assert seen[0] == 0
    algorithm.on_train_start(40)
    assert algorithm.strength == 0


def test_the_reversed_gradient_reaches_the_encoder_at_that_strength() -> None:
    algorithm, task = DomainAdversarial(hidden=16), ShiftedVectors()
    model = algorithm.build_model(task)
    found = []
    for steps in (1_000_000, 1):  # the first step of a long run, and the last one
        model.zero_grad()
        algorithm.on_train_start(steps)
        algorithm.after_step(model)
        algorithm.step(model, task, *batches()).loss.backward()
        found.append(model.network.encoder[0].weight.grad.clone())
    assert not torch.allclose(found[0], found[1], rtol=1e-2)
    model.zero_grad()
    source, _ = batches()
    task.supervised_loss(model.network(source["input"]), source["target"]).backward()
    torch.testing.assert_close(found[0], model.network.encoder[0].weight.grad, atol=1e-4, rtol=1e-3)


def test_domains_become_harder_to_tell_apart_than_without_it(tmp_path: Path) -> None:
    def gap(run: Path) -> float:
        model = ShiftedVectors().build_model()
        model.load_state_dict(torch.load(run / "best.pt", weights_only=True)["model"])
        source, target = (model.encode(batch["input"])[0].mean(0) for batch in batches())
        return (source - target).norm().item()

    long: dict[str, Any] = {"steps": 200, "evaluate_every": 200}
    train(toy_config(tmp_path / "source", {"_target_": "residual_ssl.algorithms.ConsistencyAlgorithm"}, **long))
    train(toy_config(tmp_path / "dann", DANN, **long))
    assert gap(tmp_path / "dann") < 0.5 * gap(tmp_path / "source")


@pytest.mark.parametrize("name", ["dann", "cdan"])
def test_a_run_that_was_cut_off_continues_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    whole = train(toy_config(tmp_path / "whole", METHODS[name]))
    original = training.Run._evaluate

    def cut(self: Any, log: Any) -> None:
        original(self, log)
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr(training.Run, "_evaluate", cut)
        with pytest.raises(InterruptedError):
            train(toy_config(tmp_path / "cut", METHODS[name]))
    assert torch.load(tmp_path / "cut" / "last.pt", weights_only=True)["step"] == 3
    assert train(toy_config(tmp_path / "cut", METHODS[name])).last == pytest.approx(whole.last)
    ends = [torch.load(tmp_path / run / "last.pt", weights_only=True) for run in ("whole", "cut")]
    for part in ("model", "algorithm"):
        for key, value in ends[0][part].items():
            torch.testing.assert_close(ends[1][part][key], value, msg=lambda text, key=key: f"{key}: {text}")
    assert ends[0]["algorithm"]["done"] == 6
    assert any(key.startswith("discriminator") for key in ends[0]["model"])


def test_the_classifier_alone_is_what_is_kept_and_evaluated(tmp_path: Path) -> None:
    result = train(toy_config(tmp_path, DANN))
    kept = torch.load(tmp_path / "best.pt", weights_only=True)["model"]
    assert set(kept) == set(ShiftedVectors().build_model().state_dict())
    assert evaluate(tmp_path, device="cpu") == pytest.approx(result.best)
    assert evaluate(tmp_path, checkpoint_name="last.pt", device="cpu") == pytest.approx(result.last)


@pytest.mark.parametrize("first", ["supervised", "dann"])
def test_a_run_starts_from_a_classifier_and_from_a_run_of_its_own_kind(tmp_path: Path, first: str) -> None:
    supervised = {"_target_": "residual_ssl.algorithms.ConsistencyAlgorithm"}
    train(toy_config(tmp_path / "first", DANN if first == "dann" else supervised))
    start = torch.load(tmp_path / "first" / "last.pt", weights_only=True)["model"]
    still = {"_target_": "torch.optim.SGD", "lr": 0.0}
    init_from = str(tmp_path / "first" / "last.pt")
    train(toy_config(tmp_path / "then", DANN, steps=1, init_from=init_from, optimizer=still))
    reached = torch.load(tmp_path / "then" / "last.pt", weights_only=True)["model"]
    for name, value in start.items():
        assert torch.equal(reached[name if first == "dann" else f"network.{name}"], value), name


def _train(rank: int, folder: Path) -> None:
    for name, method in METHODS.items():
        train(toy_config(folder / name, method))


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directories of each method, trained on two processes."""
    folder = tmp_path_factory.mktemp("two")
    run_on_two(_train, folder)
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_take_the_steps_of_one(tmp_path: Path, two_processes: Path, name: str) -> None:
    train(toy_config(tmp_path, METHODS[name]))
    runs = (tmp_path, two_processes / name)
    losses = [[row["train/loss"] for row in read_log(run) if "train/loss" in row] for run in runs]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)
    # Accuracy and the criteria without labels, from unequal shares of the validation set.
    figures = [torch.load(run / "last.pt", weights_only=True)["last"] for run in runs]
    assert set(figures[0]) > {"accuracy", "unsupervised_infomax", "unsupervised_density"}
    assert figures[1] == pytest.approx(figures[0], abs=1e-3)
    ends = [torch.load(run / "last.pt", weights_only=True)["model"] for run in runs]
    for key, value in ends[0].items():
        torch.testing.assert_close(
            ends[1][key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_micro_batches_take_the_steps_of_the_whole_batch(tmp_path: Path) -> None:
    for accumulate in (1, 2):
        train(toy_config(tmp_path / f"{accumulate}", DANN, accumulate=accumulate))
    ends = [torch.load(tmp_path / f"{n}" / "last.pt", weights_only=True)["model"] for n in (1, 2)]
    for key, value in ends[0].items():
        torch.testing.assert_close(ends[1][key], value, rtol=1e-4, atol=1e-5)


def test_a_segmentation_run_is_refused_before_any_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"SmallSegmenter is no ClassificationModel"):
        train(tiny_config(tmp_path, "algorithm=dann"))


def test_a_weight_that_is_not_positive_is_named() -> None:
    with pytest.raises(ConfigError, match=r"algorithm.weight: got 0, expected a positive number"):
        DomainAdversarial(weight=0)
