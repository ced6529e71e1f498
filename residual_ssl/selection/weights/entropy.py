"""FARCLUSS: weights by the normalised entropy of the prediction."""

from __future__ import annotations

import math

from torch import Tensor

from residual_ssl.selection.features import JudgedPoints
from residual_ssl.selection.points.probabilities import entropy
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector


class EntropyWeight(Selector):
    """Weigh points by how far their entropy is from that of a guess.

    Formula: ``w = 1 - H(p)/log K``

    State: none.

    Cost: two passes and the memory of the probabilities.

    Use: many classes, where a point torn between two of them should still teach that it is one of these.

    Source: FARCLUSS, arXiv 2506.11142, of whose four parts this is the weight.

    Example:
        >>> import torch
        >>> EntropyWeight()(torch.tensor([[9.0, 0.0], [0.0, 0.0]])).weight
        tensor([0.9982, 0.0000])
    """

    def judge(self, points: JudgedPoints, logits: Tensor) -> Selection:
        weight = (1 - entropy(logits, points) / math.log(logits.shape[1])).clamp(0, 1)
        return self.select(points, weight == 1, weight)
