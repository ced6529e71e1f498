"""Debiased self-training: pseudo-labels teach a head of their own, and a worst-case head shows what they would do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss, Prediction, Seen, mean_over
from residual_ssl.algorithms.auxiliary.network import PointLayer
from residual_ssl.algorithms.domain_network import reverse_gradient
from residual_ssl.runtime.arguments import Count, NotNegative, Positive, ShareBelowOne, checked

# Added before the logarithm of 1 - p, which is 0 at a sure prediction.
_OFFSET = 1e-6


class DebiasedSelfTraining(AuxiliaryLoss):
    """DST: branches teach a pseudo head, so that wrong pseudo-labels never reach the classifier that makes them.

    The classifier h learns from labels alone; the pseudo head h', with parameters of its own on the same features,
    learns what the branches teach, and both shape the features. A worst-case head learns to predict as h does on
    labelled and otherwise than h on unlabelled samples, and features learn to leave it no room, by its reversed
    gradient. With y = argmax h, of the labelled and of the unlabelled batch::

        L_worst = η'·mean_l CE(h_worst, y) + mean_u -log(1 - p_worst(y) + 1e-6)

    Both heads have one hidden layer. The classifier is evaluated.

    Args:
        weight: of L_worst; 1 as published.
        trade_off: η' > 0; 2 in the release for fine-tuning.
        hidden: width of the hidden layers; 2,048 in the release for fine-tuning.
        dropout: share of the hidden features that are dropped, in [0, 1); .5 in the release.
        strength: of the reversed gradient at its largest; .1 in the release, approached as
            ``strength · (2 / (1 + exp(-t/warmup)) - 1)`` in step t.
        warmup: steps, ≥ 1; 1,000 in the release.

    Source: Chen et al., Debiased Self-Training for Semi-Supervised Learning, arXiv 2202.07136, §4, and its release in
    Transfer-Learning-Library, from which the loss of the worst-case head and its schedule are.
    """

    @checked
    def __init__(
        self,
        weight: NotNegative = 1.0,
        trade_off: Positive = 2.0,
        hidden: Count = 2048,
        dropout: ShareBelowOne = 0.5,
        strength: NotNegative = 0.1,
        warmup: Count = 1000,
    ) -> None:
        super().__init__(worst=weight)
        self.trade_off = trade_off
        self.hidden = hidden
        self.dropout = dropout
        self.strength = strength
        self.warmup = warmup

    def make_head(self, width: int, num_classes: int, layer: PointLayer) -> nn.Module:
        def head() -> nn.Sequential:
            hidden = layer(width, self.hidden)
            return nn.Sequential(hidden, nn.ReLU(), nn.Dropout(self.dropout), layer(self.hidden, num_classes))

        return _TwoHeads(head(), head())

    def taught(self, prediction: Prediction) -> Tensor:
        return prediction.head.chunk(2, dim=1)[0]

    def terms(self, seen: Seen) -> dict[str, Tensor]:
        assert seen.plain is not None
        known = seen.target != seen.ignore_index
        of_labelled = _wide(seen.labelled.head.chunk(2, dim=1)[1])
        right = F.cross_entropy(of_labelled, seen.labelled.logits.argmax(1), reduction="none")
        of_unlabelled = _wide(seen.plain.head.chunk(2, dim=1)[1]).softmax(1)
        chosen = of_unlabelled.gather(1, seen.plain.logits.argmax(1, keepdim=True)).squeeze(1)
        wrong = -(1 - chosen + _OFFSET).clamp(max=1).log()
        return {"worst": self.trade_off * mean_over(right, known) + mean_over(wrong, seen.valid)}

    def after_step(self, head: nn.Module | None) -> None:
        super().after_step(head)
        assert isinstance(head, _TwoHeads)
        head.strength.copy_(self.strength * (2 / (1 + (-self.done / self.warmup).exp()) - 1))


class _TwoHeads(nn.Module):
    """A pseudo head and a worst-case head behind a reversed gradient: features ``(B, D, *s)`` to ``(B, 2K, *s)``."""

    strength: Tensor

    def __init__(self, pseudo: nn.Module, worst: nn.Module) -> None:
        super().__init__()
        self.pseudo = pseudo
        self.worst = worst
        self.register_buffer("strength", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([self.pseudo(features), self.worst(reverse_gradient(features, self.strength))], dim=1)


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.itemsize < 4 else logits
