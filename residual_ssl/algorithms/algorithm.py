"""The interface of an algorithm: which views are predicted, who teaches, which terms make the loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.runtime.checkpoint import restore_weights
from residual_ssl.selection import Selection
from residual_ssl.task import Batch, Task


@dataclass(frozen=True)
class StepOutput:
    """What one training step computed.

    Attributes:
        loss: scalar to differentiate.
        terms: detached scalars to log, by name.
        selection: the selection on the unlabelled batch, None where the algorithm made none.
    """

    loss: Tensor
    terms: Mapping[str, Tensor]
    selection: Selection | None = None


class Algorithm(nn.Module, ABC):
    """Turns batches into a loss. State (a teacher, a selector's thresholds) lives in buffers and goes into checkpoints.

    Attributes:
        needs_unlabelled: False where the algorithm never reads the unlabelled batch.
        needs_index: True where batches must hold ``index``, int64 ``(B,)``: the place of each sample in its set.
    """

    needs_unlabelled: bool = True
    needs_index: bool = False

    def build_model(self, task: Task) -> nn.Module:
        """The student to train: a model of the task, unless the algorithm trains several."""
        return task.build_model()

    def start_from(self, model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
        """Give a new student the weights of a finished run, read from ``path``.

        They are those of a student of the same kind, or of the evaluated network alone where the student holds that
        as ``network`` beside parts that only training needs, which then are new.

        Raises:
            CheckpointError: weights that do not fit.
        """
        network = getattr(model, "network", None)
        alone = isinstance(network, nn.Module) and not any(name.startswith("network.") for name in weights)
        restore_weights(network if alone else model, weights, path)  # type: ignore[arg-type]

    def attach(self, model: nn.Module) -> None:
        """Called once with the student before training, to copy what the algorithm keeps of it."""

    def on_train_start(self, total_steps: int) -> None:
        """Called once before the first of a new run's ``steps`` steps, after :meth:`attach`; not when one continues."""

    def see_data(self, task: Task, labelled: Dataset[Batch], unlabelled: Dataset[Batch] | None) -> None:
        """Called after :meth:`on_train_start` with the training sets that the run reads, for what depends on them."""

    @abstractmethod
    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        """Loss of one step on batches that are on the model's device."""

    def after_step(self, model: nn.Module) -> None:
        """Called with the unwrapped student after each optimiser step."""

    def evaluated(self, model: nn.Module) -> nn.Module:
        """The network to evaluate and to predict with: the student, unless the algorithm keeps a better one."""
        return model
