"""One-vs-all classifiers: for each class, whether a point is of it or not; and the losses that they learn by.

Their output is ``(B, 2K, *S)``: first K logits of "not of class k", then K of "of class k"; the probabilities of each
class are the softmax over its two.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from residual_ssl.algorithms.auxiliary.loss import mean_over


class OneVsAll(NamedTuple):
    """Log-probabilities of every class's own classifier, each ``(B, K, *S)``.

    Attributes:
        outlier: that the point is not of the class.
        inlier: that it is.
    """

    outlier: Tensor
    inlier: Tensor


def one_vs_all(output: Tensor) -> OneVsAll:
    """The log-probabilities of an output ``(B, 2K, *S)``; float16 and bfloat16 in float32.

    Example:
        >>> outlier, inlier = one_vs_all(torch.tensor([[0.0, 2.0, 0.0, 0.0]]))
        >>> inlier.exp()
        tensor([[0.5000, 0.1192]])
    """
    wide = output.float() if output.itemsize < 4 else output
    both = rearrange(wide, "b (answer k) ... -> b answer k ...", answer=2).log_softmax(1)
    return OneVsAll(both[:, 0], both[:, 1])


def one_vs_all_loss(output: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Each labelled point is of its class, and surely not of the class that is hardest to tell from it.

    ``mean (-log p(in | y) - min_{k≠y} log p(out | k))`` over the points with a label.

    Args:
        output: ``(B, 2K, *S)``.
        target: int64 ``(B, *S)``.
        ignore_index: id of points without a label.

    Source: OVANet, arXiv 2104.03344, eq. 1; OpenMatch, arXiv 2105.14148, eq. 1.
    """
    found = one_vs_all(output)
    known = target != ignore_index
    own = target.where(known, 0).unsqueeze(1)
    positive = -found.inlier.gather(1, own).squeeze(1)
    hardest = (-found.outlier).scatter(1, own, -torch.inf).amax(1)
    return mean_over(positive + hardest, known)


def one_vs_all_entropy(output: Tensor, valid: Tensor | None) -> Tensor:
    """Mean entropy of the K classifiers over the valid points (OpenMatch, eq. 2; mean over classes as released)."""
    found = one_vs_all(output)
    entropy = -(found.outlier.exp() * found.outlier + found.inlier.exp() * found.inlier)
    return mean_over(entropy.mean(1), valid)


def soft_consistency(first: Tensor, second: Tensor, valid: Tensor | None) -> Tensor:
    """Squared difference of the probabilities of two views, summed over classes and both answers (OpenMatch, eq. 3)."""
    pairs = zip(one_vs_all(first), one_vs_all(second), strict=True)
    difference = torch.stack([(one.exp() - other.exp()).square().sum(1) for one, other in pairs])
    return mean_over(difference.sum(0), valid)


def outlier_probability(output: Tensor, probabilities: Tensor) -> Tensor:
    """Probability that a point is of none of the classes that it may be: ``Σ_k p_k · p(out | k)``, ``(B, *S)``.

    With a one-hot ``probabilities`` it is that of the predicted class's own classifier.
    """
    return (probabilities * one_vs_all(output).outlier.exp()).sum(1)
