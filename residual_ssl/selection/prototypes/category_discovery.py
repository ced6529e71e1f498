"""Generalised category discovery: known and new classes as the clusters of a mixture, the new ones counted."""

from __future__ import annotations

import torch
from torch import Tensor

from residual_ssl.runtime.arguments import Count, Index, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.prototypes.fitting import even_sample, labelled_features, not_fitted, points_of
from residual_ssl.selection.prototypes.mixture import NormalInverseWishart, discovered
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

_STATE = ("center", "axes", "means", "whitening", "offsets")
# Points that the prior of a cluster's mean is worth.
_STRENGTH = 0.01


class CategoryDiscovery(Selector):
    """Label points by the cluster of a mixture that they fall in, and leave out those of new classes.

    A mixture of Gaussians on features of a network that is not being trained, in which labelled points keep their
    class. New clusters are split and merged by how well one or two explain their points, so that the number of new
    classes is found and need not be known.

    Formula: ``w = 1[k < K]``, ``k = argmax_j π_j N(f; μ_j, Σ_j)`` over the K known and the new clusters, label the
    known one of largest ``π_j N_j``; clusters under a normal-inverse-Wishart prior of the covariance in known classes

    State: mean and main axes of the features, π, μ and Σ of each cluster, labelled points of each class, from
    :meth:`fit_pool`.

    Cost: the density of each point in every cluster; seconds to fit.

    Use: pools that hold whole classes without a label; to count and name them.

    Source: GPC, arXiv 2305.06144, §3.2, its split and merge by Hastings ratios. There decisions are drawn, clusters are
    of means alone, and representations are learned between rounds by contrast with the prototypes; here the more likely
    number is taken, with covariances, new clusters may be merged into known ones, and features stay.

    Args:
        dimensions: main axes of the features that are kept.
        start: new clusters to begin with; 0 to count none. With more, broad classes are rather counted as several.
        max_points: points of the pool that are clustered.

    Raises:
        NotFittedError: use before :meth:`fit_pool`.

    Example:
        >>> spots = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]).repeat(40, 1)
        >>> pool = spots + torch.randn(120, 2, generator=torch.Generator().manual_seed(0))
        >>> labelled, labels = pool[[0, 1, 3, 4, 6, 7]], torch.tensor([0, 1, 0, 1, 0, 1])
        >>> selector = CategoryDiscovery(start=3).fit_pool(labelled, labels, pool, 2)
        >>> selector.new_classes, selector(torch.zeros(3, 2), features=spots[:3]).weight
        (1, tensor([1., 1., 0.]))
    """

    evidence = ("features",)
    sized_by_data = (*_STATE, "counts")
    center: Tensor
    axes: Tensor
    means: Tensor
    whitening: Tensor
    offsets: Tensor
    counts: Tensor

    @checked
    def __init__(self, dimensions: Count = 16, start: Index = 4, max_points: Count = 10_000) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.start = start
        self.max_points = max_points
        for name in _STATE:
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int64))

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit_pool` was called or a fitted state loaded."""
        return self.means.numel() > 0

    @property
    def new_classes(self) -> int:
        """Number of classes that the pool holds beside the known ones, as found."""
        return len(self.means) - len(self.counts)

    def require_fitted(self) -> None:
        if not self.fitted:
            raise not_fitted("CategoryDiscovery")

    @torch.no_grad()
    def fit_pool(
        self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, *, ignore_index: int = 255
    ) -> CategoryDiscovery:
        points, known, others = labelled_features(features, labels, pool, num_classes, ignore_index)
        points, known, others = points.double().cpu(), known.cpu(), even_sample(others, self.max_points).double().cpu()
        every = torch.cat([points, others])
        center = every.mean(0)
        _, sizes, axes = torch.linalg.svd(every - center, full_matrices=False)
        # Axes along which nothing varies carry nothing.
        kept = min(self.dimensions, int((sizes > 1e-6 * sizes[0]).sum().clamp(min=1)))
        axes = axes[:kept].T
        x, of_pool = (points - center) @ axes, (others - center) @ axes
        groups = [x[known == k] for k in range(num_classes)]
        clusters = discovered(groups, of_pool, _prior(groups, every @ axes - center @ axes), self.start)
        self.set_state("center", center)
        self.set_state("axes", axes)
        self.set_state("counts", torch.bincount(known, minlength=num_classes))
        factor = torch.linalg.cholesky(torch.stack([cluster.covariance for _, cluster in clusters]))
        shares = torch.tensor([share for share, _ in clusters], dtype=torch.float64)
        self.set_state("means", torch.stack([cluster.mean for _, cluster in clusters]))
        self.set_state("whitening", torch.linalg.inv(factor))
        self.set_state("offsets", shares.log() - factor.diagonal(dim1=1, dim2=2).log().sum(1))
        return self

    def categories(self, features: Tensor, logits: Tensor) -> Tensor:
        """Cluster of each point, int64 ``(B, *S)``: a known class, or K, K + 1, … for the new ones.

        Args:
            features: ``(B, D, *S)``.
            logits: ``(B, K, *S)``, of which the shape alone matters.
        """
        return self._joint(features, logits).argmax(1)

    def judge(self, points: JudgedPoints, logits: Tensor, features: Tensor) -> Selection:
        joint = self._joint(features, logits)
        known = joint[:, : logits.shape[1]]
        return self.select(points._replace(label=known.argmax(1)), joint.argmax(1) < logits.shape[1])

    @torch.no_grad()
    def _joint(self, features: Tensor, logits: Tensor) -> Tensor:
        rows = points_of(features, logits, len(self.center), len(self.counts))
        with torch.autocast(features.device.type, enabled=False):
            x = (rows.double() - self.center) @ self.axes
            apart = x.unsqueeze(1) - self.means
            joint = self.offsets - torch.einsum("cij,ncj->nci", self.whitening, apart).square().sum(2) / 2
        return joint.reshape(len(logits), *logits.shape[2:], -1).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"dimensions={self.dimensions}, start={self.start}, max_points={self.max_points}, fitted={self.fitted}"


def _prior(groups: list[Tensor], every: Tensor) -> NormalInverseWishart:
    """The covariance within known classes, drawn towards a round one where labels are few."""
    width = every.shape[1]
    apart = torch.cat([group - group.mean(0) for group in groups if len(group) > 1] or [every - every.mean(0)])
    count = max(len(apart) - sum(len(group) > 1 for group in groups), 1)
    within = apart.T @ apart / count
    round_one = torch.eye(width, dtype=every.dtype) * within.trace() / width
    share = count / (count + width)
    return NormalInverseWishart(every.mean(0), share * within + (1 - share) * round_one, _STRENGTH, width + 2.0)
