"""Evaluation of a model on a task's validation set."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import Subset

from residual_ssl.engine.equal_sizes import equal_size_batches
from residual_ssl.engine.setup.loading import to_device
from residual_ssl.errors import ResidualSSLError, ResidualSSLWarning
from residual_ssl.task import Batch, Task


class NonFiniteLogitsError(ResidualSSLError):
    """Logits of an evaluation that are not finite: metrics of them would mean nothing.

    Attributes:
        share: how many points have such logits.
    """

    def __init__(self, wrong: int, points: int) -> None:
        self.share = f"{wrong} of {points} points of the validation set"
        super().__init__(
            f"logits: not finite for {self.share}; metrics of them would mean nothing. Look for damaged weights or "
            "inputs; another checkpoint of the run may be good"
        )


@dataclass(frozen=True)
class Evaluation:
    """What one pass over the validation set found.

    Attributes:
        metrics: as :meth:`residual_ssl.Task.summary`, without those that are not a number; empty without samples.
        only_class: the class that every point was predicted as; None where there were several, or no point.
    """

    metrics: dict[str, float]
    only_class: int | None = None


def evaluate_model(
    task: Task,
    model: nn.Module,
    device: torch.device,
    *,
    batch: int = 1,
    workers: int = 0,
    process: int = 0,
    processes: int = 1,
) -> dict[str, float]:
    """Measure a model on the validation set; each process sees its share and the metric adds them up.

    Args:
        task: gives data, inference and metric.
        model: on ``device``; returned in the mode it came in.
        device: where to compute.
        batch: samples a batch, fewer where sizes differ or images are large.
        workers: data loading processes.
        process, processes: rank and world size.

    Returns:
        As :meth:`residual_ssl.Task.summary`, without metrics that are not a number, for want of labels say; with a
        warning where no point has a label. Empty where the set is.

    Raises:
        NonFiniteLogitsError: logits that are not finite.
    """
    return evaluated(task, model, device, batch=batch, workers=workers, process=process, processes=processes).metrics


@torch.no_grad()
def evaluated(
    task: Task,
    model: nn.Module,
    device: torch.device,
    *,
    batch: int = 1,
    workers: int = 0,
    process: int = 0,
    processes: int = 1,
    before_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """As :func:`evaluate_model`, with what a run watches.

    Args:
        before_batch: called as often on all processes, also on one that has run out of batches.
    """
    data = task.validation()
    size = len(data)  # type: ignore[arg-type]
    if not size:
        return Evaluation({})
    share = Subset(data, range(process, size, processes))
    metric = task.metric().to(device)
    counts = torch.zeros(3, dtype=torch.int64, device=device)  # points, with a label, with logits that are not finite
    extremes = torch.tensor([task.num_classes, 0], device=device)  # lowest class predicted, and highest, negated
    training = model.training
    model.eval()
    try:
        rounds = 0
        for samples in equal_size_batches(share, batch, workers):
            before_batch()
            rounds += 1
            samples = to_device(samples, device)
            output, target = task.predict(model, samples["input"]), samples["target"]
            metric.update(output, target, **further_entries(samples))
            logits, _ = task.parted(output)
            # The largest is not finite where any is NaN or +inf; single classes of probability 0 may be -inf.
            largest, label = logits.max(1)
            known = target != task.ignore_index
            counts += torch.stack(
                [torch.as_tensor(target.numel(), device=device), known.sum(), (~largest.isfinite()).sum()]
            )
            extremes = torch.minimum(extremes, torch.stack([label.min(), -label.max()]))
        for _ in range(rounds, math.ceil(size / processes)):  # other processes may have more batches
            before_batch()
    finally:
        model.train(training)
    if processes > 1 and dist.is_initialized():
        dist.all_reduce(counts)
        dist.all_reduce(extremes, op=dist.ReduceOp.MIN)
    points, labelled, wrong = counts.tolist()
    if wrong:
        raise NonFiniteLogitsError(wrong, points)
    metrics = {name: value for name, value in task.summary(metric.compute()).items() if not math.isnan(value)}
    if not labelled and task.choose_by is None and process == 0:
        warnings.warn(
            f"validation: none of {points} points of the validation set has a label, all are {task.ignore_index} "
            "(ignore_index); no metric is known. Look at dataset.validation, its masks and their label map",
            ResidualSSLWarning,
            stacklevel=3,
        )
    low, high = extremes[0].item(), -extremes[1].item()
    return Evaluation(metrics, int(low) if low == high and points > 1 else None)


def further_entries(samples: Batch) -> Batch:
    """What samples of a validation set hold for the metric alone."""
    return {name: value for name, value in samples.items() if name not in ("input", "target")}
