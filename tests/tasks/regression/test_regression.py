"""Regression with a predicted variance, from rows to predictions."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from residual_ssl import ConvexSelector, compose, load, train
from residual_ssl.config.components import build
from residual_ssl.data import Bins
from residual_ssl.errors import ConfigError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models import EncoderDecoder, gaussian_logits
from residual_ssl.selection import FixedThreshold
from residual_ssl.task import Task
from residual_ssl.testing import TaskContract

SHORT = ["device=cpu", "steps=4", "warmup_steps=0", "labelled_batch=8", "unlabelled_batch=16", "evaluate_every=4"]


def tiny(run_dir: Path, *overrides: str) -> dict[str, Any]:
    return compose(["experiment=regression", f"run_dir={run_dir}", *SHORT, *overrides])


class TestRegression(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = build(tiny(tmp_path)["task"], "task")
        return made

    @pytest.mark.skip("rows have no weak augmentation")
    def test_a_sample_follows_from_seed_index_and_draw(self) -> None: ...  # type: ignore[override]


def test_the_loss_is_the_heteroscedastic_gaussian_one(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    bins = Bins(-5.0, 5.0, 400)
    mean, log_variance = torch.randn(200, generator=generator), torch.randn(200, generator=generator) - 1
    ids = torch.randint(100, 300, (200,), generator=generator)
    centres = torch.tensor(bins.centres)
    logits = gaussian_logits(mean, log_variance, centres)
    expected = torch.nn.functional.gaussian_nll_loss(mean, centres[ids], log_variance.exp(), full=True)
    loss = build(tiny(tmp_path)["task"], "task").supervised_loss(logits, ids) + math.log(bins.width)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)
    # Of Gaussians well within the range the shares sum to 1, and the cross-entropy to a pseudo-label is the same.
    taught = labelled_cross_entropy(logits, ids, -100) + math.log(bins.width)
    torch.testing.assert_close(taught, expected, atol=2e-3, rtol=1e-3)


def test_confidence_falls_as_the_predicted_variance_grows() -> None:
    centres = torch.tensor(Bins(0.0, 10.0, 50).centres)
    logits = gaussian_logits(torch.full((40,), 4.1), torch.linspace(-4, 3, 40), centres)
    chosen = FixedThreshold(0.1)(logits)
    assert (chosen.confidence.diff() < 0).all()
    assert (chosen.label == 20).all()
    assert (chosen.weight.diff() <= 0).all()
    assert chosen.weight[0] > chosen.weight[-1]
    # CSL trusts low dispersion too, which a Gaussian has where it is as wide as the range.
    assert ConvexSelector()(logits).trusted[[0, -1]].all()
    assert gaussian_logits(torch.tensor([1e4]), torch.tensor([-14.0]), centres).isfinite().all()


@pytest.mark.parametrize(
    "choice", ["algorithm=csl", "algorithm=fixmatch selector=top_fraction", "algorithm=mean_teacher"]
)
@pytest.mark.filterwarnings("error::residual_ssl.errors.ResidualSSLWarning")
def test_it_trains_with_any_algorithm_and_no_warning_of_empty_bins(choice: str, tmp_path: Path) -> None:
    result = train(tiny(tmp_path / "run", *choice.split()))
    assert result.last["nll"] == -result.last["negative_nll"] > 0
    found = load(tmp_path / "run").predict(torch.zeros(1, 10))
    assert list(found.row) == ["label", "confidence", "trust", "deviation"]
    assert -60 < float(found.names) < 430
    assert found.row["deviation"] > 0


def test_errors_are_those_of_the_definitions(tmp_path: Path) -> None:
    task = build(tiny(tmp_path)["task"], "task")
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(50, 98, generator=generator), torch.randint(0, 98, (50,), generator=generator)
    target[:5] = task.ignore_index
    metric = task.metric()
    metric.update(logits, target)
    found = task.summary(metric.compute())
    centres = torch.tensor(task.bins.centres, dtype=torch.float64)
    predicted, value = centres[logits.argmax(1)[5:]], centres[target[5:]]
    assert found["rmse"] == pytest.approx((predicted - value).square().mean().sqrt().item())
    shares = logits.double()[5:].gather(1, target[5:, None])
    assert found["nll"] == pytest.approx(-(shares - math.log(task.bins.width)).mean().item())
    assert found["r2"] == 0
    half = torch.nn.functional.one_hot((target.clamp(min=0) + 3).clamp(max=97), 98).float()
    metric = task.metric()
    metric.update(half, target)
    predicted = centres[half.argmax(1)[5:]]
    expected = 1 - (predicted - value).square().sum() / (value - value.mean()).square().sum()
    assert task.summary(metric.compute())["r2"] == pytest.approx(100 * expected.item())


def test_a_linear_relation_is_learned_from_a_table_with_empty_cells(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(120, 2, generator=generator)
    values = 50 + 10 * rows[:, 0] - 5 * rows[:, 1] + torch.randn(120, generator=generator)
    lines = [f"{a:.4f},{b:.4f},{v:.3f}" for (a, b), v in zip(rows.tolist(), values.tolist(), strict=True)]
    lines[3] = ",".join([*lines[3].split(",")[:2], ""])
    (tmp_path / "train.csv").write_text("\n".join(["a,b,value", *lines[:90]]) + "\n")
    (tmp_path / "val.csv").write_text("\n".join(["a,b,value", *lines[90:]]) + "\n")
    files = f"dataset.data_files={{train: {tmp_path / 'train.csv'}, validation: {tmp_path / 'val.csv'}}}"
    data = ["dataset=value_table", files, "dataset.columns=[a,b]", "dataset.num_features=2", "dataset.split=40"]
    data += ["dataset.bins.low=0", "dataset.bins.high=100", "model.hidden=[]", "optimizer.lr=0.05"]
    data += ["algorithm=supervised"]
    config = compose([*data, *SHORT, "steps=150", "evaluate_every=150", f"run_dir={tmp_path / 'run'}"])
    source = build(config["task"]["source"], "source")()
    assert [len(part) for part in (source.labelled, source.unlabelled, source.validation)] == [40, 50, 30]
    assert source.unlabelled.labels.count(None) == 1
    assert train(config).last["r2"] > 80
    with pytest.raises(ConfigError, match=r"labelled: got 90, expected a number of rows in 1 … 89, or all"):
        build(compose([*data, "dataset.split=90"])["task"]["source"], "source")()
    with pytest.raises(ConfigError, match=r"columns: c not in dataset 'csv'"):
        build(compose([*data, "dataset.columns=[a,c]"])["task"]["source"], "source")()


def test_wrong_bins_are_named() -> None:
    with pytest.raises(ConfigError, match=r"low, high: got 3\.0 and 1\.0"):
        Bins(3.0, 1.0, 10)
    with pytest.raises(ConfigError, match="count: got 2"):
        Bins(0.0, 1.0, 2)


def test_the_network_stays_one_whose_features_can_be_perturbed(tmp_path: Path) -> None:
    model = build(tiny(tmp_path)["task"], "task").build_model()
    assert isinstance(model, EncoderDecoder)
    assert model(torch.randn(3, 1, 10), torch.nn.Dropout(0.5), 1).shape == (5, 98)
