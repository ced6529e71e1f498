"""Networks of other libraries, which return more than logits or smaller ones, as networks that map inputs to logits."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import ConfigError
from residual_ssl.models.encoder_decoder import EncoderDecoder
from residual_ssl.models.segmentation_model import SegmentationModel
from residual_ssl.models.wrapped.input_channels import RGB, adapt_channels

#: Names of the logits in an output: of transformers, of torchvision.
KEYS = ("logits", "out")


class LogitsAlone(nn.Module):
    """The logits of a network whose output is a mapping or a tuple, enlarged to the size of its input.

    Of a mapping the entry ``"logits"`` (transformers) or ``"out"`` (torchvision) is taken, of a tuple the first entry.
    Logits ``(B, K, h, w)`` of another size than the images ``(B, C, H, W)`` are enlarged bilinearly, as both libraries
    do in their own evaluation.

    Args:
        network: maps inputs to an output of that kind.

    Example:
        >>> class Network(nn.Module):
        ...     def forward(self, x):
        ...         return {"out": x[:, :2, ::2, ::2], "aux": None}
        >>> LogitsAlone(Network())(torch.zeros(1, 3, 6, 8)).shape
        torch.Size([1, 2, 6, 8])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def encoder(self) -> Any:
        """The network's pretrained part, for learning rates; None where it names none."""
        return getattr(self.network, "encoder", None)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = logits_in(self.network(x))
        if logits.dim() == x.dim() == 4 and logits.shape[2:] != x.shape[2:]:
            return F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)
        return logits


def logits_in(output: Any) -> Any:
    """What an output holds as logits: itself, the entry of :data:`KEYS` of a mapping, the first of a tuple or list."""
    if isinstance(output, Mapping):
        return next((output[key] for key in KEYS if key in output), output)
    return output[0] if isinstance(output, tuple | list) and output else output


def built_network(factory: Callable[..., nn.Module], num_classes: int, example: Tensor) -> nn.Module:
    """The network that ``factory(num_classes=K)`` makes, as :func:`as_logits_network` gives it.

    For images of other than three channels the argument ``in_channels`` is given too, where the factory has it; the
    first convolution of other networks is changed, see :func:`adapt_channels`.

    Args:
        factory: any callable.
        num_classes: K.
        example: as of :func:`as_logits_network`.

    Raises:
        ConfigError: a factory that takes no ``num_classes`` or needs more, or that makes no network.
    """
    name = getattr(getattr(factory, "func", factory), "__name__", repr(factory))
    arguments = {"num_classes": num_classes}
    channels = len(example) if example.dim() == 3 else RGB
    try:
        signature = inspect.signature(factory)
        if channels != RGB and "in_channels" in signature.parameters and "in_channels" not in _given(factory):
            arguments["in_channels"] = channels
        signature.bind(**arguments)
    except TypeError as error:
        listed = ", ".join(f"{key}={value}" for key, value in arguments.items())
        raise ConfigError(f"model: {name} is called as {name}({listed}), and {error}") from error
    except ValueError:  # a callable that does not tell its arguments
        pass
    network = factory(**arguments)
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"model: {name} gives a {type(network).__name__}, expected a torch.nn.Module that maps inputs to logits"
        )
    if channels != RGB and "in_channels" not in {**_given(factory), **arguments}:
        adapt_channels(network, channels)
        if isinstance(network, SegmentationModel):
            network.in_channels = channels
    return as_logits_network(network, example, num_classes)


def settled_model(factory: Any) -> dict[str, Any]:
    """What a network's ``settled(**arguments)`` says of the arguments it is made with, under ``"model"``.

    For :meth:`residual_ssl.Task.settled`; empty for networks that have no such function.
    """
    settled = getattr(getattr(factory, "func", None), "settled", None)
    found = {} if settled is None else settled(**_given(factory))
    return {"model": found} if found else {}


def _given(factory: Any) -> dict[str, Any]:
    """Arguments that a partial function holds."""
    return dict(getattr(factory, "keywords", {}))


@torch.no_grad()
def as_logits_network(network: nn.Module, example: Tensor, num_classes: int) -> nn.Module:
    """The network itself where it maps inputs to logits of their size, else :class:`LogitsAlone` of it.

    Args:
        network: any; one that fails on the example is given back as it is, to be found out by a check that says so.
        example: an input without the batch's dimension, as the network is shown it.
        num_classes: K; maps of another number of channels are left as they are.
    """
    if isinstance(network, EncoderDecoder):
        return network
    training = network.training
    try:
        output = network.eval()(example.unsqueeze(0))
    except Exception:
        return network
    finally:
        network.train(training)
    logits = logits_in(output)
    coarse = isinstance(logits, Tensor) and logits.dim() == 4 and logits.shape[2:] != example.shape[1:]
    coarse = coarse and logits.shape[1] == num_classes
    return LogitsAlone(network) if isinstance(logits, Tensor) and (coarse or logits is not output) else network
