"""A network with heads beside its classifier, on the features that the classifier sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import ConfigError

#: Makes a linear layer from features of one width to another, at each point: ``layer(in, out)``.
PointLayer = Callable[[int, int], nn.Module]
#: Makes a head, or none: ``head(width of the features, K, layer)``.
HeadBuilder = Callable[[int, int, PointLayer], nn.Module | None]

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class NetworkWithHeads(nn.Module):
    """A network whose last layer, the classifier, has heads beside it.

    ``forward`` takes what the network's takes and gives its logits ``(B, K, *S)`` followed, in further channels, by the
    outputs of the heads, ``(B, K + C_1 + C_2 + …, *S)``: one tensor of one pass, that is concatenated and cut like the
    logits, by distributed training and moving averages as well. Outputs of a coarser map than the logits are enlarged
    linearly with aligned corners. :meth:`split` takes them apart.

    Args:
        network: maps inputs to logits; its last linear layer or convolution with K outputs is the classifier.
        num_classes: K.
        heads: makes each head, by name; a head maps the classifier's input ``(B, D, *s)`` to ``(B, C, *s)``.

    Raises:
        ConfigError: a network without such a layer.

    Example:
        >>> network = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> both = NetworkWithHeads(network, 3, {"detector": lambda width, classes, layer: layer(width, 2 * classes)})
        >>> outputs = both(torch.zeros(4, 5))
        >>> {name: tuple(part.shape) for name, part in both.split(outputs).items()}
        {'logits': (4, 3), 'detector': (4, 6)}
        >>> torch.equal(outputs[:, :3], network(torch.zeros(4, 5)))
        True
    """

    def __init__(self, network: nn.Module, num_classes: int, heads: Mapping[str, HeadBuilder]) -> None:
        super().__init__()
        name, classifier = _classifier(network, num_classes)
        self.network = network
        self._classifier = name
        dimensions = 0 if isinstance(classifier, nn.Linear) else classifier.weight.dim() - 2
        width = classifier.in_features if isinstance(classifier, nn.Linear) else classifier.in_channels
        layer = _point_layer(dimensions)
        made = {name: make(width, num_classes, layer) for name, make in heads.items()}
        self.heads = nn.ModuleDict({name: head for name, head in made.items() if head is not None})
        self.channels = {"logits": num_classes}
        for name, head in self.heads.items():
            with torch.no_grad():
                self.channels[name] = head.eval()(torch.zeros(1, width, *[1] * dimensions)).shape[1]
            head.train(network.training)

    @property
    def encoder(self) -> nn.Module | None:
        """The network's pretrained part, for learning rates."""
        return getattr(self.network, "encoder", None)

    @property
    def parameter_layers(self) -> Callable[[], list[list[nn.Parameter]]]:
        """The parameters of each layer, where the network names its own; the heads belong to the last one."""
        of_network = self.network.parameter_layers

        def layers() -> list[list[nn.Parameter]]:
            *below, last = of_network()  # type: ignore[operator]
            return [*below, [*last, *self.heads.parameters()]]

        return layers

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        seen: list[Tensor] = []
        # For this call alone, so that copies of the network look at their own features.
        classifier = self.network.get_submodule(self._classifier)
        handle = classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            logits: Tensor = self.network(*inputs, **named)
        finally:
            handle.remove()
        (features,) = seen
        return torch.cat([logits, *(_enlarged(head(features), logits) for head in self.heads.values())], dim=1)

    def split(self, outputs: Tensor) -> dict[str, Tensor]:
        """``"logits"`` ``(B, K, *S)`` and the output of each head by its name, of what :meth:`forward` gives."""
        parts = torch.split(outputs, list(self.channels.values()), dim=1)
        return dict(zip(self.channels, parts, strict=True))


def _classifier(network: nn.Module, num_classes: int) -> tuple[str, Any]:
    found: tuple[str, Any] | None = None
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            outputs = module.out_features
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            outputs = module.out_channels
        else:
            continue
        if outputs == num_classes:
            found = name, module
    if found is None:
        raise ConfigError(
            f"model: {type(network).__name__} has no linear layer or convolution with {num_classes} outputs, beside "
            "which this algorithm could put its heads; give a network that ends in one"
        )
    return found


def _point_layer(dimensions: int) -> PointLayer:
    if not dimensions:
        return nn.Linear
    convolution = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    return lambda width, out: convolution(width, out, 1)


def _enlarged(output: Tensor, logits: Tensor) -> Tensor:
    size = logits.shape[2:]
    if output.shape[2:] == size:
        return output
    return F.interpolate(output, size=size, mode=_MODES[len(size)], align_corners=True)
