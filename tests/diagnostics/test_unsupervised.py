"""Criteria without labels against their definitions, divided over batches and processes, and as a run uses them."""

import json
import math
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import Tensor

from residual_ssl import train
from residual_ssl.diagnostics import UnsupervisedCriteria, soft_neighborhood_density
from residual_ssl.diagnostics import unsupervised as module
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError, InvalidInputError

CERTAINTY, INFOMAX, DENSITY = "unsupervised_certainty", "unsupervised_infomax", "unsupervised_density"


def logits_of(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def entropy(p: list[float]) -> float:
    return -sum(v * math.log(v) for v in p if v > 0)


def by_definition(points: Tensor) -> dict[str, float]:
    p = points.double().softmax(1).tolist()
    classes, number = len(p[0]), len(p)
    mean = sum(map(entropy, p)) / number
    marginal = [sum(row[k] for row in p) / number for k in range(classes)]
    total = 0.0
    for i in range(number):
        likeness = []
        for j in range(number):
            if j != i:
                norms = math.hypot(*p[i]) * math.hypot(*p[j])
                likeness.append(math.exp(sum(a * b for a, b in zip(p[i], p[j], strict=True)) / norms / 0.05))
        total += entropy([value / sum(likeness) for value in likeness])
    return {
        CERTAINTY: 100 * (1 - mean / math.log(classes)),
        INFOMAX: 100 * (entropy(marginal) - mean) / math.log(classes),
        DENSITY: 100 * total / number / math.log(number - 1),
    }


def computed(criteria: UnsupervisedCriteria, *batches: Tensor) -> dict[str, float]:
    for logits in batches:
        criteria.update(logits, torch.zeros(len(logits)))
    return {name: value.item() for name, value in criteria.compute().items()}


def test_the_criteria_are_those_of_their_definition_in_any_batches() -> None:
    logits = logits_of(17, 5)
    expected = by_definition(logits)
    assert computed(UnsupervisedCriteria(5, density=True), logits) == pytest.approx(expected, rel=1e-5)
    assert computed(UnsupervisedCriteria(5, density=True), *logits.split(4)) == pytest.approx(expected, rel=1e-5)


def test_pixels_count_as_points_and_have_no_density() -> None:
    logits = logits_of(2, 4, 3, 5)
    expected = by_definition(logits.movedim(1, -1).flatten(0, -2))
    del expected[DENSITY]
    assert computed(UnsupervisedCriteria(4), logits) == pytest.approx(expected, rel=1e-5)


def test_the_density_does_not_depend_on_the_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    p = logits_of(23, 4).softmax(1)
    whole = soft_neighborhood_density(p)
    monkeypatch.setattr(module, "_ROWS", 5)
    torch.testing.assert_close(soft_neighborhood_density(p), whole)
    torch.testing.assert_close(soft_neighborhood_density(p[torch.randperm(23)]), whole)


def test_a_network_that_knows_one_class_alone_is_certain_and_informs_of_nothing() -> None:
    one_class = torch.tensor([[30.0, 0.0, 0.0]]).repeat(9, 1)
    all_classes = 30 * torch.eye(3).repeat(3, 1)
    collapsed, sorted_out = (computed(UnsupervisedCriteria(3), logits) for logits in (one_class, all_classes))
    assert collapsed[CERTAINTY] == pytest.approx(100, abs=1e-3)
    assert collapsed[INFOMAX] == pytest.approx(0, abs=1e-3)
    assert sorted_out[INFOMAX] == pytest.approx(100, abs=1e-3)


def test_groups_are_denser_than_scattered_predictions() -> None:
    groups = 8 * torch.eye(4).repeat(10, 1) + 0.1 * logits_of(40, 4)
    assert soft_neighborhood_density(groups.softmax(1)) > soft_neighborhood_density(logits_of(40, 4).softmax(1))


def test_points_that_are_not_finite_do_not_count() -> None:
    logits = logits_of(9, 4)
    spoilt = torch.cat([logits, torch.full((2, 4), torch.nan)])
    density = UnsupervisedCriteria(4, density=True)
    assert computed(density, spoilt) == pytest.approx(by_definition(logits), rel=1e-5)
    nothing = computed(UnsupervisedCriteria(4, density=True), torch.full((2, 4), torch.nan))
    assert nothing == {CERTAINTY: 0, INFOMAX: 0, DENSITY: 0}


def test_half_precision_is_summed_in_double() -> None:
    logits = logits_of(64, 5).bfloat16()
    assert computed(UnsupervisedCriteria(5, density=True), logits) == pytest.approx(by_definition(logits), rel=1e-4)


def test_logits_of_another_shape_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"logits: got shape \(2, 3\), expected \(B, 4, \*S\)"):
        UnsupervisedCriteria(4).update(torch.zeros(2, 3))
    with pytest.raises(InvalidInputError, match=r"logits: got shape \(2, 4, 5, 5\), expected \(B, 4\)"):
        UnsupervisedCriteria(4, density=True).update(torch.zeros(2, 4, 5, 5))


def test_a_run_keeps_the_checkpoint_that_its_criterion_chose_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["algorithm=supervised", "evaluate_every=1", "steps=5", "optimizer.lr=0.03"]
    result = train(tiny_config(tmp_path, *quick, f"task.choose_by={CERTAINTY}"))
    assert f"best checkpoint  chosen by {CERTAINTY}" in capsys.readouterr().out
    rows = [row for row in read_log(tmp_path) if "validation/miou" in row]
    assert len(rows) == 5
    by_criterion = max(rows, key=lambda row: row[f"validation/{CERTAINTY}"])
    by_label = max(rows, key=lambda row: row["validation/miou"])
    assert by_criterion["step"] != by_label["step"]  # or the test would show nothing
    assert result.best["step"] == by_criterion["step"]
    assert torch.load(tmp_path / "best.pt", weights_only=True)["step"] == by_criterion["step"]
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["effective"]["chosen_by"] == CERTAINTY
    assert record["main_metric"] == "miou"
    assert {"miou", INFOMAX, CERTAINTY} <= record["best"].keys()


def test_a_run_without_a_choice_keeps_the_checkpoint_of_its_main_metric(tmp_path: Path) -> None:
    result = train(tiny_config(tmp_path, "algorithm=supervised", "steps=1"))
    assert result.effective["chosen_by"] == "miou"


def test_a_figure_that_the_task_does_not_have_is_named_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"choose_by: got 'infomx', expected one of miou, .*{INFOMAX}"):
        train(tiny_config(tmp_path, "task.choose_by=infomx"))
