"""IOMatch: unlabelled samples of known and of unknown classes are learned from together, by open-set targets."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss, Prediction, Seen, mean_over
from residual_ssl.algorithms.auxiliary.network import PointLayer
from residual_ssl.algorithms.open_set.one_vs_all import one_vs_all, one_vs_all_loss, outlier_probability
from residual_ssl.runtime.arguments import Count, NotNegative, Share, checked
from residual_ssl.selection import Selection


class IOMatch(AuxiliaryLoss):
    """A multi-binary and an open-set classifier on projected features, and targets over K + 1 classes from both.

    With the closed-set probabilities p of the plain view (a selection's soft targets where it has some) and the
    probability o_k of the multi-binary classifier that it is of class k::

        q_k = p_k · o_k for the K classes,    q_{K+1} = Σ_k p_k · (1 - o_k)

    The open-set classifier learns q on the strong view, where ``max q ≥ threshold``. A pseudo-label of the closed-set
    classifier weighs only where the sample is rather an inlier, ``Σ_k p_k (1 - o_k) < ½``; which of these weigh, the
    selector says: a threshold of .95 as published.

    Args:
        detector: weight λ_mb of the multi-binary classifier's loss on labelled samples; 1 as published.
        open_set: weight λ_op of the open-set classifier's; 1 as published.
        threshold: τ_q in [0, 1]; .5 as published.
        projected: width of the projected features; 128 as published.
        start: share of the run from which on the open-set classifier learns; the first of 256 epochs is left out.

    Source: Li et al., IOMatch, arXiv 2308.13168, §3, eq. 4 to 8, with the hardest other class alone in the
    multi-binary loss as in the release. Its strong view is drawn apart from the branches'.
    """

    views = ("strong",)

    @checked
    def __init__(
        self,
        detector: NotNegative = 1.0,
        open_set: NotNegative = 1.0,
        threshold: Share = 0.5,
        projected: Count = 128,
        start: Share = 1 / 256,
    ) -> None:
        super().__init__(detector=detector, open_set=open_set)
        self.threshold = threshold
        self.projected = projected
        self.start = start

    def make_head(self, width: int, num_classes: int, layer: PointLayer) -> nn.Module:
        projection = nn.Sequential(layer(width, width), nn.ReLU(), layer(width, self.projected))
        classifiers = layer(self.projected, 3 * num_classes + 1)
        nn.init.xavier_normal_(classifiers.weight)  # type: ignore[arg-type]
        nn.init.zeros_(classifiers.bias)  # type: ignore[arg-type]
        return nn.Sequential(projection, classifiers)

    def select(self, selection: Selection, prediction: Prediction) -> Selection:
        binary, _ = _parts(prediction)
        inlier = outlier_probability(binary, _closed(selection, prediction)) < 0.5
        return replace(selection, weight=selection.weight * inlier, trusted=selection.trusted & inlier)

    def terms(self, seen: Seen) -> dict[str, Tensor]:
        assert seen.plain is not None
        assert seen.selection is not None
        with torch.no_grad():
            target = open_set_target(_closed(seen.selection, seen.plain), _parts(seen.plain)[0])
            used = (target.amax(1) >= self.threshold) & (self.progress >= self.start)
        shown = _parts(seen.shown[0])[1]
        loss = F.cross_entropy(shown.float() if shown.itemsize < 4 else shown, target.to(target), reduction="none")
        return {
            "detector": one_vs_all_loss(_parts(seen.labelled)[0], seen.target, seen.ignore_index),
            "open_set": mean_over(loss * used, seen.selection.valid),
        }

    def outlier_score(self, prediction: Prediction) -> Tensor:
        return _parts(prediction)[1].softmax(1)[:, -1]


def open_set_target(closed: Tensor, binary: Tensor) -> Tensor:
    """Probabilities over the K classes and the outliers, ``(B, K + 1, *S)``, which sum to 1.

    Args:
        closed: closed-set probabilities p ``(B, K, *S)``.
        binary: output of the multi-binary classifier ``(B, 2K, *S)``.

    Example:
        >>> open_set_target(torch.tensor([[0.75, 0.25]]), torch.zeros(1, 4))
        tensor([[0.3750, 0.1250, 0.5000]])
    """
    outside, inside = one_vs_all(binary)
    return torch.cat([closed * inside.exp(), (closed * outside.exp()).sum(1, keepdim=True)], dim=1)


def _parts(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """Outputs of the multi-binary ``(B, 2K, *S)`` and of the open-set classifier ``(B, K + 1, *S)``."""
    classes = prediction.logits.shape[1]
    binary, open_set = torch.split(prediction.head, [2 * classes, classes + 1], dim=1)
    return binary, open_set


def _closed(selection: Selection, prediction: Prediction) -> Tensor:
    return prediction.logits.detach().float().softmax(1) if selection.target is None else selection.target
