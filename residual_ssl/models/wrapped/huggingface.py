"""Networks of Hugging Face transformers: semantic segmentation and image classification."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError, MissingDataError, MissingPackageError
from residual_ssl.models.encoder_decoder import EncoderDecoder, FeaturePerturbation
from residual_ssl.models.wrapped.input_channels import RGB, adapt_channels

_KINDS = {"segmentation": "AutoModelForSemanticSegmentation", "classification": "AutoModelForImageClassification"}
# Fields of what a base model returns that its head may read.
_FEATURES = ("hidden_states", "feature_maps", "last_hidden_state", "pooler_output")
# Entries of a configuration that say where it came from, or name classes that are not these.
_LEFT_OUT = ("architectures", "auto_map", "transformers_version", "_name_or_path", "id2label", "label2id", "dtype")


class HuggingFaceNetwork(EncoderDecoder):
    """A network of ``transformers`` (the extra ``hf``) for images, by its architecture or by weights.

    Maps images ``(B, C, H, W)`` to logits of their size, resized bilinearly as the library does, or to ``(B, K)``. The
    encoder is its base model, and what that gives its head are the features: all of them are perturbed, tokens with
    their channels as ``(B, D, N)``. No code that comes with weights is run, and weights are safetensors.

    Args:
        num_classes: K ≥ 2.
        kind: ``"segmentation"`` or ``"classification"``.
        architecture: the library's ``model_type``: ``"segformer"``, ``"upernet"``, ``"beit"``, ``"vit"``,
            ``"convnextv2"``, …; None for that of the weights.
        weights: a folder, or an id on the hub, as of ``from_pretrained``; a head of other classes starts anew. None for
            random weights.
        config: entries of the architecture's configuration, ``{"depths": [2, 2, 2, 2]}``; they have precedence over
            those of the weights.
        in_channels: C of the images; see :func:`~residual_ssl.models.adapt_channels` for weights of RGB.
        freeze_batchnorm, freeze_encoder: see :class:`~residual_ssl.models.EncoderDecoder`.

    Raises:
        MissingPackageError: the library is not installed.
        InvalidInputError: neither architecture nor weights; an architecture without such a network, or entries that it
            does not take.
        MissingDataError: weights that are not to be had.
    """

    _network: Any

    def __init__(
        self,
        num_classes: int,
        kind: Literal["segmentation", "classification"] = "segmentation",
        architecture: str | None = None,
        weights: str | None = None,
        config: Mapping[str, Any] | None = None,
        in_channels: int = RGB,
        freeze_batchnorm: bool = False,
        freeze_encoder: bool = False,
    ) -> None:
        network = _created(kind, architecture, weights, config or {}, num_classes, in_channels)
        prefix = network.base_model_prefix
        if not isinstance(getattr(network, prefix, None), nn.Module):
            prefix = "backbone"
        if not isinstance(getattr(network, prefix, None), nn.Module):
            raise InvalidInputError(f"model: {type(network).__name__} has no base model apart from its head")
        super().__init__(getattr(network, prefix), num_classes, freeze_batchnorm, freeze_encoder)
        for name, child in network.named_children():
            if name != prefix:
                self.add_module(name, child)
        # Beside the modules, which are registered above, each once.
        self.__dict__["_network"] = network
        self._form: tuple[Any, dict[str, int | None]] | None = None

    @staticmethod
    def settled(
        architecture: str | None = None, weights: str | None = None, config: Mapping[str, Any] | None = None, **_: Any
    ) -> dict[str, Any]:
        """The architecture and the whole configuration that weights bring, so that a run needs them no more."""
        if weights is None:
            return {}
        found = _config_of(weights).to_diff_dict()
        entries = {key: value for key, value in found.items() if key not in (*_LEFT_OUT, "model_type", "num_labels")}
        return {"architecture": found.get("model_type", architecture), "config": {**entries, **(config or {})}}

    def forward(
        self,
        x: Tensor,
        perturbation: FeaturePerturbation | None = None,
        start: int = 0,
        *,
        perturbed_only: bool = False,
    ) -> Tensor:
        if perturbation is None and not perturbed_only:
            return _resized(self._network(pixel_values=x).logits, tuple(x.shape[2:]))
        return super().forward(x, perturbation, start, perturbed_only=perturbed_only)

    def encode(self, x: Tensor) -> list[Tensor]:
        output = _given_to_the_head(self._network, self.encoder, x)
        found = {name: value for name in _FEATURES if (value := getattr(output, name, None)) is not None}
        if not found:
            raise InvalidInputError(f"model: {type(self._network).__name__} gives its head no features to perturb")
        self._form = (type(output), {name: _number(value) for name, value in found.items()})
        features = [f for value in found.values() for f in (value if isinstance(value, tuple | list) else [value])]
        return [_channels_second(feature) for feature in features]

    def perturb(self, features: Sequence[Tensor], perturbation: FeaturePerturbation) -> list[Tensor]:
        """All features perturbed: which of them a head reads differs between architectures."""
        return [perturbation(feature) for feature in features]

    def decode(self, features: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
        assert self._form is not None, "decode follows encode"
        output, numbers = self._form
        own = iter([_channels_second(feature) for feature in features])
        fields = {
            name: next(own) if number is None else tuple(next(own) for _ in range(number))
            for name, number in numbers.items()
        }
        answer = output(**fields)
        self.encoder.__dict__["forward"] = lambda *args, **kwargs: answer
        try:
            image = features[0].new_zeros(len(features[0]), 1, *size)
            return _resized(self._network(pixel_values=image).logits, size)
        finally:
            del self.encoder.__dict__["forward"]


class _Stopped(Exception):  # noqa: N818 – no error
    """Ends a forward once its base model has answered."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


def _given_to_the_head(network: Any, base: nn.Module, x: Tensor) -> Any:
    """What the base model of a network answers within its forward, where the network says what is to be answered."""

    def stop(module: nn.Module, arguments: Any, output: Any) -> None:
        raise _Stopped(output)

    handle = base.register_forward_hook(stop)
    try:
        network(pixel_values=x)
    except _Stopped as stopped:
        return stopped.output
    finally:
        handle.remove()
    raise InvalidInputError(f"model: {type(network).__name__} does not call its base model")


def _number(value: Any) -> int | None:
    """How many tensors a field holds; None for one that is a tensor itself."""
    return len(value) if isinstance(value, tuple | list) else None


def _channels_second(feature: Tensor) -> Tensor:
    """Tokens ``(B, N, D)`` as ``(B, D, N)``, and back; maps and vectors as they are."""
    return feature.transpose(1, 2) if feature.dim() == 3 else feature


def _resized(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    if logits.dim() != 4 or tuple(logits.shape[2:]) == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _created(
    kind: str, architecture: str | None, weights: str | None, config: Mapping[str, Any], num_classes: int, channels: int
) -> Any:
    if kind not in _KINDS:
        raise InvalidInputError(f"kind: got {kind!r}, expected one of {', '.join(_KINDS)}")
    auto: Any = getattr(_transformers(), _KINDS[kind])
    if weights is not None:
        made = _config_of(weights)
        made.update({**config, "num_labels": num_classes})
        try:
            network = auto.from_pretrained(
                weights, config=made, ignore_mismatched_sizes=True, trust_remote_code=False, use_safetensors=True
            )
        except Exception as error:  # of the hub's client, of files, of an architecture without such a head
            raise MissingDataError(f"weights: {weights!r} cannot be used for {kind}: {_line(error)}") from error
    elif architecture is None:
        raise InvalidInputError("model: got neither architecture nor weights, expected one, as architecture=segformer")
    else:
        try:
            made = _transformers().AutoConfig.for_model(architecture, **{**config, "num_labels": num_classes})
            network = auto.from_config(made, trust_remote_code=False)
        except Exception as error:
            raise InvalidInputError(f"model: {architecture!r} cannot be built for {kind}: {_line(error)}") from error
    if channels != RGB:
        adapt_channels(network, channels)
        for module in network.modules():
            if getattr(module, "num_channels", None) == RGB:
                module.num_channels = channels
    return network


def _config_of(weights: str) -> Any:
    try:
        return _transformers().AutoConfig.from_pretrained(weights, trust_remote_code=False)
    except Exception as error:
        hint = "" if Path(weights).is_dir() else "; expected a folder of save_pretrained, or an id on the hub"
        raise MissingDataError(f"weights: {weights!r} cannot be had: {_line(error)}{hint}") from error


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise MissingPackageError(
            "model: transformers cannot be imported; install the extra: pip install 'residual-ssl[hf]'"
        ) from error


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
