"""Self-training that begins with the images on which earlier states of the teacher agree with its last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from residual_ssl.algorithms.branches import Branch
from residual_ssl.algorithms.consistency import ConsistencyAlgorithm
from residual_ssl.algorithms.frozen_teacher import FrozenTeacher
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.runtime.arguments import Index, PositiveShare, checked
from residual_ssl.selection import Selector
from residual_ssl.selection.features import judged_points
from residual_ssl.selection.weights.st_plus_plus import image_stability
from residual_ssl.task import Batch, Task


class ReliableImages(ConsistencyAlgorithm):
    """A :class:`ConsistencyAlgorithm` that trains on a part of the unlabelled images: those its teacher has settled on.

    Before the first step all unlabelled images are ranked by their stability ``s = mean_j mIoU(y_j, y)``, the agreement
    of the labels of J earlier states of the teacher with those of its last, over the classes that either predicts. The
    others are left out of the training. A run that continues ranks them again, by the same networks.

    Args:
        selector, branches, labelled_weight: as of :class:`ConsistencyAlgorithm`.
        teacher_from: checkpoints of one finished run, in order, at least two; the last one teaches.
        share: of the images to train on, in (0, 1].
        background: class that the mean leaves out, as the released code leaves out the first; None: none.

    Raises:
        ConfigError: fewer than two checkpoints.

    Source: ST++, arXiv 2106.05095, §3.3. Images are ranked as they are; of a task that knows its unlabelled inputs
    under weak augmentation alone, as the training set draws them once.
    """

    @checked
    def __init__(
        self,
        selector: Selector,
        branches: Mapping[str, Branch],
        teacher_from: str | Sequence[str],
        labelled_weight: float = 1.0,
        share: PositiveShare = 0.5,
        background: Index | None = None,
    ) -> None:
        super().__init__(selector, branches, labelled_weight, teacher_from=teacher_from)
        if len(self.teacher_from) < 2:
            raise ConfigError(
                f"algorithm.teacher_from: got {teacher_from}, expected two checkpoints of one run or more, in order"
            )
        self.share = share
        self.background = background

    @torch.no_grad()
    def chosen_unlabelled(self, task: Task, unlabelled: Dataset[Batch]) -> Dataset[Batch]:
        stability = torch.tensor([self._stability(task, unlabelled, i) for i in range(len(unlabelled))])  # type: ignore[arg-type]
        count = max(1, int(len(stability) * self.share))
        return ChosenSamples(unlabelled, stability.argsort(descending=True, stable=True)[:count].tolist())

    def _stability(self, task: Task, unlabelled: Any, index: int) -> float:
        """Of one image; below all others where it cannot be read."""
        assert isinstance(self.teacher, FrozenTeacher)
        try:
            x = task.unlabelled_input(index)
            sample = {"input": x} if x is not None else unlabelled[index, index]
        except (DataError, MissingDataError):
            return -1.0
        device = next(self.teacher.parameters()).device
        inputs = sample["input"].unsqueeze(0).to(device)
        valid = sample["valid"].unsqueeze(0).to(device) if "valid" in sample else None
        *earlier, last = (judged_points(task.predict(network, inputs), valid) for network in self.teacher.networks)
        labels = torch.stack([points.label for points in earlier])
        return image_stability(last.label, labels, last.valid, task.num_classes, self.background).item()


class ChosenSamples(Dataset[Batch]):
    """Some samples of a training set, by ``(index, draw)``.

    Args:
        samples: the training set.
        places: of those to keep.
    """

    def __init__(self, samples: Dataset[Batch], places: Sequence[int]) -> None:
        self.samples = samples
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        return self.samples[self.places[key[0]], key[1]]
