"""What algorithms share whose student projects its highest features beside its logits."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import nn

from residual_ssl.algorithms.consistency import ConsistencyAlgorithm
from residual_ssl.errors import ConfigError
from residual_ssl.models.encoder_decoder import EncoderDecoder
from residual_ssl.task import Task


class ProjectingConsistency(ConsistencyAlgorithm):
    """A :class:`ConsistencyAlgorithm` with a network around the task's, which holds that as ``network``.

    Args:
        settings, named: as of :class:`ConsistencyAlgorithm`; no branch that perturbs features.

    Raises:
        ConfigError: a branch that perturbs features; a network that is no
            :class:`~residual_ssl.models.EncoderDecoder`; a task whose points are neither samples nor
            places of its input.
    """

    def __init__(self, *settings: Any, **named: Any) -> None:
        super().__init__(*settings, **named)
        if self.feature is not None:
            raise ConfigError(
                f"algorithm.branches: got {self.feature}, which perturbs features, expected input branches alone"
            )

    @abstractmethod
    def around(self, network: nn.Module, channels: int, num_classes: int) -> nn.Module:
        """The student around a network whose highest features have so many channels."""

    def build_model(self, task: Task) -> nn.Module:
        network, name = task.build_model(), type(self).__name__
        if not isinstance(network, EncoderDecoder):
            raise ConfigError(
                f"model: {type(network).__name__} maps inputs to logits alone, and {name} projects features; give an "
                "EncoderDecoder of residual_ssl.models, or choose another algorithm"
            )
        shown = task.view(task.example().unsqueeze(0), "plain")
        training = network.training
        with torch.no_grad():
            features = network.eval().encode(shown)[-1]
            logits = network(shown)
        places = logits.dim() == 2 or logits.shape[2:] == shown.shape[2:]
        if task.num_values or logits.dim() != features.dim() or not places:
            raise ConfigError(
                f"algorithm: {name} compares points by the features at their place, and a point of "
                f"{type(task).__name__} is no place of its input; choose another algorithm"
            )
        return self.around(network.train(training), features.shape[1], task.num_classes)

    def evaluated(self, model: nn.Module) -> nn.Module:
        return super().evaluated(model).network  # type: ignore[return-value]
