"""DAC: heads that are made to differ agree on known classes alone, and where they disagree there is an outlier."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss, Prediction, Seen, mean_over
from residual_ssl.algorithms.auxiliary.network import PointLayer
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.arguments import Count, NotNegative, Share, checked
from residual_ssl.runtime.global_batch import sum_over_processes
from residual_ssl.selection import Selection
from residual_ssl.selection.points.past_points import PastPoints

_TINY = 1e-8
_BINS = 256


class DiversifiedHeads(AuxiliaryLoss):
    """DAC: H classifiers on detached features, whose disagreement weighs the pseudo-labels.

    With ``p_h`` the probabilities of head h on the plain view, and means over the heads, their pairs, and classes::

        L_labelled = mean_h CE(p_h, y)
        L_diversity = mean_{h<g} I(p_h; p_g),    the mutual information over the batch
        L_consistency = mean over points and h of 1[max p_h ≥ threshold] · CE(p_h(strong view), argmax p_h)
        d = exp(-mean_{h,g,k} |p_hk - p_gk|),    o = max_k mean_h p_hk
        j = d̂ · ô,    ^ scaled to [0, 1] by the least and the largest,    w = min(j / Otsu(j), 1)

    w multiplies the weights of the selection. Least, largest and Otsu's threshold are those of the last points seen, of
    all processes.

    Args:
        labelled, diversity, consistency: weights of the losses; 1 each as released.
        heads: H ≥ 2; 10 as released.
        projected: width of the projected features; 128 as released.
        threshold: of the heads' own pseudo-labels, in [0, 1]; .95 as released.
        window: number of past points.

    Source: Kong et al., Diversify and Conquer, arXiv 2505.24443, §3, and its release, from which the formulas are.
    There the scores of every sample are kept and averaged over epochs (.9), and similarities to a memory of features
    are distilled; here neither.
    """

    views = ("strong",)

    @checked
    def __init__(
        self,
        labelled: NotNegative = 1.0,
        diversity: NotNegative = 1.0,
        consistency: NotNegative = 1.0,
        heads: Count = 10,
        projected: Count = 128,
        threshold: Share = 0.95,
        window: Count = 8192,
    ) -> None:
        super().__init__(labelled=labelled, diversity=diversity, consistency=consistency)
        if heads < 2:
            raise ConfigError(f"DiversifiedHeads: got {heads} heads, expected at least 2, which can disagree")
        self.heads = heads
        self.projected = projected
        self.threshold = threshold
        self.past = PastPoints(window, agreement=torch.float32, confidence=torch.float32)

    def make_head(self, width: int, num_classes: int, layer: PointLayer) -> nn.Module:
        projection = nn.Sequential(layer(width, width), nn.ReLU(), layer(width, self.projected))
        classifiers = layer(self.projected, self.heads * num_classes)
        nn.init.xavier_normal_(classifiers.weight)  # type: ignore[arg-type]
        nn.init.zeros_(classifiers.bias)  # type: ignore[arg-type]
        return nn.Sequential(_Detached(), projection, classifiers)

    def select(self, selection: Selection, prediction: Prediction) -> Selection:
        agreement, confidence = self._scores(prediction)
        if self.training:
            self.past.add(selection.valid.flatten(), agreement=agreement.flatten(), confidence=confidence.flatten())
        past = self._joint(self.past.column("agreement")[0], self.past.column("confidence")[0])
        limit = otsu_threshold(past, self.past.filled).clamp(min=_TINY)
        share = (self._joint(agreement, confidence) / limit).clamp(max=1).to(selection.weight)
        return replace(selection, weight=selection.weight * share, trusted=selection.trusted & (share == 1))

    def terms(self, seen: Seen) -> dict[str, Tensor]:
        assert seen.plain is not None
        labelled, plain, strong = (self._logits(one) for one in (seen.labelled, seen.plain, *seen.shown))
        of_heads = seen.target.unsqueeze(1).expand(-1, self.heads, *seen.target.shape[1:])
        right = F.cross_entropy(labelled.movedim(2, 1), of_heads, ignore_index=seen.ignore_index, reduction="none")
        confidence, label = plain.detach().softmax(2).max(2)
        agreeing = F.cross_entropy(strong.movedim(2, 1), label, reduction="none") * (confidence >= self.threshold)
        return {
            "labelled": mean_over(right.mean(1), seen.target != seen.ignore_index),
            "diversity": mutual_information(plain, seen.valid),
            "consistency": mean_over(agreeing.mean(1), seen.valid),
        }

    def outlier_score(self, prediction: Prediction) -> Tensor:
        return -self._joint(*self._scores(prediction))

    def _logits(self, prediction: Prediction) -> Tensor:
        """Logits of the heads, ``(B, H, K, *S)``."""
        wide = prediction.head.float() if prediction.head.itemsize < 4 else prediction.head
        return rearrange(wide, "b (h k) ... -> b h k ...", h=self.heads)

    @torch.no_grad()
    def _scores(self, prediction: Prediction) -> tuple[Tensor, Tensor]:
        p = self._logits(prediction).softmax(2)
        apart = torch.stack([(p - p[:, head : head + 1]).abs().mean((1, 2)) for head in range(self.heads)])
        return (-apart.mean(0)).exp(), p.mean(1).amax(1)

    def _joint(self, agreement: Tensor, confidence: Tensor) -> Tensor:
        """Product of both scores, each scaled to [0, 1] by the least and the largest of the past."""
        product = torch.ones_like(agreement)
        for name, values in (("agreement", agreement), ("confidence", confidence)):
            seen = self.past.column(name)[0]
            least = seen.where(self.past.filled, torch.inf).amin()
            largest = seen.where(self.past.filled, -torch.inf).amax()
            product = product * ((values - least) / (largest - least + _TINY)).nan_to_num(0.0).clamp(0, 1)
        return product


def mutual_information(logits: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean mutual information of pairs of heads over the points of a batch, of all processes: a scalar ≥ 0.

    ``I(h; g) = Σ_{kl} P_kl log (P_kl / (P_k P_l))`` with P the mean over the points of ``p_hk · p_gl``: 0 where what
    one head predicts says nothing of what the other does.

    Args:
        logits: ``(B, H, K, *S)``, H ≥ 2.
        valid: bool ``(B, *S)``; None for all.

    Example:
        >>> same = torch.tensor([[[50.0, 0.0], [50.0, 0.0]], [[0.0, 50.0], [0.0, 50.0]]])
        >>> print(f"{mutual_information(same):.4f} {mutual_information(0 * same):.4f}")  # ln 2, and 0
        0.6931 0.0000
    """
    p = rearrange(logits.softmax(2), "b h k ... -> (b ...) h k")
    if valid is None:
        valid = torch.ones(len(p), dtype=torch.bool, device=p.device)
    p = p * valid.reshape(-1, 1, 1)
    count = sum_over_processes(valid.sum().to(p.dtype)).clamp(min=1)
    joint = sum_over_processes(torch.einsum("nhk,ngl->hgkl", p, p)) / count
    marginal = sum_over_processes(p.sum(0)) / count
    independent = torch.einsum("hk,gl->hgkl", marginal, marginal)
    tiny = torch.finfo(p.dtype).tiny
    information = (joint * (joint.clamp(min=tiny).log() - independent.clamp(min=tiny).log())).sum((2, 3))
    first, second = torch.triu_indices(len(information), len(information), 1, device=p.device).unbind()
    return information[first, second].mean()


def otsu_threshold(values: Tensor, where: Tensor) -> Tensor:
    """The threshold that parts values in [0, 1] in two groups of least variance within, over 256 bins: a scalar.

    Args:
        values: ``(N,)`` in [0, 1].
        where: bool ``(N,)``, the values that count.

    Source: N. Otsu, A threshold selection method from gray-level histograms, 1979.

    Example:
        >>> values = torch.tensor([0.1, 0.12, 0.8, 0.9])
        >>> 0.12 < otsu_threshold(values, torch.ones(4, dtype=torch.bool)) < 0.8
        tensor(True)
    """
    place = (values * _BINS).long().clamp(0, _BINS - 1)
    count = torch.zeros(_BINS, dtype=torch.float64, device=values.device).index_add_(0, place, where.double())
    centre = (torch.arange(_BINS, dtype=torch.float64, device=values.device) + 0.5) / _BINS
    below, sums = count.cumsum(0), (count * centre).cumsum(0)
    above = below[-1] - below
    apart = (sums / below.clamp(min=1) - (sums[-1] - sums) / above.clamp(min=1)).square() * below * above
    # Between two groups all thresholds part alike: the one in the middle.
    best = (apart == apart.max()).double()
    return ((best * (centre + 0.5 / _BINS)).sum() / best.sum()).to(values.dtype)


class _Detached(nn.Module):
    """Lets no gradient pass."""

    def forward(self, features: Tensor) -> Tensor:
        return features.detach()
