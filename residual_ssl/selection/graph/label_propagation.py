"""Pseudo-labels that spread from labelled to unlabelled points over a graph of their features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from residual_ssl.errors import InvalidInputError, NotFittedError
from residual_ssl.runtime.arguments import Count, InnerShare, PositiveShare, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.graph.neighbours import kernel_average, nearest, spread
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

_STATE = ("center", "axes", "nodes", "propagated", "reach")
# A point's label is the mean over so many nodes, the weights being their cosines to a power that all but singles out a
# node that is the point itself.
_ASKED, _SHARPNESS = 3, 20
_KERNEL_SHARPNESS = 40.0
# What a class has at least that labels do not reach, as against 1 on average.
_LEAST = 1e-6


class LabelPropagation(Selector):
    """Label points as their neighbourhood in feature space is labelled, whatever the network predicts for them.

    The labelled points and a sample of the pool are the nodes of a graph of nearest neighbours in the features of a
    network that is not being trained. The given labels Y spread over it to Q, the optimum of a convex program. Each
    class is scaled to one total, so that none floods the pool, and the points that labels reach least, which are those
    of no known class above all, are left out.

    Formula: ``w = 1[rank(max_k Q_ik) ≥ 1 - κ]``, label ``argmax_k Q_ik / Σ_j Q_jk``; Q minimises ``½ Σ W_ij |Q_i/√d_i -
    Q_j/√d_j|² + (1/α - 1) Σ |Q_i - Y_i|²``; κ = .7

    State: mean and main axes of the features, the nodes in these axes, Q of each; from :meth:`fit_pool`.

    Cost: a matrix product of the batch with the nodes; seconds to fit.

    Use: few labels, and features of a good frozen network, or columns of a table; contaminated and shifted pools.

    Source: the program, D. Zhou et al., NeurIPS 2003; on features of networks, A. Iscen et al., arXiv 1904.04717; equal
    class totals, X. Zhu et al., ICML 2003, §4; leaving out by reach is this library's own.

    Args:
        alpha: α in (0, 1), how far labels spread.
        neighbours: of each node.
        keep: κ in (0, 1], share of the pool that is labelled.
        dimensions: number of main axes of the features.
        max_points: number of nodes drawn from the pool, and of labelled points.

    Raises:
        InvalidInputError: an argument outside its range; features that are not finite or differ in length; no labelled
            point, or class ids outside [0, K).
        NotFittedError: use before :meth:`fit_pool`.

    Example:
        >>> pool = torch.tensor([[1.0, 0.1], [1.0, 0.3], [0.1, 1.0], [0.3, 1.0]])
        >>> labelled = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> selector = LabelPropagation(neighbours=1, keep=1).fit_pool(labelled, torch.tensor([0, 1]), pool, 2)
        >>> selector(torch.zeros(4, 2), features=pool).label
        tensor([0, 0, 1, 1])
    """

    evidence = ("features",)
    sized_by_data = _STATE
    center: Tensor
    axes: Tensor
    nodes: Tensor
    propagated: Tensor
    reach: Tensor

    @checked
    def __init__(
        self,
        alpha: InnerShare = 0.95,
        neighbours: Count = 10,
        keep: PositiveShare = 0.7,
        dimensions: Count = 64,
        max_points: Count = 20_000,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.neighbours = neighbours
        self.keep = keep
        self.dimensions = dimensions
        self.max_points = max_points
        for name in _STATE:
            self.register_buffer(name, torch.zeros(0))

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit_pool` was called or a fitted state loaded."""
        return self.nodes.numel() > 0

    @torch.no_grad()
    def fit_pool(
        self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, *, ignore_index: int = 255
    ) -> LabelPropagation:
        points = rearrange(features, "b d ... -> (b ...) d").float()
        labels = labels.flatten()
        known = labels != ignore_index
        points, labels = _sample(points[known], self.max_points), _sample(labels[known], self.max_points)
        if not len(labels):
            raise InvalidInputError("labels: got no labelled point, expected at least one for labels to spread from")
        if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
            raise InvalidInputError(
                f"labels: got class ids from {int(labels.min())} to {int(labels.max())}, expected ids in "
                f"[0, {num_classes}) or ignore_index {ignore_index}"
            )
        if pool.shape[1:2] != features.shape[1:2]:
            raise InvalidInputError(
                f"pool: got {tuple(pool.shape)} beside features {tuple(features.shape)}, expected the same dimension 1"
            )
        x = torch.cat([points, _sample(rearrange(pool, "b d ... -> (b ...) d").float(), self.max_points)])
        if not x.isfinite().all():
            raise InvalidInputError("features, pool: got values that are not finite, expected finite ones")
        center = x.mean(0)
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(0)
            _, _, axes = torch.pca_lowrank(x - center, q=min(self.dimensions, *x.shape), center=False, niter=4)
        nodes = F.normalize((x - center) @ axes)
        start = torch.zeros(len(x), num_classes, device=x.device)
        start[: len(labels)] = F.one_hot(labels, num_classes).to(start)
        found = spread(start, nodes, neighbours=self.neighbours, alpha=self.alpha).clamp(min=0)
        of_pool = found[len(labels) :] if len(pool) else found
        reach = of_pool.amax(1).quantile(1 - self.keep).reshape(1)
        for name, value in zip(_STATE, (center, axes, nodes, found, reach), strict=True):
            self.set_state(name, value)
        return self

    def require_fitted(self) -> None:
        if not self.fitted:
            raise NotFittedError(
                "LabelPropagation: used before fit_pool; give it features of the labelled samples and of the pool, "
                "fit_pool(features, labels, pool, num_classes), or load the state_dict of a fitted one"
            )

    def propagated_at(self, features: Tensor, logits: Tensor) -> Tensor:
        """Q of the neighbourhood of each point of a batch, with one total for each class; float32 ``(B, K, *S)``, > 0.

        For other selectors that judge by it: a mean over all nodes, where :meth:`forward` asks the nearest ones.

        Args:
            features: ``(B, D, *S)``.
            logits: ``(B, K, *S)``, of which the shape alone matters.

        Raises:
            InvalidInputError: features or a number of classes other than those that :meth:`fit_pool` was given.
        """
        x = self._embedded(features.detach(), logits)
        with torch.autocast(features.device.type, enabled=False):
            found = kernel_average(x, self.nodes, self._scaled(self.propagated), _KERNEL_SHARPNESS)
        return rearrange(found.clamp(min=_LEAST), "(b s) k -> b k s", b=len(logits)).reshape_as(logits)

    def _scaled(self, found: Tensor) -> Tensor:
        """The same total for each class, on average 1 a node."""
        total = self.propagated.mean(0).clamp(min=torch.finfo(torch.float32).tiny)
        return found / total

    def judge(self, points: JudgedPoints, logits: Tensor, features: Tensor) -> Selection:
        found = self._asked(features.detach(), logits)
        label = rearrange(self._scaled(found).argmax(1), "(b s) -> b s", b=len(logits)).view_as(points.label)
        reached = (found.amax(1) >= self.reach).view_as(points.valid)
        return self.select(points._replace(label=label), reached)

    def _asked(self, features: Tensor, logits: Tensor) -> Tensor:
        """Q at the points of a batch, float32 ``(B·S, K)``."""
        x = self._embedded(features, logits)
        with torch.autocast(features.device.type, enabled=False):
            cosines, places = nearest(x, self.nodes, min(_ASKED, len(self.nodes)))
            weight = cosines.clamp(min=1e-3).pow(_SHARPNESS).unsqueeze(2)
            return (weight * self.propagated[places]).sum(1) / weight.sum(1)

    def _embedded(self, features: Tensor, logits: Tensor) -> Tensor:
        """Features in the main axes, of length 1, float32 ``(B·S, axes)``."""
        expected = (len(logits), len(self.center), *logits.shape[2:])
        if tuple(features.shape) != expected or logits.shape[1] != self.propagated.shape[1]:
            raise InvalidInputError(
                f"features: got shape {tuple(features.shape)} beside logits {tuple(logits.shape)}, expected features "
                f"{expected} and {self.propagated.shape[1]} classes, as fit_pool was given"
            )
        with torch.autocast(features.device.type, enabled=False):
            x = rearrange(features, "b d ... -> (b ...) d").float().nan_to_num()
            return F.normalize((x - self.center) @ self.axes)

    def extra_repr(self) -> str:
        return (
            f"alpha={self.alpha}, neighbours={self.neighbours}, keep={self.keep}, dimensions={self.dimensions}, "
            f"max_points={self.max_points}, fitted={self.fitted}"
        )


def _sample(rows: Tensor, count: int) -> Tensor:
    """All rows, or an even sample of them where there are more than ``count``."""
    return rows if len(rows) <= count else rows[torch.arange(count, device=rows.device) * len(rows) // count]
