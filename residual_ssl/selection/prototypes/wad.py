"""Weight-aware distillation: labels of the nearest labelled features, weighed by how much nearer they are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.runtime.arguments import Count, Positive, checked
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.prototypes.fitting import even_sample, labelled_features, not_fitted, points_of
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class WADWeight(Selector):
    """Distil what a representation knows into the classifier, as far as it belongs to one known class.

    A frozen representation teaches: a point is of the class of the labelled point nearest to it, and weighs by how much
    nearer this class is than the second. Points of unknown classes are as far from all.

    Formula: ``w = s_1 - s_2``, in [0, 1], label the class of ``s_1``; ``s_1 ≥ s_2 ≥ …`` those of the classes, ``s_k =
    max_i cos(f, f_i)`` over its labelled points; soft target ``softmax(s/T)``, T = .1

    State: features and labels of the labelled points, and how many each class has, from :meth:`fit_pool`.

    Cost: a matrix product of the batch with the labelled points.

    Use: features of a self-supervised network, most of the pool of unknown classes.

    Source: Du et al., WAD, arXiv 2308.11874, §4, with the weight ``s_1 (1 - s_2/s_1)`` of its release. There the
    representation is contrastive and sees shifted views, and pseudo-labelled points join the labelled ones in rounds.

    Args:
        temperature: T > 0 of the soft target.
        max_points: number of labelled points kept.

    Raises:
        NotFittedError: use before :meth:`fit_pool`.

    Example:
        >>> labelled = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> selector = WADWeight().fit_pool(labelled, torch.tensor([0, 1]), labelled, 2)
        >>> chosen = selector(torch.zeros(3, 2), features=torch.tensor([[2.0, 0.0], [0.6, 0.8], [1.0, 1.0]]))
        >>> chosen.label[:2], chosen.weight
        (tensor([0, 1]), tensor([1.0000, 0.2000, 0.0000]))
    """

    evidence = ("features",)
    sized_by_data = ("labelled", "labels", "counts")
    labelled: Tensor
    labels: Tensor
    counts: Tensor

    @checked
    def __init__(self, temperature: Positive = 0.1, max_points: Count = 20_000) -> None:
        super().__init__()
        self.temperature = temperature
        self.max_points = max_points
        self.register_buffer("labelled", torch.zeros(0, 0))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int64))

    @property
    def fitted(self) -> bool:
        """Whether :meth:`fit_pool` was called or a fitted state loaded."""
        return len(self.labels) > 0

    def require_fitted(self) -> None:
        if not self.fitted:
            raise not_fitted("WADWeight")

    @torch.no_grad()
    def fit_pool(
        self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, *, ignore_index: int = 255
    ) -> WADWeight:
        points, known, _ = labelled_features(features, labels, pool, num_classes, ignore_index)
        self.set_state("labelled", even_sample(F.normalize(points), self.max_points))
        self.set_state("labels", even_sample(known, self.max_points))
        self.set_state("counts", torch.bincount(known, minlength=num_classes))
        return self

    def judge(self, points: JudgedPoints, logits: Tensor, features: Tensor) -> Selection:
        x = F.normalize(points_of(features, logits, self.labelled.shape[1], len(self.counts)))
        with torch.autocast(features.device.type, enabled=False):
            cosine = x @ self.labelled.to(x.dtype).T
            to_class = cosine.new_full((len(x), logits.shape[1]), -1.0)
            to_class.scatter_reduce_(1, self.labels.expand_as(cosine), cosine, "amax")
        first, second = to_class.topk(2, dim=1).values.unbind(1)
        shape = points.label.shape
        target = (to_class / self.temperature).softmax(1).reshape(*shape, -1).movedim(-1, 1)
        weight = (first - second).clamp(0, 1).reshape(shape).to(points.confidence.dtype)
        judged = points._replace(label=to_class.argmax(1).reshape(shape))
        return self.select(judged, weight == 1, weight * points.valid, target=target.to(points.confidence.dtype))

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, max_points={self.max_points}, fitted={self.fitted}"
