"""Few labels and a scikit-learn classifier: what do selection rules add to self-training?

    python benchmarks/estimator.py --seeds 0 1 2 3 4        # one core, two minutes

Logistic regression on data sets that come with scikit-learn and on generated texts. For each seed 30 % of the rows are
held out for testing and a few labels of each class are drawn; the other training rows are unlabelled. Everything but
the rule is the same: classifier, rows, 10 rounds. Next to the rules stand the labels alone, the truth as a rule
(oracle), and scikit-learn's own SelfTrainingClassifier, which keeps the pseudo-labels that it once made.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from recorded import command_line, save, spread, table
from sklearn import semi_supervised
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from residual_ssl import ConvexSelector, FixedThreshold, Selection, Selector, SelfTrainingClassifier
from residual_ssl.data import make_texts
from residual_ssl.runtime.provenance import provenance
from residual_ssl.selection import DistributionAlignment, OracleSelector, TrustAll


class TruthOfRows(OracleSelector):
    """The oracle of rows that are always judged in the same order."""

    evidence = ()

    def __init__(self, truth: Tensor) -> None:
        super().__init__()
        self.truth = truth

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Selection:  # type: ignore[override]
        return super().forward(logits, valid, truth=self.truth)


def texts() -> tuple[list[str], np.ndarray]:
    documents, topics = make_texts(2000, words=20, clarity=0.3)
    return documents, np.array(topics)


# Inputs and labels, what makes numbers of the inputs, labels of each class, inverse regularisation of the classifier.
DATA: dict[str, tuple[Callable[[], Any], Any, int, float]] = {
    "digits, 40 labels": (lambda: load_digits(return_X_y=True), StandardScaler(), 4, 1.0),
    "digits, 100 labels": (lambda: load_digits(return_X_y=True), StandardScaler(), 10, 1.0),
    "breast cancer, 20 labels": (lambda: load_breast_cancer(return_X_y=True), StandardScaler(), 10, 1.0),
    "wine, 15 labels": (lambda: load_wine(return_X_y=True), StandardScaler(), 5, 1.0),
    "iris, 15 labels": (lambda: load_iris(return_X_y=True), StandardScaler(), 5, 1.0),
    "generated texts, 50 labels": (texts, TfidfVectorizer(max_features=300), 10, 10.0),
    "generated texts, 50 labels, C = 1": (texts, TfidfVectorizer(max_features=300), 10, 1.0),
}
RULES: dict[str, Selector] = {
    "none": TrustAll(),
    "fixed threshold .95": FixedThreshold(0.95),
    "fixed threshold .75": FixedThreshold(0.75),
    "CSL": ConvexSelector(),
    "CoVar": ConvexSelector("covar"),
    "CSL, aligned": DistributionAlignment(ConvexSelector()),
}
LABELS, ORACLE = "labels only", "oracle"
THEIRS = {
    "scikit-learn, threshold .75": {"threshold": 0.75},
    "scikit-learn, 10 best a round": {"criterion": "k_best", "k_best": 10},
}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for data in options.data for seed in options.seeds for row in measure(data, seed, options.rounds)]
    save(options.out, "estimator", {**provenance(), "rounds": options.rounds, "rows": rows}, report(rows))
    print(report(rows))


def measure(data: str, seed: int, rounds: int) -> list[dict[str, Any]]:
    load, transform, each, C = DATA[data]
    inputs, y = load()
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed)
    X = transform.fit_transform([inputs[i] for i in train])
    held_out = transform.transform([inputs[i] for i in test])
    rng = np.random.default_rng(seed)
    few = np.full(len(train), -1)
    for k in np.unique(y):
        few[rng.permutation(np.flatnonzero(y[train] == k))[:each]] = k
    shown = few != -1
    base = LogisticRegression(C=C, max_iter=1000)
    rules = {**RULES, ORACLE: TruthOfRows(torch.from_numpy(y[train][~shown]))}
    learners = {
        LABELS: base,
        **{name: semi_supervised.SelfTrainingClassifier(base, **how) for name, how in THEIRS.items()},
        **{name: SelfTrainingClassifier(base, rule, rounds) for name, rule in rules.items()},
    }
    rows = []
    for name, learner in learners.items():
        start = time.perf_counter()
        learner.fit(*((X[shown], few[shown]) if name == LABELS else (X, few)))
        seconds = time.perf_counter() - start
        row = {"data": data, "seed": seed, "rule": name, "accuracy": 100 * learner.score(held_out, y[test])}
        rows.append({**row, "seconds": seconds, **pseudo_labels(learner, shown, y[train])})
    return rows


def pseudo_labels(learner: Any, shown: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Mean weight of the unlabelled rows in the last round, and the weighted share of right pseudo-labels."""
    if not hasattr(learner, "weight_"):
        return {}
    weight = learner.weight_[~shown]
    right = learner.transduction_[~shown] == truth[~shown]
    figures = {"coverage": 100 * float(weight.mean())}
    return figures if not weight.any() else {**figures, "purity": 100 * float((weight * right).sum() / weight.sum())}


def report(rows: list[dict[str, Any]]) -> str:
    lines = ["# Selection rules around a scikit-learn classifier", ""]
    head = ("rule", "accuracy", "to labels only", "gap closed", "coverage", "purity")
    for data in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == data]
        seeds = list(dict.fromkeys(row["seed"] for row in own))
        accuracy = {(row["rule"], row["seed"]): row["accuracy"] for row in own}
        means = {
            rule: statistics.mean(accuracy[rule, s] for s in seeds) for rule in dict.fromkeys(r for r, _ in accuracy)
        }
        gap = means[ORACLE] - means["none"]
        cells = []
        for rule in means:
            group = [row for row in own if row["rule"] == rule]
            closes = rule in (*RULES, ORACLE) and gap > 0
            cells.append(
                [
                    *(rule, spread([row["accuracy"] for row in group])),
                    spread([accuracy[rule, s] - accuracy[LABELS, s] for s in seeds], sign="+"),
                    f"{100 * (means[rule] - means['none']) / gap:.0f}" if closes else "–",
                    *(spread([row[name] for row in group if name in row]) for name in ("coverage", "purity")),
                ]
            )
        lines += [f"## {data}: {len(seeds)} seed(s)", "", *table(head, cells), ""]
    return "\n".join([*lines, NOTE, ""])


NOTE = (
    "Per cent, mean ± standard deviation over seeds, differences paired. Gap closed: (rule - none) / (oracle - none) "
    "of the means. Coverage: mean weight of the unlabelled rows "
    "in the last round; purity: weighted share of right pseudo-labels, of the seeds that have some. The classifier is "
    "logistic regression; C = 10 on the texts, as with C = 1 it is never sure of short rows, and rules that trust a "
    "share of the predictions however unsure they are let it collapse to one class, as the last table shows. 'CSL, "
    "aligned': DistributionAlignment around CSL, which draws the classes towards equal shares; they are not equal in "
    "breast cancer."
)


if __name__ == "__main__":
    main()
