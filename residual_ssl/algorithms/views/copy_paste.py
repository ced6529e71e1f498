"""The branch of BCP: labelled and unlabelled samples pasted into each other, and judged by origin."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.algorithms.branches import Branch
from residual_ssl.losses.dice import dice_loss
from residual_ssl.perturbations.bidirectional_paste import BidirectionalPaste
from residual_ssl.runtime.arguments import NotNegative, checked
from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.selection import Selection
from residual_ssl.task import Batch, Task


@dataclass(frozen=True)
class PastedSelection(Selection):
    """A selection that knows which of its points have true labels.

    Attributes:
        known: bool ``(B, *S)``.
    """

    known: Tensor | None = None


class CopyPasteBranch(Branch):
    """Samples of both batches pasted into each other; true labels and pseudo-labels each have a mean of their own.

    With M the points of a direction's samples that show labelled ones, and U the others::

        L = ½ Σ_directions [ℓ(M; 1) + α·ℓ(U; w)],    ℓ(P; w) = Σ_P w·CE / #P + Dice(P; w)

    Args:
        weight: factor of its loss term.
        paste: draws the points.
        unlabelled_weight: α ≥ 0.
        view: view of the mixed inputs.

    Source: BCP, arXiv 2305.00673, eq. 4 to 8, and its released code: the two losses are added, and halved.
    """

    @checked
    def __init__(
        self,
        weight: float,
        paste: BidirectionalPaste | None = None,
        unlabelled_weight: NotNegative = 0.5,
        view: str = "plain",
    ) -> None:
        super().__init__(weight)
        self.paste = BidirectionalPaste() if paste is None else paste
        self.unlabelled_weight = unlabelled_weight
        self.view = view

    def shown(
        self, task: Task, inputs: Tensor, selection: Selection | None, labelled: Batch | None = None
    ) -> tuple[Tensor, Selection]:
        assert selection is not None
        assert labelled is not None
        target = labelled["target"]
        partners, known = self.paste(target, task.num_classes, task.ignore_index, len(inputs))
        mixed = torch.where(known.unsqueeze(1), labelled["input"][partners], inputs)
        chosen = selection.with_labels(target[partners], known)
        parts = {field.name: getattr(chosen, field.name) for field in fields(chosen)}
        return task.view(mixed, self.view), PastedSelection(**parts, known=known)

    def term(self, logits: Tensor, selection: Selection | None, valid: Tensor | None) -> Tensor:
        assert isinstance(selection, PastedSelection)
        assert selection.known is not None
        wide = logits.float() if logits.itemsize < 4 else logits
        error = F.cross_entropy(wide, selection.label, reduction="none")
        total = logits.new_zeros((), dtype=wide.dtype)
        for first in (0, 1):
            rows = slice(first, None, 2)
            known, judged = selection.known[rows], selection.valid[rows]
            for points, factor in ((known, 1.0), (judged & ~known, self.unlabelled_weight)):
                weight = selection.weight[rows] * points
                mean = (error[rows] * weight).sum() / mean_count(points.sum())
                total = total + factor * (mean + dice_loss(wide[rows], selection.label[rows], weight))
        return total / 2
