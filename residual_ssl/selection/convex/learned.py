"""A selector that learns, from labelled predictions, which predictions are right."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.arguments import OddCount, Positive, PositiveShare, Range, checked
from residual_ssl.selection.convex.learned_metric import affinity, learn_metric
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.known_points import draw_known_points
from residual_ssl.selection.points.point_features import FEATURES, point_features
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector

_STATE = ("center", "scale", "class_log_odds", "metric", "form", "threshold", "temperature")

Several = Annotated[int, Range(lambda value: isinstance(value, int) and value >= 2, "an integer ≥ 2")]


class LearnedConvexSelector(Selector):
    """The convex partition in a learned metric of many features: its affinity says how likely a prediction is right.

    ``x_i`` holds the features of :func:`~residual_ssl.selection.points.point_features.point_features` and the log-odds
    that predictions of this class are right, standardised by the mean and deviation of the points of :meth:`fit`, and a
    constant 1. With
    ``f_i = M x_i ∈ R^d``, ``G`` the mean of ``f_i f_iᵀ`` over the points of :meth:`fit`, and ``P`` the optimum of the
    convex program of :func:`~residual_ssl.solve_partition` for ``G / tr G`` and γ > 0::

        a_i = f_iᵀP f_i/<G,P> - f_iᵀ(I-P)f_i/<G,I-P>        affinity
        q_i = σ((a_i - θ)/τ)                                 soft assignment: probability of being right
        w_i = min(1, q_i/ρ),   trusted where q_i ≥ ρ         weight

    M, θ and τ minimise the cross-entropy of ``q_i`` on predictions known to be right or wrong. G depends on M, and P on
    G: the gradient passes through the program. Unlike :class:`~residual_ssl.ConvexSelector`, which solves the program
    anew for every image, the program of :meth:`fit` stays: affinities of a group's own program average to 0 in every
    group, and would rank a hopeless image like a perfect one.

    Formula: ``w = min(1, q/ρ)``, ``q = σ((fᵀA f - θ)/τ)``, ``f = M x``, ρ = .95; A: affinity of the partition

    State: M, A, θ, τ and the standardisation of the features, from :meth:`fit`, which every process calls on the same
    data; none changes in ``forward``.

    Cost: some ten passes, among them windows around each point; seconds for a fit.

    Use: where a few hundred labelled samples can be kept out of training: it ranks better than confidence does.

    Source: the program is that of CSL, arXiv 2509.16704, §3.3; learning its metric is this library's own.

    Args:
        dimensions: d ≥ 2. With 2 the selector is close to a linear one; 3 can curve it.
        gamma: weight γ > 0 of the quadratic term of the program, relative to ``tr G``.
        window: odd side of the window for local features, 1 for none. Use fitted weights with the window they had.
        trust: ρ in (0, 1], the probability of being right from which a prediction weighs 1.
        max_points: number of points that :meth:`fit` learns from, drawn evenly from all that are labelled.
        seed: of that draw and of the start of M.

    The fitted state is in ``state_dict`` and loads into an unfitted selector too.

    Raises:
        InvalidInputError: an argument outside these ranges.
        NotFittedError: use before :meth:`fit`.

    Example:
        >>> import torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = 3 * torch.randn(2000, 4, generator=generator)
        >>> labels = torch.distributions.Categorical(logits=logits).probs.multinomial(1, generator=generator)[:, 0]
        >>> selector = LearnedConvexSelector().fit(logits, labels)
        >>> chosen = selector(torch.tensor([[9.0, 0.0, 0.0, 0.0], [1.0, 0.9, 0.8, 0.7]]))
        >>> chosen.trusted
        tensor([ True, False])
    """

    sized_by_data = _STATE
    center: Tensor
    scale: Tensor
    class_log_odds: Tensor
    metric: Tensor
    form: Tensor
    threshold: Tensor
    temperature: Tensor

    @checked
    def __init__(
        self,
        *,
        dimensions: Several = 3,
        gamma: Positive = 0.1,
        window: OddCount = 5,
        trust: PositiveShare = 0.95,
        max_points: Several = 20_000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.gamma = gamma
        self.window = window
        self.trust = trust
        self.max_points = max_points
        self.seed = seed
        for name in _STATE:
            self.register_buffer(name, torch.zeros(0))

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit` was called or a fitted state loaded."""
        return self.metric.numel() > 0

    @torch.no_grad()
    def fit(
        self,
        logits: Tensor,
        labels: Tensor,
        valid: Tensor | None = None,
        second: Tensor | None = None,
        *,
        ignore_index: int = 255,
    ) -> LearnedConvexSelector:
        """Learn from predictions whose correctness is known, ones that the model was *not* trained on.

        On its own training samples a model is right too often, and the selector would trust too much.

        Args:
            logits: ``(B, K, *S)``; K is fixed from here on.
            labels: integer ``(B, *S)``, true class ids in [0, K), or ``ignore_index``. Points without a label are not
                learned from; as neighbours they count.
            valid: bool ``(B, *S)``, False at points to leave out altogether.
            second: logits of a second view or model, of the shape of ``logits``; then every use needs them.
            ignore_index: see ``labels``.

        Returns:
            The selector itself. Fitting again forgets what was learned before.

        Raises:
            InvalidInputError: tensors that do not fit each other, labels outside [0, K), predictions that are all right
                or all wrong.
        """
        generator = torch.Generator().manual_seed(self.seed)
        known = draw_known_points(
            *(logits, labels, valid, second),
            ignore_index=ignore_index,
            window=self.window,
            max_points=self.max_points,
            generator=generator,
        )
        x = torch.cat([known.values, known.class_log_odds[known.label].unsqueeze(1)], 1)
        deviation, center = torch.std_mean(x, 0, correction=0)
        varies = deviation > 1e-6 * (1 + center.abs())
        scale = torch.where(varies, 1 / deviation, 0.0)
        x = torch.cat([(x - center) * scale, torch.ones_like(x[:, :1])], 1)
        learned = learn_metric(x, known.right, dimensions=self.dimensions, gamma=self.gamma, generator=generator)
        for name, value in zip(_STATE, (center, scale, known.class_log_odds, *learned), strict=True):
            self.set_state(name, value)
        return self

    def forward(  # type: ignore[override]
        self, logits: Tensor, valid: Tensor | None = None, second: Tensor | None = None
    ) -> Selection:
        points, log_odds = self._judge(logits, valid, second)
        weight = (log_odds.sigmoid() / self.trust).clamp(max=1)
        return self.select(points, weight == 1, weight)

    def score(self, logits: Tensor, valid: Tensor | None = None, second: Tensor | None = None) -> Tensor:
        """Log-odds ``(a - θ)/τ`` that each prediction is right, ``(B, *S)``: ranks points where weights tie at 1.

        Args and Raises as :meth:`forward`. Points that are not valid have -inf.
        """
        points, log_odds = self._judge(logits, valid, second)
        return torch.where(points.valid, log_odds, -torch.inf)

    def _judge(self, logits: Tensor, valid: Tensor | None, second: Tensor | None) -> tuple[JudgedPoints, Tensor]:
        self.require_fitted()
        takes_second = self.center.numel() > len(FEATURES) + 1
        if takes_second != (second is not None):
            came, expected = ("None", "logits") if takes_second else ("logits", "None")
            raise InvalidInputError(
                f"second: got {came}, expected {expected}, as the selector was fitted; call fit "
                f"{'without' if takes_second else 'with'} second to use it like this"
            )
        values, points = point_features(logits, valid, second, window=self.window)
        if logits.shape[1] != self.class_log_odds.numel():
            raise InvalidInputError(
                f"logits: got {logits.shape[1]} classes (shape {tuple(logits.shape)}), expected the "
                f"{self.class_log_odds.numel()} classes that the selector was fitted on; fit one for these classes"
            )
        with torch.autocast(logits.device.type, enabled=False):
            center, scale, class_log_odds, metric, form, threshold, temperature = (
                getattr(self, name).to(values) for name in _STATE
            )
            x = torch.cat([values, class_log_odds[points.label].unsqueeze(-1)], -1)
            x = torch.cat([(x - center) * scale, torch.ones_like(x[..., :1])], -1)
            return points, (affinity(x, metric, form) - threshold) / temperature

    def extra_repr(self) -> str:
        return (
            f"dimensions={self.dimensions}, gamma={self.gamma}, window={self.window}, trust={self.trust}, "
            f"max_points={self.max_points}, seed={self.seed}, fitted={self.fitted}"
        )
