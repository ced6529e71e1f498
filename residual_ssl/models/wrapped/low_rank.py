"""Low-rank adapters on the encoder of a pretrained network: they and the head learn, and they alone are stored."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.errors import CheckpointError, ConfigError, MissingPackageError
from residual_ssl.models.wrapped.logits_alone import settled_model

# Linear layers of attention, as timm and transformers name them.
_ATTENTION = ("qkv", "attn.proj", "query", "key", "value", "q_proj", "k_proj", "v_proj", "o_proj")
_DIGEST, _FROZEN = "base_digest", "base_names"


def low_rank_adapted(
    num_classes: int,
    model: Callable[..., nn.Module],
    rank: int = 8,
    alpha: float = 16,
    dropout: float = 0.0,
    targets: Sequence[str] | None = None,
    **further: Any,
) -> nn.Module:
    """The network that ``model(num_classes=K)`` makes, with low-rank adapters on its encoder (``peft``, LoRA).

    Nothing of the encoder learns but the adapters; all outside of it does. The state dict holds no frozen weight of the
    encoder, so that checkpoints, averaged teachers and shared folders are small: whoever loads them needs the weights
    that the run began with, which a digest in the state compares. The network keeps its class.

    Args:
        num_classes: K.
        model: makes the network, with pretrained ``weights``; its attribute ``encoder`` is what is adapted.
        rank: of the adapters, ≥ 1.
        alpha: their outputs are scaled by ``alpha / rank``.
        dropout: of the adapters' inputs in training.
        targets: endings of the names of the layers to adapt; None for the linear layers of attention.
        further: handed on to ``model``.

    Raises:
        MissingPackageError: peft is not installed.
        ConfigError: a network without an encoder, without weights, or without such layers.
        CheckpointError: on loading a state that was made on other weights.

    Source: LoRA, arXiv 2106.09685.
    """
    if rank < 1:
        raise ConfigError(f"peft.rank: got {rank}, expected a whole number ≥ 1")
    if getattr(model, "keywords", {}).get("weights", "given") is None:
        raise ConfigError("peft: the model has no pretrained weights to adapt, model.weights is null; give them")
    network = model(num_classes=num_classes, **further)
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ConfigError(f"peft: {type(network).__name__} has no encoder to adapt; give an EncoderDecoder")
    linear = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    endings = tuple(_ATTENTION if targets is None else targets)
    chosen = [name for name in linear if any(name == e or name.endswith(f".{e}") for e in endings)]
    if not chosen:
        raise ConfigError(
            f"peft.targets: no linear layer of the encoder is named {', '.join(endings)}; there are "
            f"{', '.join(dict.fromkeys(name.rpartition('.')[2] for name in linear)) or 'none'}"
        )
    peft = _peft()
    digest = _digest(encoder)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=chosen)
    peft.inject_adapter_in_model(config, encoder)
    encoder.register_buffer(_DIGEST, digest)
    # By name: in an averaged teacher no parameter learns.
    setattr(encoder, _FROZEN, tuple(name for name, value in encoder.named_parameters() if not value.requires_grad))
    encoder.register_state_dict_post_hook(_leave_out_frozen)  # type: ignore[no-untyped-call]
    encoder.register_load_state_dict_pre_hook(_fill_in_frozen)  # type: ignore[no-untyped-call]
    return network


def _settled(model: Any = None, **_: Any) -> dict[str, Any]:
    return settled_model(model)


low_rank_adapted.settled = _settled  # type: ignore[attr-defined]


def _digest(encoder: nn.Module) -> Tensor:
    """uint8 ``(16,)`` of the weights that an encoder begins with."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def _leave_out_frozen(encoder: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    for name in getattr(encoder, _FROZEN):
        state.pop(f"{prefix}{name}", None)


def _fill_in_frozen(encoder: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    stored: Tensor | None = state.get(f"{prefix}{_DIGEST}")
    own: Any = getattr(encoder, _DIGEST)
    if stored is not None and not torch.equal(stored.cpu(), own.cpu()):
        raise CheckpointError(
            "peft: the adapters were trained on other weights of the encoder than model.weights now names; give those "
            "that the run began with"
        )
    own_weights = dict(encoder.named_parameters())
    for name in getattr(encoder, _FROZEN):
        state.setdefault(f"{prefix}{name}", own_weights[name])


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise MissingPackageError(
            "peft: cannot be imported; install the extra: pip install 'residual-ssl[peft]'"
        ) from error
