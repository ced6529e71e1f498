"""What a run amounts to on this machine: computed once, printed and saved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from residual_ssl.config.settings import Settings
from residual_ssl.engine.setup.training_data import TrainingData
from residual_ssl.task import Task

EFFECTIVE_NAME = "effective.json"


def effective_values(
    settings: Settings,
    task: Task,
    data: TrainingData,
    model: nn.Module,
    rates: Sequence[float],
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Plain values, ready for JSON.

    Args:
        settings: as given.
        task: of the run.
        data: opened.
        model: not wrapped.
        rates: learning rate of each parameter group, after scaling and before the schedule.
        accelerator: device and processes.
    """
    gpu = accelerator.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if gpu else str(accelerator.device),
        "processes": accelerator.num_processes,
        "precision": settings.precision,
        "labelled_batch": settings.labelled_batch,
        "unlabelled_batch": None if data.unlabelled is None else settings.unlabelled_batch,
        "accumulate": settings.accumulate,
        "steps": data.steps,
        "epoch_steps": data.epoch_steps,
        "evaluate_every": settings.evaluate_every,
        "learning_rates": list(rates),
        "reference_batch": settings.reference_batch,
        "model": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "samples": data.counts,
        "chosen_by": task.choose_by or task.main_metric,
    }


def effective_lines(values: dict[str, Any], settings: Settings, step: int, num_classes: int) -> str:
    """The values for the console, one to a line."""
    unlabelled, accumulate, reference = values["unlabelled_batch"], values["accumulate"], values["reference_batch"]
    shown = {
        "run directory": settings.run_dir + (f" (continued from step {step})" if step else ""),
        "device": f"{values['device']}, {values['processes']} process(es), precision {values['precision']}",
        "global batch": f"{values['labelled_batch']} labelled"
        + (f" + {unlabelled} unlabelled" if unlabelled else "")
        + (f", in {accumulate} micro-batches per process" if accumulate > 1 else ""),
        "steps": f"{values['steps']}"
        + (f" ({settings.epochs:g} epochs of {values['epoch_steps']:.6g})" if values["epoch_steps"] else "")
        + f", evaluation every {values['evaluate_every']}",
        "learning rate": ", ".join(f"{rate:g}" for rate in values["learning_rates"])
        + (f" (scaled by {values['labelled_batch']}/{reference})" if reference else ""),
        "model": f"{values['model']}, {values['parameters'] / 1e6:.2f} M parameters, {num_classes} classes",
        "samples": ", ".join(f"{count} {name}" for name, count in values["samples"].items()),
        "best checkpoint": f"chosen by {values['chosen_by']}",
    }
    return "\n".join(f"{name:>20}  {value}" for name, value in shown.items())
