"""Selection with an error rate that the user sets: conformal p-values, Benjamini-Hochberg."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import InnerShare, checked
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points.known_points import check_labels
from residual_ssl.selection.points.point_features import log_odds
from residual_ssl.selection.points.probabilities import grouped, log_probabilities
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

# Scores of more wrong predictions than these say nothing more.
_KEPT = 100_000


class ConformalSelector(Selector):
    """Trust as many points as the expected share of wrong pseudo-labels among them allows: at most α.

    The hypothesis "the pseudo-label of this point is wrong" is tested for each point with the log-odds s of its
    confidence, against predictions of held-out labelled points, N of which W are wrong. Benjamini and Hochberg's
    procedure chooses how many of the m points of a group are trusted, with the share of wrong predictions for
    the share of true hypotheses.

    Formula: ``w = 1[p ≤ p_(k)]``, k the largest with ``π p_(k) m/k ≤ α``; ``p_i = (1 + #{j wrong: s_j ≥ s_i})/(1 +
    W)``, ``π = (1 + W)/(1 + N)``

    State: the scores of the wrong held-out predictions (100,000 of them at most) and N, from :meth:`fit`, which every
    process calls on the same data.

    Cost: a sort of the points; none to fit.

    Use: where a stated error rate matters more than coverage, as for pseudo-labels that are stored or shown to people.
    Fit again when the network has changed.

    Source: conformal p-values against mislabelled points, Conformal Labeling, arXiv 2510.14581; Y. Benjamini and
    Y. Hochberg, J. R. Stat. Soc. B 57 (1995); its power by the share of true hypotheses, J. D. Storey, B 64 (2002).

    The bound holds on average over draws of held-out and judged points that are exchangeable: the same kind of data,
    and neither of them trained on. Pools that hold out-of-class points need such points among the held-out ones as
    well; pixels of few images are fewer points than they seem.

    Args:
        level: α in (0, 1), the largest expected share of wrong labels among the trusted ones.
        scope: the points that are judged together: ``"batch"``, or ``"sample"``, each image alone.

    Raises:
        InvalidInputError: a choice outside its range.
        NotFittedError: use before :meth:`fit`.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = 4 * torch.randn(2000, 4, generator=generator)
        >>> labels = torch.distributions.Categorical(logits=logits).probs.multinomial(1, generator=generator)[:, 0]
        >>> selector = ConformalSelector(level=0.1).fit(logits[:500], labels[:500])
        >>> chosen = selector(logits[500:])
        >>> wrong = chosen.label != labels[500:]
        >>> print(f"{chosen.coverage:.2f} {wrong[chosen.trusted].float().mean():.2f} {wrong.float().mean():.2f}")
        0.81 0.08 0.15
    """

    sized_by_data = ("wrong_scores", "counts")
    wrong_scores: Tensor
    counts: Tensor

    @checked
    def __init__(self, level: InnerShare = 0.1, scope: Literal["batch", "sample"] = "batch") -> None:
        super().__init__()
        self.level = level
        self.scope = scope
        self.register_buffer("wrong_scores", torch.zeros(0))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int64))  # of wrong predictions and of all

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` was called or a fitted state loaded."""
        return self.counts.numel() > 0

    @torch.no_grad()
    def fit(
        self, logits: Tensor, labels: Tensor, valid: Tensor | None = None, *, ignore_index: int = 255
    ) -> ConformalSelector:
        """Take predictions whose correctness is known, ones that the network was *not* trained on.

        Args:
            logits: ``(B, K, *S)``.
            labels: integer ``(B, *S)``: true class ids in [0, K), -1 for points of none of the classes, whose
                pseudo-labels are wrong, or ``ignore_index``.
            valid: bool ``(B, *S)``, False at points to leave out.
            ignore_index: id of points without a label.

        Returns:
            The selector itself. Fitting again forgets what was learned before.

        Raises:
            InvalidInputError: tensors that do not fit each other; so few labelled points that nothing could be trusted
                at this level: N < 1/α - 1.
        """
        points = judged_points(logits, valid)
        check_labels(labels, logits, ignore_index, outside=True)
        known = points.valid & (labels != ignore_index)
        total = int(known.sum())
        least = math.ceil(1 / self.level) - 1
        if total < least:
            raise InvalidInputError(
                f"labels: got {total} labelled predictions, expected at least {least} for level {self.level}: "
                "with fewer, nothing can be trusted at that error rate; give more, or a higher level"
            )
        scores = _scores(points, logits)[known & (points.label != labels)].sort().values
        kept = scores[:: -(-len(scores) // _KEPT)] if len(scores) else scores
        self.set_state("wrong_scores", kept)
        self.set_state("counts", torch.tensor([len(scores), total]))
        return self

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        score, valid = (grouped(x, self.scope) for x in (_scores(points, logits), points.valid))
        known = self.wrong_scores.to(score.dtype)
        above = len(known) - torch.searchsorted(known, score.contiguous())
        p = torch.where(valid, (1 + above).to(score.dtype) / (1 + len(known)), 2.0)
        ordered = p.sort(-1).values
        rank = torch.arange(1, p.shape[-1] + 1, device=p.device)
        wrong, total = (1 + self.counts).to(p.dtype)
        within = wrong / total * ordered * valid.sum(-1, keepdim=True) <= self.level * rank.to(p.dtype)
        last = torch.where(within, rank, 0).amax(-1, keepdim=True)
        cut = torch.where(last > 0, ordered.gather(-1, (last - 1).clamp(min=0)), -1.0)
        return self.select(points, (p <= cut).reshape(points.valid.shape))

    def extra_repr(self) -> str:
        return f"level={self.level}, scope={self.scope!r}, fitted={self.fitted}"


def _scores(points: JudgedPoints, logits: Tensor) -> Tensor:
    """Log-odds of the confidence, ``(B, *S)``: they rank where confidences round to 1."""
    return log_odds(log_probabilities(logits, points), points.label)
