"""Graphs of nearest neighbours, and the labels that spread over them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Similarities of so many pairs are in memory at a time.
_PAIRS_AT_ONCE = 2**25
# Similarities are sharpened by this power, as by the source: far neighbours hardly count.
_SHARPNESS = 3
_TOLERANCE = 1e-5
_MOST_ITERATIONS = 200


def nearest(x: Tensor, among: Tensor, count: int, *, itself: bool = True) -> tuple[Tensor, Tensor]:
    """The ``count`` rows of ``among`` ``(M, D)`` that are most similar to each row of ``x`` ``(N, D)``.

    Args:
        x, among: rows of length 1.
        count: at most M, or M - 1 without ``itself``.
        itself: False where ``x`` is ``among``: a row is then no neighbour of itself.

    Returns:
        Their cosines, the largest first, and their places, int64; both ``(N, count)``.
    """
    found = []
    step = max(1, _PAIRS_AT_ONCE // max(1, len(among)))
    for start in range(0, max(1, len(x)), step):
        part = x[start : start + step]
        cosines = part @ among.T
        if not itself:
            cosines.diagonal(start).fill_(-torch.inf)
        found.append(cosines.topk(count, dim=1))
    return torch.cat([values for values, _ in found]), torch.cat([places for _, places in found])


def kernel_average(x: Tensor, nodes: Tensor, values: Tensor, sharpness: float) -> Tensor:
    """Mean of the values ``(M, K)`` of nodes ``(M, D)`` at each row of ``x`` ``(N, D)``, float ``(N, K)``.

    The weight of a node is ``exp(sharpness · cosine)``: attention, in blocks that never hold all N·M pairs.

    Args:
        x, nodes: rows of length 1.
    """
    width = max(x.shape[1], values.shape[1])  # the fast implementation wants keys and values of one width
    query, key, value = (F.pad(part, (0, width - part.shape[1]))[None, None] for part in (x, nodes, values))
    mean: Tensor = F.scaled_dot_product_attention(query, key, value, scale=sharpness)
    return mean[0, 0, :, : values.shape[1]]


def spread(start: Tensor, x: Tensor, *, neighbours: int, alpha: float) -> Tensor:
    """Spread values over the graph of nearest neighbours of N points.

    With ``W`` the symmetric graph of cosines to the third power, not below 0, ``d`` its row sums, and ``Y`` the values
    at the start, the result is the optimum of the convex program ::

        min_Q  ½ Σ_ij W_ij |Q_i/√d_i - Q_j/√d_j|² + (1/α - 1) Σ_i |Q_i - Y_i|²

    Args:
        start: Y, float ``(N, K)``.
        x: points of length 1, float ``(N, D)``.
        neighbours: of each point, before the graph is made symmetric; fewer where there are fewer points.
        alpha: α in (0, 1), how far values spread.

    Source: D. Zhou et al., Learning with Local and Global Consistency, NeurIPS 2003; the graph and conjugate gradients:
    A. Iscen et al., Label Propagation for Deep Semi-supervised Learning, arXiv 1904.04717, §4.1.

    Example:
        >>> points = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.2], [0.0, 1.0], [0.1, 1.0]]))
        >>> labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        >>> spread(labels, points, neighbours=1, alpha=0.9).argmax(1)
        tensor([0, 0, 1, 1])
    """
    count = min(neighbours, len(x) - 1)
    if count < 1:
        return start.clone()
    cosines, places = nearest(x, x, count, itself=False)
    rows = torch.arange(len(x), device=x.device).unsqueeze(1).expand_as(places)
    one_way = _sparse(torch.stack([rows, places]).flatten(1), cosines.clamp(min=0).pow(_SHARPNESS).flatten(), len(x))
    both = (one_way + one_way.t()).coalesce()
    i, j = both.indices()
    degree = torch.zeros_like(x[:, 0]).index_add_(0, i, both.values())
    scale = degree.clamp(min=torch.finfo(x.dtype).tiny).rsqrt() * (degree > 0)
    graph = _sparse(both.indices(), both.values() * scale[i] * scale[j], len(x))
    return _solved(graph, start, alpha)


def _sparse(places: Tensor, values: Tensor, size: int) -> Tensor:
    return torch.sparse_coo_tensor(places, values, (size, size), check_invariants=False).coalesce()


def _solved(graph: Tensor, start: Tensor, alpha: float) -> Tensor:
    """``(1-α)(I - α·graph)⁻¹ Y`` by conjugate gradients, for all columns of Y at once."""
    wanted = (1 - alpha) * start
    solution = torch.zeros_like(start)
    rest, direction = wanted.clone(), wanted.clone()
    squared = rest.square().sum(0)
    enough = _TOLERANCE**2 * squared
    for _ in range(_MOST_ITERATIONS):
        if (squared <= enough).all():
            break
        image = direction - alpha * (graph @ direction)
        step = squared / (direction * image).sum(0).clamp(min=torch.finfo(start.dtype).tiny)
        solution += step * direction
        rest -= step * image
        before, squared = squared, rest.square().sum(0)
        direction = rest + squared / before.clamp(min=torch.finfo(start.dtype).tiny) * direction
    return solution
