"""OpenMatch: one-vs-all classifiers that tell which unlabelled samples are of the known classes."""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss, Prediction, Seen
from residual_ssl.algorithms.auxiliary.network import PointLayer
from residual_ssl.algorithms.open_set.one_vs_all import (
    one_vs_all_entropy,
    one_vs_all_loss,
    outlier_probability,
    soft_consistency,
)
from residual_ssl.runtime.arguments import NotNegative, Share, checked
from residual_ssl.selection import Selection


class OpenMatch(AuxiliaryLoss):
    """Outlier detection by one-vs-all classifiers on the features, which keeps outliers out of the selection.

    The detector is a linear layer. It learns from labels, from a low entropy of its own answers on unlabelled samples,
    and by giving the same answers on two views, softly. What its classifier of the pseudo-label calls an outlier,
    ``p(out | y) ≥ ½``, weighs nothing; before ``start`` nothing weighs.

    Args:
        detector: weight of :func:`one_vs_all_loss`; 1 as published.
        entropy: weight λ_em of :func:`one_vs_all_entropy`; .1 as published.
        consistency: weight λ_oc of :func:`soft_consistency` between the plain and the light view; .5 as published for
            CIFAR-10 and ImageNet-30, 1 for CIFAR-100.
        start: share of the run from which on pseudo-labels are used; 10 of 512 epochs as published.

    Source: Saito et al., OpenMatch, arXiv 2105.14148, §3. Weakly augmented twice there; here the second view is the
    task's ``"light"`` one. The release sorts out the pool once an epoch; here each batch is sorted as it comes.
    """

    views = ("light",)

    @checked
    def __init__(
        self,
        detector: NotNegative = 1.0,
        entropy: NotNegative = 0.1,
        consistency: NotNegative = 0.5,
        start: Share = 0.02,
    ) -> None:
        super().__init__(detector=detector, entropy=entropy, consistency=consistency)
        self.start = start

    def make_head(self, width: int, num_classes: int, layer: PointLayer) -> nn.Module:
        return layer(width, 2 * num_classes)

    def select(self, selection: Selection, prediction: Prediction) -> Selection:
        inlier = _of_label(prediction, selection.label) < 0.5
        used = inlier & (self.progress >= self.start)
        return replace(selection, weight=selection.weight * used, trusted=selection.trusted & used)

    def terms(self, seen: Seen) -> dict[str, Tensor]:
        assert seen.plain is not None
        (light,) = seen.shown
        return {
            "detector": one_vs_all_loss(seen.labelled.head, seen.target, seen.ignore_index),
            "entropy": one_vs_all_entropy(seen.plain.head, seen.valid),
            "consistency": soft_consistency(seen.plain.head, light.head, seen.valid),
        }

    def outlier_score(self, prediction: Prediction) -> Tensor:
        return _of_label(prediction, prediction.logits.argmax(1))


def _of_label(prediction: Prediction, label: Tensor) -> Tensor:
    """Outlier probability of the classifier of each point's label."""
    certain = F.one_hot(label, prediction.logits.shape[1]).movedim(-1, 1)
    return outlier_probability(prediction.head, certain)
