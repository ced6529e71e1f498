"""Selection by entropy: the least certain share of a batch is left out, and told what it is not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Count, Share, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import entropy, log_probabilities
from residual_ssl.selection.points.ranking import masked_quantile
from residual_ssl.selection.points.schedule import ScheduledSelector
from residual_ssl.selection.selection import Selection


class U2PLThreshold(ScheduledSelector):
    """Leave out the share of a batch that has the highest entropy, a share that shrinks to none during training.

    The points left out may get negative labels: classes that rank so low in the point's own prediction that it surely
    is none of them, though what it is remains open.

    Formula: ``w = 1[H(p) < q]``, q the quantile at ``1 - α_t`` of H over the batch, ``α_t = α₀(1 - t/T)``, α₀ = .2;
    negative labels of the others: classes of rank in [r₀, r₁), the largest probability having rank 0

    State: the step t. A batch's quantile is that of the process.

    Cost: a sort of the points by entropy; with negative labels, one of the classes at each point.

    Use: segmentation with many classes, so that every point teaches something.

    Source: U2PL, arXiv 2203.03884, §3.3 and released code: there the others are negatives, in a contrastive loss, of
    the classes of rank [3, 20); here those are negative labels of the point itself.

    Args:
        total_steps: T; None: what :meth:`on_train_start` is told.
        unreliable: α₀ in [0, 1], the share left out at the start.
        negative_ranks: (r₀, r₁) with 1 ≤ r₀ < r₁; ranks that do not exist are passed over. None: no negative labels.

    Raises:
        InvalidInputError: a number outside its range.

    Example:
        >>> import torch
        >>> selector = U2PLThreshold(total_steps=100, unreliable=0.5, negative_ranks=(1, 3))
        >>> chosen = selector(torch.tensor([[9.0, 0.0, 0.0], [1.0, 0.9, 0.0], [8.0, 0.0, 0.0]]))
        >>> chosen.weight
        tensor([1., 0., 0.])
        >>> chosen.negative[1]
        tensor([False,  True,  True])
    """

    @checked
    def __init__(
        self, total_steps: Count | None = None, unreliable: Share = 0.2, negative_ranks: Sequence[int] | None = None
    ) -> None:
        super().__init__(total_steps)
        if negative_ranks is not None and not (len(negative_ranks) == 2 and 1 <= negative_ranks[0] < negative_ranks[1]):
            raise InvalidInputError(
                f"negative_ranks: got {negative_ranks}, expected (first, end) with 1 ≤ first < end, or None; rank 0 is "
                "the pseudo-label itself"
            )
        self.unreliable = unreliable
        self.negative_ranks = None if negative_ranks is None else (negative_ranks[0], negative_ranks[1])

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        uncertainty = entropy(logits, points)
        level = 1 - self.unreliable * (1 - self.progress())
        bound = masked_quantile(uncertainty.reshape(1, -1), points.valid.reshape(1, -1), level)
        # At the end of the training nothing is left out, not even the point that is the bound.
        trusted = (uncertainty < bound) | (level >= 1)
        return self.select(points, trusted, negative=self._negative(logits, points, trusted))

    def _negative(self, logits: Tensor, points: JudgedPoints, trusted: Tensor) -> Tensor | None:
        if self.negative_ranks is None:
            return None
        first, end = self.negative_ranks
        logs = log_probabilities(logits, points)
        low = logs.argsort(dim=1, descending=True, stable=True)[:, first:end]
        ranked = torch.zeros_like(logs, dtype=torch.bool).scatter(1, low, True)
        # Where two classes are equally likely, the pseudo-label need not be the one ranked first.
        rank_of_label = torch.zeros_like(ranked).scatter(1, points.label.unsqueeze(1), True)
        return ranked & ~rank_of_label & ~trusted.unsqueeze(1)

    def extra_repr(self) -> str:
        return f"{self.total_steps}, unreliable={self.unreliable}, negative_ranks={self.negative_ranks}"
