"""Confidence Separable Learning: reliable predictions as one side of a convex two-way partition."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import Count, NotNegative, Positive, checked
from residual_ssl.selection.convex.partition import Solver
from residual_ssl.selection.convex.separation import ConvexPartition, convex_partition, reliability_weight
from residual_ssl.selection.features import JudgedPoints, Residual, judged_points
from residual_ssl.selection.points.past_points import PastPoints
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

Variant = Literal["csl", "covar"]
Scope = Literal["auto", "sample", "batch", "window"]

_ALPHA = {"csl": 8.0, "covar": 2.0}
_DISPERSION_PENALTY = {"csl": 0.0, "covar": 0.25}


class ConvexSelector(Selector):
    """Confidence Separable Learning: trust what lies on the reliable side of a convex partition, and what is better.

    The points of a group (one image, or the whole batch) are described by confidence and residual dispersion, neither
    centred nor scaled, and partitioned by the convex program of :func:`solve_partition`. Points better than the mean of
    the reliable cluster in either feature are trusted with weight 1; the others decay with their distance.

    Formula: ``w = 1`` where ``z_c > 0`` or ``z_r > 0``, else ``exp(-(z_c² + z_r²)/α)``, α = 8 (csl) or 2 (covar); z is
    the distance from the mean of the reliable cluster in its deviations, larger for better points

    State: none. With a window, its points, those of all processes.

    Cost: about five passes, of the points or of those in the window; a 2×2 program for each group.

    Use: dense predictions of many classes, where no threshold fits every image: it adapts to each. Of the batch
    where images are small or hold few classes; of a window for classification, where batches are small.

    Source: CSL, arXiv 2509.16704 (ICCV 2025), §3; CoVar, arXiv 2601.11670.

    Args:
        variant: ``"csl"``, or ``"covar"``: dispersion scaled by ``g`` (see :func:`prediction_features`), reliable
            cluster by ``mean(c) - ¼·mean(g·r)``.
        alpha: width of the decay; None for the variant's own, 8 (csl) or 2 (covar).
        residual: ``"paper"`` or ``"released"``, see :func:`prediction_features`.
        scope: what forms a group: ``"sample"`` (each image by itself; needs spatial points), ``"batch"`` (all points
            of the batch), ``"auto"``: sample where there are spatial dimensions, else batch; ``"window"``: past points,
            this batch's among them.
        solver: as in :func:`solve_partition`.
        gamma: weight γ ≥ 0 of the quadratic term of the program; 0 is as published.
        temperature: 0 is the published hard assignment, whose weights carry no gradient; τ > 0 makes assignment,
            moments and weights smooth, so that gradients reach the logits.
        window: number of past points for ``scope="window"``.

    ``forward`` takes logits ``(B, K, *S)``; ``diagnostics`` of its Selection holds ``nonfinite`` and, with
    ``solver="cvxpylayers"``, ``solver_fallbacks``: the groups left to the closed form. With K = 2 the dispersion is
    identically 0 and the selector reduces to confidence alone.

    Raises:
        InvalidInputError: an unknown choice, α ≤ 0, γ < 0, τ < 0; ``scope="sample"`` on logits without spatial
            dimensions.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[9.0, 0.0, 0.0], [8.0, 0.1, 0.0], [1.0, 0.9, 0.0], [0.6, 0.5, 0.0]])
        >>> ConvexSelector()(logits).trusted
        tensor([ True, False, False, False])
    """

    @checked
    def __init__(
        self,
        variant: Variant = "csl",
        *,
        alpha: Positive | None = None,
        residual: Residual = "paper",
        scope: Scope = "auto",
        solver: Solver = "closed_form",
        gamma: NotNegative = 0.0,
        temperature: NotNegative = 0.0,
        window: Count = 10_000,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.alpha = _ALPHA[variant] if alpha is None else alpha
        self.residual: Residual = residual
        self.scope = scope
        self.solver = solver
        self.gamma = gamma
        self.temperature = temperature
        kinds = {"confidence": torch.float32, "residual": torch.float32}
        self.window = window
        self.past = PastPoints(window, **kinds) if scope == "window" else None

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        with torch.autocast(logits.device.type, enabled=False):
            confidence, dispersion, valid = self._features(points)
            if self.past is not None and self.training:
                self.past.add(valid, confidence=confidence, residual=dispersion)
            partition = self._separate(confidence, dispersion, valid)
            weight, trusted = reliability_weight(
                confidence, dispersion, partition, alpha=self.alpha, temperature=self.temperature
            )
        if self.past is not None:
            # A window without points, in evaluation before any training, says nothing.
            judged = self.past.filled.any()
            weight, trusted = weight * judged, trusted & judged
        chosen = self.select(points, trusted.reshape(points.valid.shape), weight.reshape(points.valid.shape))
        if partition.fallbacks is None:
            return chosen
        return chosen.with_diagnostics(solver_fallbacks=partition.fallbacks)

    @property
    def dispersion_penalty(self) -> float:
        """λ of the variant: the reliable cluster has the larger ``mean(c) - λ·mean(r)``."""
        return _DISPERSION_PENALTY[self.variant]

    def partition(self, logits: Tensor, valid: Tensor | None = None) -> ConvexPartition:
        """The partition behind :meth:`forward`, one group per sample or one for the batch: for reports and study."""
        with torch.autocast(logits.device.type, enabled=False):
            return self._separate(*self._features(self.features(logits, valid)))

    def features(self, logits: Tensor, valid: Tensor | None) -> JudgedPoints:
        return judged_points(logits, valid, residual=self.residual, scaled=self.variant == "covar")

    def _features(self, points: JudgedPoints) -> tuple[Tensor, Tensor, Tensor]:
        """Confidence, dispersion and validity as ``(groups, points)``; a hard assignment passes no gradient."""
        confidence, dispersion = points.confidence, points.residual
        if self.temperature == 0:
            confidence, dispersion = confidence.detach(), dispersion.detach()
        return self._groups(confidence), self._groups(dispersion), self._groups(points.valid)

    def _separate(self, confidence: Tensor, dispersion: Tensor, valid: Tensor) -> ConvexPartition:
        if self.past is not None:
            confidence, dispersion, valid = (self.past.column(name) for name in ("confidence", "residual", "filled"))
        return convex_partition(
            (confidence, dispersion),
            valid,
            dispersion_penalty=self.dispersion_penalty,
            gamma=self.gamma,
            temperature=self.temperature,
            solver=self.solver,
        )

    def _groups(self, points: Tensor) -> Tensor:
        """``(B, *S)`` as ``(groups, points)``."""
        spatial = points.dim() > 1
        if self.scope == "sample" and not spatial:
            raise InvalidInputError(
                "scope: got 'sample' for logits of shape (B, K), one point per sample: nothing to separate within a "
                "sample; use scope='batch' or 'auto'"
            )
        if self.scope in ("batch", "window") or not spatial:
            return points.reshape(1, -1)
        return points.flatten(1)

    def extra_repr(self) -> str:
        return (
            f"variant={self.variant!r}, alpha={self.alpha}, residual={self.residual!r}, scope={self.scope!r}, "
            f"solver={self.solver!r}, gamma={self.gamma}, temperature={self.temperature}"
        )
