"""What a selection teaches a classifier that fits on rows with hard labels and weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from residual_ssl.selection import Selection


class SelectedRows(NamedTuple):
    """What a selection teaches, as rows to fit on; each field has shape ``(R,)``.

    Attributes:
        row: int64, which of the judged points; several rows for one point with a soft target.
        label: int64 class in [0, K).
        weight: float64 > 0.
    """

    row: NDArray[np.int64]
    label: NDArray[np.int64]
    weight: NDArray[np.float64]


def selected_rows(selection: Selection) -> SelectedRows:
    """A selection of points without spatial dimensions as weighted rows with hard labels.

    The weighted cross-entropy of these rows is that of the selection: a soft target ``t`` of weight ``w`` becomes a row
    of weight ``w·t_k`` for each class k.

    Args:
        selection: with tensors ``(B,)``, on the CPU.

    Example:
        >>> import torch
        >>> from residual_ssl import FixedThreshold
        >>> selected_rows(FixedThreshold(0.9)(torch.tensor([[0.0, 0.0], [0.0, 4.0]])))
        SelectedRows(row=array([1]), label=array([1]), weight=array([1.]))
    """
    if selection.target is None:
        row = np.flatnonzero(selection.weight.numpy() > 0)
        return SelectedRows(row, selection.label.numpy()[row], selection.weight.double().numpy()[row])
    shares = (selection.weight.unsqueeze(1) * selection.target).double().numpy()
    row, label = np.nonzero(shares > 0)
    return SelectedRows(row, label, shares[row, label])
