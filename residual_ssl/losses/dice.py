"""The Dice loss: overlap of predicted and labelled classes, whatever their sizes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

_EPSILON = 1e-10


def dice_loss(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """``1 - mean_k 2 Σ w·p_k·t_k / Σ w·(p_k² + t_k²)``, over the points of the batch; t is 1 at the label, else 0.

    A class that is neither labelled nor predicted at any weighted point counts as matched.

    Args:
        logits: ``(B, K, *S)``.
        label: int64 ``(B, *S)``, class ids; at points of weight 0 any in [0, K).
        weight: ``(B, *S)``, ≥ 0.

    Returns:
        Scalar in [0, 1], float32 or wider.

    Source: V-Net, arXiv 1606.04797, §3, for K classes and with weights as in BCP, arXiv 2305.00673.

    Example:
        >>> import torch
        >>> label = torch.tensor([[0, 1]])
        >>> sure = 50.0 * F.one_hot(label, 2).movedim(-1, 1)
        >>> everywhere = torch.ones(1, 2)
        >>> [round(dice_loss(logits, label, everywhere).item(), 4) for logits in (sure, sure.flip(1))]
        [0.0, 1.0]
    """
    wide = logits.float() if logits.itemsize < 4 else logits
    p = wide.softmax(1).transpose(0, 1).flatten(1)  # (K, B·S)
    t = F.one_hot(label, logits.shape[1]).movedim(-1, 0).flatten(1).to(p.dtype)
    w = weight.flatten().to(p.dtype)
    overlap = (w * p * t).sum(1)
    sizes = (w * (p.square() + t)).sum(1)
    return 1 - ((2 * overlap + _EPSILON) / (sizes + _EPSILON)).mean()
