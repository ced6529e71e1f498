"""Learning from the future: the teacher is moved by students that have taken virtual steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from residual_ssl.algorithms.algorithm import StepOutput
from residual_ssl.algorithms.branches import Branch
from residual_ssl.algorithms.consistency import ConsistencyAlgorithm
from residual_ssl.runtime.arguments import Count, Positive, checked
from residual_ssl.selection import Selector
from residual_ssl.task import Batch, Task


class LookAhead(ConsistencyAlgorithm):
    """A :class:`ConsistencyAlgorithm` whose EMA teacher follows the student's next steps before it labels.

    Before each step a copy of the student takes K virtual ones on the same batches, and the teacher moves towards it
    after each; then it labels the batch for the student itself, from where it was::

        θ' ← θ;  K times:  θ' ← θ' - γ ∇L(θ', φ),  φ ← μφ + (1-μ)θ';      then  θ ← θ - γ∇L(θ, φ),  φ ← μφ + (1-μ)θ

    The virtual steps are those of gradient descent at a constant rate, whatever the optimiser. The selector's memory
    follows the real steps alone. A step costs K + 1.

    Args:
        selector, branches, labelled_weight: as of :class:`ConsistencyAlgorithm`.
        ema_decay: μ.
        steps_ahead: K ≥ 1.
        rate: γ > 0.

    Source: FST-D, arXiv 2209.06993, §3.2 and 3.3, and its released code, where K = 3; there the optimiser takes the
    virtual steps, and keeps its moments of them.
    """

    @checked
    def __init__(
        self,
        selector: Selector,
        branches: Mapping[str, Branch],
        labelled_weight: float = 1.0,
        ema_decay: float = 0.999,
        steps_ahead: Count = 3,
        rate: Positive = 0.001,
    ) -> None:
        super().__init__(selector, branches, labelled_weight, ema_decay)
        self.steps_ahead = steps_ahead
        self.rate = rate

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        if unlabelled is not None and self.teacher is not None and self.selector is not None:
            student = model.module if isinstance(model, DistributedDataParallel) else model
            future = copy.deepcopy(student)
            learns = self.selector.training
            self.selector.eval()
            for _ in range(self.steps_ahead):
                loss = super().step(future, task, labelled, unlabelled).loss
                self._descend(future, loss)
                self.teacher.update(future)
            self.selector.train(learns)
        return super().step(model, task, labelled, unlabelled)

    def _descend(self, future: nn.Module, loss: Tensor) -> None:
        """One step of gradient descent, with the mean gradient of all processes."""
        learned = [parameter for parameter in future.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(loss, learned, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(learned, gradients, strict=True):
                if gradient is None:
                    continue
                mean = over_processes(gradient)
                # What is not finite would stay in the teacher for good.
                parameter.sub_(self.rate * mean.nan_to_num(0.0, 0.0, 0.0))


def over_processes(gradient: Tensor) -> Tensor:
    """The mean of a tensor over the processes of a run."""
    if not (dist.is_available() and dist.is_initialized()):
        return gradient
    total = gradient.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
