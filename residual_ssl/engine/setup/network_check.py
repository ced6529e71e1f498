"""A network tried on one sample before training, so that what does not fit is one line and no traceback."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.errors import ConfigError, ResidualSSLError
from residual_ssl.task import Batch, Task


@torch.no_grad()
def check_network(task: Task, network: nn.Module, sample: Batch) -> None:
    """Predict a labelled sample and compare what comes with what the task needs.

    Args:
        task: gives the view and the number of classes.
        network: the one that is evaluated, on the CPU; left in the mode that it came in.
        sample: of the labelled training set.

    Raises:
        ConfigError: no tensor, another shape or number of classes than the targets ask for, or an error in the network.
    """
    inputs, target = sample["input"].unsqueeze(0), sample["target"].unsqueeze(0)
    name, training = type(network).__name__, network.training
    network.eval()
    try:
        found: Any = network(task.view(inputs, "plain"))
    except ResidualSSLError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(f"model: {name} fails on an input of shape {tuple(inputs.shape)}: {reason}") from error
    finally:
        network.train(training)
    expected = (1, task.num_classes, *target.shape[1:])
    if not isinstance(found, Tensor):
        keys = f" with the keys {', '.join(map(str, found))}" if isinstance(found, dict) else ""
        raise ConfigError(
            f"model: {name} returns a {type(found).__name__}{keys}, expected logits, a tensor {expected}, or them "
            "under the key logits or out; wrap it in a module that returns these alone"
        )
    if tuple(found.shape) == expected:
        return
    hint = ""
    if found.dim() >= 2 and found.shape[1] == 1 and task.num_classes == 2:
        hint = "; give a binary problem two logits: torch.stack([-x / 2, x / 2], dim=1)"
    elif found.dim() >= 2 and found.shape[1] != task.num_classes:
        hint = f"; make it with num_classes={task.num_classes}"
    raise ConfigError(f"model: {name} returns logits {tuple(found.shape)}, expected {expected}{hint}")
