"""A network tried on one sample before training, so that what does not fit is one line and no traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.errors import ConfigError, ResidualSSLError
from residual_ssl.models import LogitsAlone
from residual_ssl.task import Batch, Task

# Points of the largest validation sample that is tried: on the CPU it takes seconds at most.
_MOST_POINTS = 2**20


def check_network(task: Task, network: nn.Module, sample: Batch) -> None:
    """Predict a labelled sample, and one of the validation set where that is of another size, and look at what comes.

    Args:
        task: gives the view and the number of classes.
        network: the one that is evaluated, on the CPU; left in the mode that it came in.
        sample: of the labelled training set.

    Raises:
        ConfigError: no tensor, another shape or number of classes than the targets ask for, logits without a gradient,
            or an error in the network.
    """
    inputs, target = sample["input"].unsqueeze(0), sample["target"].unsqueeze(0)
    own = network.network if isinstance(network, LogitsAlone) else network
    name = type(own).__name__
    found = _tried(network, name, inputs, lambda: network(task.view(inputs, "plain")))
    expected = (1, task.num_classes + task.num_values, *target.shape[1:])
    if not isinstance(found, Tensor):
        keys = f" with the keys {', '.join(map(str, found))}" if isinstance(found, dict) else ""
        raise ConfigError(
            f"model: {name} returns a {type(found).__name__}{keys}, expected logits, a tensor {expected}, or them "
            "under the key logits or out; wrap it in a module that returns these alone"
        )
    if tuple(found.shape) == expected:
        if not found.requires_grad:
            raise ConfigError(
                f"model: {name} returns logits without a gradient, so that it cannot learn; are its parameters frozen, "
                "or does it compute under torch.no_grad?"
            )
        _check_other_sizes(task, network, name, inputs)
        return
    hint = ""
    if found.dim() >= 2 and found.shape[1] == 1 and task.num_classes == 2:
        hint = "; give a binary problem two logits: residual_ssl.models.two_class_network(network, several=False)"
    elif found.dim() == len(expected) and found.shape[-1] == task.num_classes:
        hint = "; move the classes to dimension 1: logits.movedim(-1, 1)"
    elif found.dim() == len(expected) and found.shape[1] != task.num_classes:
        hint = f"; make it with num_classes={task.num_classes}"
    raise ConfigError(f"model: {name} returns logits {tuple(found.shape)}, expected {expected}{hint}")


@torch.no_grad()
def _check_other_sizes(task: Task, network: nn.Module, name: str, inputs: Tensor) -> None:
    validation: Any = task.validation()
    if not len(validation):
        return
    try:
        other = validation[0]["input"].unsqueeze(0)
    except ResidualSSLError:  # what cannot be read is told where it is evaluated
        return
    if other.shape != inputs.shape and other[0, 0].numel() <= _MOST_POINTS:
        _tried(network, name, other, lambda: task.predict(network, other))


def _tried(network: nn.Module, name: str, inputs: Tensor, call: Callable[[], Any]) -> Any:
    """What a network gives in evaluation mode."""
    training = network.training
    network.eval()
    try:
        return call()
    except ResidualSSLError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ConfigError(f"model: {name} fails on an input of shape {tuple(inputs.shape)}: {reason}") from error
    finally:
        network.train(training)
