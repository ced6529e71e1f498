"""Early-learning regularisation: predictions stay near earlier ones, from before wrong labels were learned by heart."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss, Seen, mean_over
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.arguments import NotNegative, ShareBelowOne, checked
from residual_ssl.selection.points.past_points import gathered

# The released code keeps probabilities within these bounds, so that no logarithm is infinite.
_LEAST = 1e-4


class EarlyLearning(AuxiliaryLoss):
    """ELR: a term that pulls each prediction to a running average of its own past ones.

    With the probabilities p of a sample, clamped to [1e-4, 1 - 1e-4]::

        t ← β·t + (1-β)·p/Σp,    L = mean log(1 - ⟨p, t⟩)

    Networks learn what is right in most labels before they learn by heart what is wrong in some; the term keeps the
    gradient of what was learned early. L is negative, and -9.2 at its least.

    Args:
        weight: λ; 3 as published for CIFAR-10, 7 for CIFAR-100.
        momentum: β in [0, 1); .7 as published for CIFAR-10, .9 for CIFAR-100.
        on: the batch whose labels are doubted: ``"unlabelled"``, on its plain view, where pseudo-labels teach, or
            ``"labelled"``, the published setting.
        targets: where t comes from: ``"memory"``, of every sample, as above; ``"teacher"``, the prediction of the
            algorithm's teacher, for points that are places of an input, which crops move: with an EMA teacher the
            average is of weights in place of predictions, as in ELR+.

    Raises:
        ConfigError: targets by a teacher on the labelled batch; memory for points that are not whole samples.

    State: with ``targets="memory"``, t of every sample, float32 ``(N, K)``, the same in all processes.

    Source: Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, arXiv 2007.00151, eq. 6
    and 9; on pseudo-labels of a target domain, arXiv 2301.13381.
    """

    memory: Tensor
    sized_by_data = ("memory",)

    @checked
    def __init__(
        self,
        weight: NotNegative = 3.0,
        momentum: ShareBelowOne = 0.7,
        on: Literal["unlabelled", "labelled"] = "unlabelled",
        targets: Literal["memory", "teacher"] = "memory",
    ) -> None:
        super().__init__(regularisation=weight)
        if on == "labelled" and targets == "teacher":
            raise ConfigError(
                "EarlyLearning: got targets 'teacher' on 'labelled', expected 'memory' there: the teacher predicts the "
                "unlabelled batch alone"
            )
        self.momentum = momentum
        self.on = on
        self.targets = targets
        self.needs_unlabelled = on == "unlabelled"
        self.needs_index = targets == "memory"
        self.register_buffer("memory", torch.zeros(0, 0))

    def prepare(self, num_classes: int, labelled: int, unlabelled: int) -> None:
        if self.targets == "memory":
            self.set_state("memory", torch.zeros(labelled if self.on == "labelled" else unlabelled, num_classes))

    def terms(self, seen: Seen) -> dict[str, Tensor]:
        prediction = seen.labelled if self.on == "labelled" else seen.plain
        assert prediction is not None
        points = seen.target != seen.ignore_index if self.on == "labelled" else seen.valid
        p = _clamped(prediction.logits)
        t = self._remembered(p, seen) if self.targets == "memory" else _taught(seen)
        return {"regularisation": mean_over((1 - (p * t.to(p.dtype)).sum(1)).log(), points)}

    @torch.no_grad()
    def _remembered(self, p: Tensor, seen: Seen) -> Tensor:
        index = seen.index[0 if self.on == "labelled" else 1]
        if index is None:
            raise ConfigError("EarlyLearning: got batches without an index, expected those of a run of this library")
        if p.dim() != 2:
            raise ConfigError(
                "EarlyLearning: got targets 'memory' for points that are places of an input, which crops move; "
                "expected targets 'teacher', and algorithm.ema_decay"
            )
        new = p / p.sum(1, keepdim=True)
        target = self.momentum * self.memory[index] + (1 - self.momentum) * new.to(self.memory.dtype)
        rows = torch.cat([gathered(column) for column in target.T.unbind()]).reshape(self.memory.shape[1], -1).T
        self.memory[gathered(index)] = rows
        return target


def _clamped(logits: Tensor) -> Tensor:
    wide = logits.float() if logits.itemsize < 4 else logits
    return wide.softmax(1).clamp(_LEAST, 1 - _LEAST)


def _taught(seen: Seen) -> Tensor:
    if seen.teaching is None:
        raise ConfigError("EarlyLearning: got targets 'teacher' and no teacher; choose an algorithm with a selector")
    p = _clamped(seen.teaching)
    return p / p.sum(1, keepdim=True)
