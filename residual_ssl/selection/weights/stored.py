"""Pseudo-labels that were made beforehand, with the weights that they were given then."""

from __future__ import annotations

from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class StoredLabels(Selector):
    """Teach pseudo-labels that an earlier run has made of a pool, with their weights, whatever the network says now.

    The labels of ``residual-ssl label``: of rounds of self-training whose pool is labelled once, by a better or larger
    network than the one that learns, and judged as a whole.

    Formula: ``w`` and ``y`` as stored; trusted where ``w = 1``

    State: none.

    Cost: none; the stored labels of unlabelled data.

    Use: with ``pool=labelled`` or ``dataset=labelled_pool``; self-training in rounds over pools larger than a machine.

    Source: pseudo-labels made once a round, Lee, ICML 2013 workshop; ST and ST++, arXiv 2106.05095.

    Args of ``forward``:
        logits, valid: as :class:`Selector`.
        stored: ``(B, 2, *S)``, floating: class ids in [0, K), and weights in [0, 1]. A point with another id weighs 0.

    Raises:
        InvalidInputError: stored labels of another shape.

    Example:
        >>> import torch
        >>> chosen = StoredLabels()(torch.zeros(2, 3), stored=torch.tensor([[2.0, 0.5], [0.0, 1.0]]))
        >>> chosen.label, chosen.weight, chosen.trusted
        (tensor([2, 0]), tensor([0.5000, 1.0000]), tensor([False,  True]))
    """

    evidence = ("stored",)

    def judge(self, points: JudgedPoints, logits: Tensor, *, stored: Tensor) -> Selection:
        expected = (logits.shape[0], 2, *logits.shape[2:])
        if tuple(stored.shape) != expected:
            raise InvalidInputError(
                f"stored: got shape {tuple(stored.shape)}, expected {expected}, as logits are {tuple(logits.shape)}"
            )
        label = stored[:, 0].long()
        known = (label >= 0) & (label < logits.shape[1])
        weight = (stored[:, 1].to(points.confidence.dtype) * known).clamp(0, 1)
        return self.select(points._replace(label=label * known), weight == 1, weight)
