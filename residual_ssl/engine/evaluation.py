"""Evaluation of a model on a task's validation set."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import Subset

from residual_ssl.engine.equal_sizes import equal_size_batches
from residual_ssl.engine.setup.loading import to_device
from residual_ssl.task import Task


@torch.no_grad()
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
    """Figures of a model on the validation set; each process sees its share and the metric adds them up.

    Args:
        task: gives data, inference and metric.
        model: on ``device``; returned in the mode it came in.
        device: where to compute.
        batch: samples a batch, fewer where sizes differ or images are large.
        workers: data loading processes.
        process, processes: rank and world size.

    Returns:
        As :meth:`residual_ssl.Task.summary`.
    """
    data = task.validation()
    share = Subset(data, range(process, len(data), processes))  # type: ignore[arg-type]
    metric = task.metric().to(device)
    training = model.training
    model.eval()
    for samples in equal_size_batches(share, batch, workers):
        samples = to_device(samples, device)
        metric.update(task.predict(model, samples["input"]), samples["target"])
    model.train(training)
    return task.summary(metric.compute())
