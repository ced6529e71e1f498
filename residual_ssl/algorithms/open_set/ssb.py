"""SSB: outliers are used: as confident pseudo-labels by the classifier, as confident negatives by a detector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss, Prediction, Seen, mean_over
from residual_ssl.algorithms.auxiliary.network import PointLayer
from residual_ssl.algorithms.open_set.one_vs_all import (
    one_vs_all,
    one_vs_all_entropy,
    outlier_probability,
    soft_consistency,
)
from residual_ssl.runtime.arguments import Count, NotNegative, Share, checked


class SSB(AuxiliaryLoss):
    """One-vs-all classifiers behind hidden layers, taught by their own confident negatives; they filter nothing.

    Pseudo-labels are used where the selector trusts them, of inliers and of outliers: confident ones are a help even
    where they are of no known class. With the labelled target y and both views of :class:`OpenMatch` ::

        L_detector = mean (-log p(in | y)) + mean_{k≠y} (-log p(out | k))
        L_negatives = mean_points Σ_k 1[p(in | k) ≤ θ on the plain view] · -log p(out | k)    on the strong view

    and the entropy and the soft consistency of OpenMatch. There are negatives from ``start`` on.

    Args:
        detector: weight of L_detector; 1 as published. Its mean over classes counts y, with 0, as released.
        negatives: weight of L_negatives; 1 as published.
        entropy, consistency: weights as of :class:`OpenMatch`; .1 and .5 as published.
        threshold: θ in [0, 1]; .01 as published.
        hidden: width of the detector's two hidden layers; 1,024 as released.
        start: share of the run from which on there are negatives; 475 of 512 epochs as published.

    Source: Fan et al., SSB, arXiv 2311.10572, §3, and its release. There the classifier has hidden layers of its own
    too, and labelled negatives are seen strongly augmented as well.
    """

    views = ("light", "strong")

    @checked
    def __init__(
        self,
        detector: NotNegative = 1.0,
        negatives: NotNegative = 1.0,
        entropy: NotNegative = 0.1,
        consistency: NotNegative = 0.5,
        threshold: Share = 0.01,
        hidden: Count = 1024,
        start: Share = 475 / 512,
    ) -> None:
        super().__init__(detector=detector, negatives=negatives, entropy=entropy, consistency=consistency)
        self.threshold = threshold
        self.hidden = hidden
        self.start = start

    def make_head(self, width: int, num_classes: int, layer: PointLayer) -> nn.Module:
        hidden = [layer(width, self.hidden), nn.ReLU(), layer(self.hidden, self.hidden), nn.ReLU()]
        return nn.Sequential(*hidden, layer(self.hidden, 2 * num_classes))

    def terms(self, seen: Seen) -> dict[str, Tensor]:
        assert seen.plain is not None
        light, strong = seen.shown
        with torch.no_grad():
            sure = (one_vs_all(seen.plain.head).inlier.exp() <= self.threshold) & (self.progress >= self.start)
        negatives = -(one_vs_all(strong.head).outlier * sure).sum(1)
        return {
            "detector": _detector_loss(seen.labelled.head, seen.target, seen.ignore_index),
            "negatives": mean_over(negatives, seen.valid),
            "entropy": one_vs_all_entropy(seen.plain.head, seen.valid),
            "consistency": soft_consistency(seen.plain.head, light.head, seen.valid),
        }

    def outlier_score(self, prediction: Prediction) -> Tensor:
        certain = F.one_hot(prediction.logits.argmax(1), prediction.logits.shape[1]).movedim(-1, 1)
        return outlier_probability(prediction.head, certain)


def _detector_loss(output: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    found = one_vs_all(output)
    known = target != ignore_index
    own = target.where(known, 0).unsqueeze(1)
    positive = -found.inlier.gather(1, own).squeeze(1)
    negative = -found.outlier.scatter(1, own, 0.0).mean(1)
    return mean_over(positive + negative, known)
