"""Open-set losses: their formulas from numbers, what they select, and that they learn to tell strangers."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_config, tiny_digits
from torch import Tensor

from residual_ssl import FixedThreshold, train
from residual_ssl.algorithms import SSB, AuxiliaryLoss, DiversifiedHeads, IOMatch, OpenMatch
from residual_ssl.algorithms.auxiliary.loss import Prediction, Seen
from residual_ssl.algorithms.open_set.diversified_heads import mutual_information, otsu_threshold
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError
from residual_ssl.selection import SharpenedThreshold, TrustAll

K = 3


def softmax(values: Sequence[float]) -> list[float]:
    total = sum(math.exp(v) for v in values)
    return [math.exp(v) / total for v in values]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def inliers(head: Sequence[float]) -> list[float]:
    """p(in | k) of 2K logits: K of "out", then K of "in"."""
    return [softmax([head[k], head[K + k]])[1] for k in range(K)]


def seen(loss: AuxiliaryLoss, channels: int, **more: object) -> Seen:
    views = tuple(Prediction(drawn(5, K, seed=10 + i), drawn(5, channels, seed=20 + i)) for i in range(len(loss.views)))
    return Seen(
        target=torch.tensor([2, -1, 0]),
        ignore_index=-1,
        labelled=Prediction(drawn(3, K, seed=1), drawn(3, channels, seed=2)),
        plain=Prediction(drawn(5, K, seed=3), drawn(5, channels, seed=4)),
        shown=views,
        valid=torch.tensor([True, True, False, True, True]),
        **more,  # type: ignore[arg-type]
    )


def well_into(loss: AuxiliaryLoss) -> AuxiliaryLoss:
    """Past the share of the run from which on all terms count."""
    loss.on_train_start(10)
    loss.done.fill_(10)
    return loss


VALID = (0, 1, 3, 4)


def entropy_and_consistency(what: Seen) -> tuple[float, float]:
    assert what.plain is not None
    plain = [inliers(what.plain.head[i].tolist()) for i in VALID]
    light = [inliers(what.shown[0].head[i].tolist()) for i in VALID]
    entropy = [-sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in row) / K for row in plain]
    apart = [sum(2 * (p - q) ** 2 for p, q in zip(a, b, strict=True)) for a, b in zip(plain, light, strict=True)]
    return sum(entropy) / 4, sum(apart) / 4


def test_openmatch_is_the_published_sum() -> None:
    loss = OpenMatch()
    what = seen(loss, 2 * K)
    rows = {i: inliers(what.labelled.head[i].tolist()) for i in (0, 2)}
    right = [
        -math.log(rows[i][y]) + max(-math.log(1 - rows[i][k]) for k in range(K) if k != y) for i, y in ((0, 2), (2, 0))
    ]
    entropy, consistency = entropy_and_consistency(what)
    found = loss.terms(what)
    assert found["detector"].item() == pytest.approx(sum(right) / 2)
    assert found["entropy"].item() == pytest.approx(entropy)
    assert found["consistency"].item() == pytest.approx(consistency)
    assert loss.weights == {"detector": 1.0, "entropy": 0.1, "consistency": 0.5}


def test_openmatch_keeps_what_the_labels_own_classifier_takes_for_an_inlier() -> None:
    loss = OpenMatch(start=0.5)
    loss.on_train_start(4)
    prediction = Prediction(drawn(6, K), drawn(6, 2 * K, seed=1))
    chosen = TrustAll()(prediction.logits)
    assert loss.select(chosen, prediction).weight.sum() == 0  # too early
    loss.done.fill_(2)
    kept = loss.select(chosen, prediction)
    expected = [inliers(h)[y] > 0.5 for h, y in zip(prediction.head.tolist(), chosen.label.tolist(), strict=True)]
    assert 0 < sum(expected) < 6
    assert kept.weight.tolist() == [float(e) for e in expected]
    assert kept.trusted.tolist() == expected
    score = loss.outlier_score(prediction)
    assert [s < 0.5 for s in score.tolist()] == expected


def test_iomatch_is_the_published_sum() -> None:
    loss = well_into(IOMatch(threshold=0.7))
    logits = drawn(5, K, seed=3)
    selection = FixedThreshold(0.6)(logits, torch.tensor([True, True, False, True, True]))
    what = seen(loss, 3 * K + 1, selection=selection)
    assert what.plain is not None
    total = 0.0
    used = []
    for i in VALID:
        p = softmax(what.plain.logits[i].tolist())
        o = inliers(what.plain.head[i, : 2 * K].tolist())
        q = [p[k] * o[k] for k in range(K)] + [sum(p[k] * (1 - o[k]) for k in range(K))]
        assert sum(q) == pytest.approx(1)
        strong = softmax(what.shown[0].head[i, 2 * K :].tolist())
        used.append(max(q) >= 0.7)
        total += used[-1] * -sum(a * math.log(b) for a, b in zip(q, strong, strict=True))
    assert 0 < sum(used) < 4
    assert loss.terms(what)["open_set"].item() == pytest.approx(total / 4, rel=1e-5)
    loss.done.zero_()
    assert loss.terms(what)["open_set"] == 0  # the first epoch is left out


def test_iomatch_keeps_inliers_by_the_targets_of_the_selection() -> None:
    loss = IOMatch()
    prediction = Prediction(drawn(8, K), drawn(8, 3 * K + 1, seed=1))
    soft = SharpenedThreshold(0.0, 0.5)(prediction.logits)
    assert soft.target is not None
    outside = [
        sum(p * (1 - o) for p, o in zip(row, inliers(head[: 2 * K]), strict=True))
        for row, head in zip(soft.target.tolist(), prediction.head.tolist(), strict=True)
    ]
    kept = loss.select(soft, prediction).weight.tolist()
    assert kept == [float(value < 0.5) for value in outside]
    assert 0 < sum(kept) < 8


def test_ssb_is_the_published_sum_and_filters_nothing() -> None:
    loss = well_into(SSB(threshold=0.2))
    what = seen(loss, 2 * K)
    assert what.plain is not None
    labelled = {i: inliers(what.labelled.head[i].tolist()) for i in (0, 2)}
    right = [
        -math.log(labelled[i][y]) + sum(-math.log(1 - labelled[i][k]) for k in range(K) if k != y) / K
        for i, y in ((0, 2), (2, 0))
    ]
    negatives = 0.0
    sure = 0
    for i in VALID:
        weak, strong = inliers(what.plain.head[i].tolist()), inliers(what.shown[1].head[i].tolist())
        for k in range(K):
            sure += weak[k] <= 0.2
            negatives += -math.log(1 - strong[k]) * (weak[k] <= 0.2)
    assert 0 < sure < 4 * K
    entropy, consistency = entropy_and_consistency(what)
    found = {name: value.item() for name, value in loss.terms(what).items()}
    assert found == pytest.approx(
        {"detector": sum(right) / 2, "negatives": negatives / 4, "entropy": entropy, "consistency": consistency}
    )
    prediction = what.plain
    chosen = TrustAll()(prediction.logits)
    assert loss.select(chosen, prediction) is chosen


def test_dac_is_the_released_sum() -> None:
    heads = 2
    loss = DiversifiedHeads(heads=heads, threshold=0.6)
    what = seen(loss, heads * K)
    assert what.plain is not None
    labelled = [
        -math.log(softmax(what.labelled.head[i, h * K : (h + 1) * K].tolist())[y])
        for i, y in ((0, 2), (2, 0))
        for h in range(heads)
    ]
    joint, agreeing = np.zeros((K, K)), 0.0
    for i in VALID:
        one, other = (softmax(what.plain.head[i, h * K : (h + 1) * K].tolist()) for h in range(heads))
        joint += np.outer(one, other) / 4
        for h, p in enumerate((one, other)):
            strong = softmax(what.shown[0].head[i, h * K : (h + 1) * K].tolist())
            agreeing += (max(p) >= 0.6) * -math.log(strong[p.index(max(p))]) / heads
    independent = np.outer(joint.sum(1), joint.sum(0))
    found = loss.terms(what)
    assert found["labelled"].item() == pytest.approx(sum(labelled) / 4)
    assert found["diversity"].item() == pytest.approx((joint * np.log(joint / independent)).sum())
    assert found["consistency"].item() == pytest.approx(agreeing / 4)


def test_dac_weighs_down_points_that_its_heads_disagree_on() -> None:
    loss = DiversifiedHeads(heads=2, window=64)
    agreed = torch.tensor([[6.0, 0.0, 0.0, 6.0, 0.0, 0.0]]).repeat(6, 1)
    apart = torch.tensor([[6.0, 0.0, 0.0, 0.0, 6.0, 0.0]]).repeat(3, 1)
    prediction = Prediction(drawn(9, K).float(), torch.cat([agreed, apart]))
    kept = loss.select(TrustAll()(prediction.logits), prediction)
    assert kept.weight[:6].tolist() == [1.0] * 6
    assert kept.weight[6:].max() < 0.01
    score = loss.outlier_score(prediction)
    assert score[6:].min() > score[:6].max()
    with pytest.raises(ConfigError, match="1 heads"):
        DiversifiedHeads(heads=1)


def test_dac_detaches_the_features() -> None:
    head = DiversifiedHeads(heads=2).make_head(4, K, torch.nn.Linear)
    features = torch.randn(2, 4, requires_grad=True)
    head(features).sum().backward()
    assert features.grad is None


def test_mutual_information_of_points_in_space_is_that_of_the_points() -> None:
    logits = drawn(2, 3, K, 4)
    flat = logits.movedim(-1, 1).flatten(0, 1)
    valid = torch.rand(2, 4, generator=torch.Generator().manual_seed(0)) > 0.3
    torch.testing.assert_close(mutual_information(logits), mutual_information(flat))
    torch.testing.assert_close(mutual_information(logits, valid), mutual_information(flat[valid.flatten()]))


@pytest.mark.parametrize("seed", range(5))
def test_otsus_threshold_leaves_the_least_variance_within_both_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.clip(np.concatenate([rng.normal(0.2, 0.1, 300), rng.normal(0.7, 0.15, 100 * (seed + 1))]), 0, 1)

    def within(limit: float) -> float:
        groups = values[values < limit], values[values >= limit]
        return float(sum(len(group) * group.var() for group in groups if len(group)))

    best = min(within(limit) for limit in np.linspace(0.01, 0.99, 400))
    where = torch.ones(len(values) + 9, dtype=torch.bool)
    where[len(values) :] = False  # what does not count
    found = otsu_threshold(torch.tensor(np.concatenate([values, np.zeros(9)])), where).item()
    assert within(found) == pytest.approx(best, rel=2e-3)


@pytest.mark.parametrize("name", ["openmatch", "iomatch", "ssb", "dac"])
@pytest.mark.parametrize("selector", [None, "csl", "softmatch"])
def test_runs_on_a_contaminated_pool_with_any_selector(tmp_path: Path, name: str, selector: str | None) -> None:
    known = "dataset.classes=['0','1','2','3','4','5']"
    choices = [f"algorithm={name}", known, "dataset.strangers=unlabelled", "split=12", "unlabelled_batch=16"]
    choices += [f"selector={selector}"] if selector else []
    train(tiny_digits(tmp_path, *choices))
    row = [row for row in read_log(tmp_path) if "train/loss" in row][-1]
    terms = [key for key in row if key.startswith(f"train/loss_{name}_")]
    assert len(terms) >= 2
    assert all(math.isfinite(row[key]) for key in terms)


@pytest.mark.parametrize("name", ["openmatch", "iomatch"])
def test_points_of_images_are_judged_each_by_itself(tmp_path: Path, name: str) -> None:
    train(tiny_config(tmp_path, f"algorithm={name}", "steps=1", "evaluate_every=1"))
    (row,) = [row for row in read_log(tmp_path) if "train/loss" in row]
    assert math.isfinite(row["train/loss"])
    assert 0 <= row["train/coverage"] <= 1
