"""A prior: a frozen network of another library teaches, or is a second opinion; zero-shot classifiers."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from helpers.tiny_runs import tiny_digits
from torch import Tensor, nn
from torch.utils.data import default_collate

from residual_ssl import FixedThreshold, train
from residual_ssl.algorithms import ConsistencyAlgorithm, InputBranch, ZeroShot
from residual_ssl.config.components import build
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError, DataError, InvalidInputError, MissingDataError
from residual_ssl.selection import AgreementThreshold
from residual_ssl.task import Task


class Seven(nn.Module):
    """Says with certainty that everything is a seven; of ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.certainty = nn.Parameter(torch.tensor(20.0))

    def forward(self, images: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert not self.training
        assert float(images.min()) >= 0
        assert float(images.max()) <= 1
        return self.certainty * nn.functional.one_hot(torch.full((len(images),), 7), 10).float()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    made: Task = build(tiny_digits(tmp_path)["task"], "task")
    return made


def batches(task: Task) -> list[Any]:
    return [default_collate([data[i, i] for i in range(4)]) for data in (task.labelled(0), task.unlabelled(0))]


def test_it_teaches_and_is_neither_trained_nor_saved(task: Task) -> None:
    provider = Seven().train()
    algorithm = ConsistencyAlgorithm(FixedThreshold(0.9), {"strong": InputBranch(1.0)}, prior=provider)
    model = algorithm.build_model(task)
    algorithm.attach(model)
    output = algorithm.train().step(model, task, *batches(task))
    assert output.selection is not None
    assert output.selection.label.tolist() == [7] * 4
    assert output.selection.coverage == 1
    output.loss.backward()
    assert provider.certainty.grad is None
    assert not any("certainty" in name for name in algorithm.state_dict())
    assert not list(algorithm.parameters())


def test_it_is_a_second_opinion(task: Task) -> None:
    branches = {"strong": InputBranch(1.0)}
    algorithm = ConsistencyAlgorithm(AgreementThreshold(0.0), branches, prior=Seven(), prior_as="evidence")
    model = algorithm.build_model(task)
    for bias, expected in ((7, 1.0), (3, 0.0)):
        with torch.no_grad():
            model.head.bias.zero_()
            model.head.bias[bias] = 50
        output = algorithm.step(model, task, *batches(task))
        assert output.selection is not None
        assert output.selection.label.tolist() == [bias] * 4  # the student's own
        assert output.selection.coverage == expected


def test_logits_of_another_shape_are_named(task: Task) -> None:
    algorithm = ConsistencyAlgorithm(
        FixedThreshold(0.9), {"strong": InputBranch(1.0)}, prior=lambda images: torch.zeros(len(images), 3)
    )
    with pytest.raises(ConfigError, match=r"algorithm\.prior: gives logits of shape \(4, 3\), expected \(4, 10\)"):
        algorithm.step(algorithm.build_model(task), task, *batches(task))
    with pytest.raises(ConfigError, match=r"algorithm\.prior_as: got 'both'"):
        ConsistencyAlgorithm(prior_as="both")  # type: ignore[arg-type]


def test_zero_shot_logits_are_scaled_cosines(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(4, 5, generator=generator)
    features = torch.randn(2, 5, 3, 3, generator=generator)
    safetensors.torch.save_file({"embeddings": embeddings}, tmp_path / "names.safetensors")
    shown: list[Tensor] = []

    def encoder(images: Tensor) -> Tensor:
        shown.append(images)
        return features

    model = ZeroShot(encoder, tmp_path / "names.safetensors", scale=10, mean=[0.5] * 3, std=[0.25] * 3)
    logits = model(torch.ones(2, 3, 8, 8))
    assert shown[0].unique().tolist() == [2.0]
    for b, k, i, j in ((0, 0, 0, 0), (1, 3, 2, 1)):
        f, t = features[b, :, i, j], embeddings[k]
        assert logits[b, k, i, j].item() == pytest.approx((10 * f @ t / f.norm() / t.norm()).item(), rel=1e-5)


def test_embeddings_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"embeddings: got torch\.float32 of shape \(5,\)"):
        ZeroShot(nn.Identity(), torch.zeros(5))
    with pytest.raises(MissingDataError, match="is not there"):
        ZeroShot(nn.Identity(), tmp_path / "no.safetensors")
    safetensors.torch.save_file({"other": torch.zeros(2, 2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="holds no tensor of that name"):
        ZeroShot(nn.Identity(), tmp_path / "other.safetensors")


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_a_run_is_taught_by_a_zero_shot_classifier(tmp_path: Path) -> None:
    prior = {
        "_target_": "residual_ssl.algorithms.ZeroShot",
        "encoder": {"_target_": "torch.nn.Flatten"},
        "embeddings": str(tmp_path / "names.safetensors"),
    }
    config = tiny_digits(tmp_path / "run", "algorithm=fixmatch", "selector=none")
    shape = build(config["task"], "task").example().shape
    safetensors.torch.save_file(
        {"embeddings": torch.randn(10, shape.numel(), generator=torch.Generator().manual_seed(0))},
        tmp_path / "names.safetensors",
    )
    train(config | {"algorithm": config["algorithm"] | {"prior": prior}})
    rows = [row for row in read_log(tmp_path / "run") if "train/coverage" in row]
    assert [row["train/coverage"] for row in rows] == [1.0, 1.0]
