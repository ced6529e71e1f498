"""Every rule on the same saved predictions: where it operates, and what its ranking is worth, pooled and by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import residual_ssl.configs
from residual_ssl import Selection, Selector
from residual_ssl.commands.comparison import Predictions, build_selectors
from residual_ssl.diagnostics import RankingCurve, SelectionDiagnostics, aurc
from residual_ssl.diagnostics.binned import BINS, score_bin
from residual_ssl.selection import ConstrainedConvexSelector, LearnedConvexSelector, OracleSelector, TrustAll

COVERAGES = (0.3, 0.5, 0.7, 0.9)
CONFIDENCE, NONE, ORACLE = "confidence", "none", "oracle"
# The closed form of the same program has its own row; a class that is background is needed, and these data have none.
LEFT_OUT = ("csl_cvxpylayers", "reliable_regions", "label_propagation", "pooled_propagation", "regions", "stored")
NEEDS_IMAGES = ("daformer",)
LEARNED = ("learned convex", "learned convex, second view", "constrained")
_TAUGHT = 0.01
_LEAST = 1e-3  # coverage below which a rule selects nothing: what is left is a solver's tolerance
_REJECTED, _PARTIAL, _FULL = range(3)


def rules(num_classes: int, *, images: bool) -> dict[str, Selector]:
    """All rules of configs/selector that can judge such predictions, and those that are fitted on labels first."""
    folder = Path(next(iter(residual_ssl.configs.__path__))) / "selector"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    out = (*LEFT_OUT, NONE, ORACLE, *(() if images else NEEDS_IMAGES))
    window = 5 if images else 1
    fitted = (
        LearnedConvexSelector(window=window),
        LearnedConvexSelector(window=window),
        # A class that is never predicted cannot reach a share: only an upper bound, twice that of the labels.
        ConstrainedConvexSelector(num_classes, band=1.0),
    )
    return {
        NONE: TrustAll(),
        **build_selectors([name for name in names if name not in out]),
        **dict(zip(LEARNED, fitted, strict=True)),
        ORACLE: OracleSelector(),
    }


@torch.no_grad()
def prepare(
    candidates: Mapping[str, Selector],
    pool: Predictions,
    labelled: Predictions,
    held_out: Predictions,
    *,
    batch: int,
    steps: int,
    thinning: int,
    seed: int,
) -> None:
    """Bring rules with memory to where they are in the middle of a training, and fit those that are fitted.

    Args:
        candidates: fresh rules; set to evaluation mode.
        pool, labelled: what a training step draws from, ``batch`` samples of each at random.
        held_out: predictions of samples with labels that the model was not trained on, for ``fit``.
        batch: samples of a step.
        steps: number of steps; schedules are told of twice as many.
        thinning: every how many points of an image, in each direction, a step sees.
        seed: of the draws.
    """
    few_pool, few_labelled = _thinned(pool, thinning), _thinned(labelled, thinning)
    for name, rule in candidates.items():
        if hasattr(rule, "fit"):
            known = next(held_out.batches(len(held_out.logits), torch.device("cpu")))
            views = {"second": known.second} if "second view" in name else {}
            rule.fit(known.logits, known.labels, ignore_index=held_out.ignore_index, **views)
        elif list(rule.buffers()):
            generator = torch.Generator().manual_seed(seed)
            rule.on_train_start(2 * steps)
            for _ in range(steps):
                taught = torch.randint(len(few_labelled[0]), (batch,), generator=generator)
                free = torch.randint(len(few_pool[0]), (batch,), generator=generator)
                rule.update_from_labels(few_labelled[0][taught], few_labelled[1][taught], labelled.ignore_index)
                rule(few_pool[0][free], **evidence(rule, few_pool[2][free], few_pool[1][free]))
        rule.eval()


def _thinned(predictions: Predictions, thinning: int) -> tuple[Tensor, Tensor, Tensor]:
    parts = []
    for part in predictions.batches(16, torch.device("cpu")):
        place = (..., *[slice(None, None, thinning)] * (part.labels.dim() - 1))
        second = part.logits if part.second is None else part.second
        parts.append((part.logits[place].clone(), part.labels[place].clone(), second[place].clone()))
    logits, labels, second = (torch.cat(column) for column in zip(*parts, strict=True))
    return logits, labels, second


def evidence(rule: Selector, second: Tensor | None, truth: Tensor) -> dict[str, Tensor | None]:
    """What a rule judges by beside the logits."""
    return {name: {"second": second, "truth": truth}[name] for name in rule.evidence}


class RuleFigures:
    """Figures of one rule over a stream of batches, never all in memory.

    A point ranks by weight; those of weight 1, and those of weight 0, by confidence among themselves. The groups of
    the second AURC are the images, or the batches where a sample is one point.
    """

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self.diagnostics = SelectionDiagnostics(num_classes, ignore_index)
        self.ignore_index = ignore_index
        self.points = torch.zeros(3 * BINS, dtype=torch.int64)
        # Rightly predicted points by true class and bin.
        self.taught = torch.zeros(num_classes, 3 * BINS, dtype=torch.int32)
        self.group_aurc: list[float] = []
        self.group_confidence_aurc: list[float] = []

    def update(self, chosen: Selection, truth: Tensor) -> None:
        self.diagnostics.update(chosen, truth)
        for samples in self._groups(truth):
            known = chosen.valid[samples] & (truth[samples] != self.ignore_index)
            label, weight, confidence = (
                x[samples][known] for x in (chosen.label, chosen.weight.double(), chosen.confidence.double())
            )
            right = label == truth[samples][known]
            group = torch.where(weight == 1, _FULL, torch.where(weight == 0, _REJECTED, _PARTIAL))
            score = torch.where(group == _PARTIAL, weight, confidence)
            if len(right):
                self.group_aurc.append(aurc(group + score / 2, right).item())
                self.group_confidence_aurc.append(aurc(confidence, right).item())
            place = group * BINS + score_bin(score)
            self.points.index_add_(0, place, torch.ones_like(place))
            of_right = (truth[samples][known] * 3 * BINS + place)[right]
            self.taught.view(-1).index_add_(0, of_right, torch.ones_like(of_right, dtype=torch.int32))

    @staticmethod
    def _groups(truth: Tensor) -> Iterator[slice]:
        if truth.dim() == 1:
            yield slice(None)
        else:
            yield from (slice(i, i + 1) for i in range(len(truth)))

    def classes_at(self, coverage: float) -> float:
        """Share of the true classes of which at least 1 % is among the first points with the right label."""
        counts = self.points.flip(0).double()
        before = counts.cumsum(0) - counts
        share = ((coverage * counts.sum() - before) / counts.clamp(min=1)).clamp(0, 1)
        taught = (self.taught.flip(1).double() * share).sum(1)
        present = self.diagnostics.class_truth > 0
        return ((taught >= _TAUGHT * self.diagnostics.class_truth) & present).sum().item() / present.sum().item()


@torch.no_grad()
def judge(candidates: Mapping[str, Selector], pool: Predictions, *, batch: int) -> list[dict[str, Any]]:
    """Figures of every rule, in per cent, and those of plain confidence after those of no selection."""
    figures = {name: RuleFigures(pool.num_classes, pool.ignore_index) for name in candidates}
    for part in pool.batches(batch, torch.device("cpu")):
        for name, rule in candidates.items():
            also = evidence(rule, part.second, part.labels)
            if "second view" in name:
                also = {"second": part.second}
            figures[name].update(rule(part.logits, **also), part.labels)
    plain = figures[NONE].diagnostics.compute().by_weight_and_confidence
    rows = [_row(name, found, plain) for name, found in figures.items()]
    rows.insert(1, _confidence(figures[NONE], plain))
    return rows


def _row(name: str, found: RuleFigures, plain: RankingCurve) -> dict[str, Any]:
    whole = found.diagnostics.compute()
    coverage, purity = whole.coverage.item(), whole.purity.item()
    operating = {"coverage": 100 * coverage}
    if coverage >= _LEAST:
        gap = purity - plain.purity_at(whole.coverage).item()
        operating |= {"purity": 100 * purity, "gap": 100 * gap}
    if name == NONE:  # no order at all: the confidence's has a row of its own
        error = 100 * (1 - whole.accuracy.item())
        flat = {str(c): 100 - error for c in COVERAGES}
        return {"rule": name, **operating, "aurc": error, "aurc_weight": error, "purity_at": flat}
    return {
        "rule": name,
        **operating,
        **_ranking(found, whole.by_weight_and_confidence),
        "aurc_weight": 100 * whole.by_weight.aurc.item(),
        "aurc_group": 100 * sum(found.group_aurc) / len(found.group_aurc),
    }


def _confidence(none: RuleFigures, plain: RankingCurve) -> dict[str, Any]:
    """The row of plain confidence: no selection ranks all its points, of weight 1, by it."""
    groups = none.group_confidence_aurc
    return {"rule": CONFIDENCE, **_ranking(none, plain), "aurc_group": 100 * sum(groups) / len(groups)}


def _ranking(found: RuleFigures, curve: RankingCurve) -> dict[str, Any]:
    purities = curve.purity_at(torch.tensor(COVERAGES, dtype=torch.float64)).tolist()
    return {
        "aurc": 100 * curve.aurc.item(),
        "aurc_error": 100 * curve.aurc_error.item(),
        "purity_at": {str(c): 100 * purity for c, purity in zip(COVERAGES, purities, strict=True)},
        "classes_at": {str(c): 100 * found.classes_at(c) for c in COVERAGES},
    }
