"""The settings of a run: one dataclass, checked in full before anything is read."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from residual_ssl.config.argument_types import type_faults
from residual_ssl.config.components import PARTIAL, build, faults
from residual_ssl.config.durations import seconds_of, steps_or_seconds
from residual_ssl.config.sizes import bytes_of
from residual_ssl.errors import ConfigError

_PRECISIONS = ("no", "bf16", "fp16")
_ON_ERROR = ("skip_unlabelled", "skip", "stop")
_SCHEDULES = ("polynomial", "cosine")


@dataclass(frozen=True)
class Settings:
    """Everything that :func:`residual_ssl.train` needs, as plain values.

    Attributes:
        task, algorithm, optimizer: components, see :func:`residual_ssl.config.components.build`. The optimizer is
            called with the parameter groups.
        run_dir: folder for logs, checkpoints and results; a run found there is continued.
        steps, epochs: length of the run, one of the two: optimiser steps, or passes over the larger of the labelled and
            the unlabelled set, the same number of steps for every algorithm.
        seed: fixes initialisation, order, augmentation and views.
        labelled_batch, unlabelled_batch: samples of an optimiser step over all processes and micro-batches.
        accumulate: micro-batches that a process divides its share of a step into, to save memory. BatchNorm and
            selectors see one micro-batch at a time.
        reference_batch: labelled batch that the optimizer's learning rate belongs to; the rate is scaled linearly to
            ``labelled_batch``. None: no scaling.
        warmup_steps: steps over which the learning rate rises linearly from 0.
        schedule: decay of the learning rate: ``"polynomial"``, ``(1 - t/T)^power``, or ``"cosine"``,
            ``cos(7πt/16T)``, that of FixMatch.
        power: exponent of the polynomial decay.
        head_lr_multiplier: learning rate of everything but ``model.encoder``, relative to the optimizer's.
        layer_decay: learning rate of each layer of a model that names them, relative to that of the layer behind it.
        init_from: checkpoint whose model weights start the run, or None.
        evaluate_every: steps between evaluations; the last step is always evaluated.
        evaluation_batch: samples a batch in evaluation; 1 where sizes differ.
        checkpoint_every: a length of time (``"10min"``) or a number of steps after which ``last.pt`` is written, beside
            every evaluation, before which it is always written; None: only there.
        snapshots: checkpoints of the weights to keep along the run, ``snapshot-1.pt`` …, evenly spread, the last step's
            among them.
        log_every: steps between log rows; metrics are means over them.
        trackers: where the rows of ``log.jsonl`` go as well: ``"tensorboard"``, ``"wandb"``, ``"mlflow"``,
            ``"trackio"`` and what else accelerate has.
        workers: data loading processes for each training set.
        precision: ``"no"`` (float32), ``"bf16"`` or ``"fp16"`` (with loss scaling, on a GPU).
        device: ``"auto"`` or ``"cpu"``.
        timeout: how long a process waits for the others before it gives up (``"30min"``); None: for ever. Longer than
            the longest time that one of them writes or reads alone.
        on_error: what is done with a training sample that cannot be read: ``"skip_unlabelled"``, ``"skip"`` (labelled
            ones too) or ``"stop"``. For a skipped one another sample is read; it is warned of and named in the result.
        max_errors: number of skipped samples beyond which a run stops; None: any.
        sync_batchnorm: BatchNorm over the batches of all processes instead of each process's own; on GPUs.
        compile: backend of :func:`torch.compile` for the network, such as ``"inductor"``; None: not compiled.
        memory: budget for tensors such as ``"24GiB"``, of which a dry run says how large a batch it holds; or None.
        dry_run: do one step and one evaluation sample, print what they take, write nothing.
    """

    task: Mapping[str, Any]
    algorithm: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    run_dir: str
    steps: int | None = None
    epochs: float | None = None
    seed: int = 0
    labelled_batch: int = 8
    unlabelled_batch: int = 8
    accumulate: int = 1
    reference_batch: int | None = None
    warmup_steps: int = 0
    schedule: str = "polynomial"
    power: float = 0.9
    head_lr_multiplier: float = 1.0
    layer_decay: float = 1.0
    init_from: str | None = None
    evaluate_every: int = 100
    evaluation_batch: int = 1
    checkpoint_every: str | int | None = "10min"
    snapshots: int = 0
    log_every: int = 10
    trackers: Sequence[str] = ("tensorboard",)
    workers: int = 0
    precision: str = "no"
    device: str = "auto"
    timeout: str | None = "30min"
    on_error: str = "skip_unlabelled"
    max_errors: int | None = 100
    sync_batchnorm: bool = False
    compile: str | None = None
    memory: str | None = None
    dry_run: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """Check a configuration and take the settings out of it.

        Raises:
            ConfigError: with one line for every fault.
        """
        known = {f.name: f for f in fields(cls)}
        found = []
        for key in config:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, 1)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
                found.append(f"{key}: no such setting; {hint}")
        found += [
            f"{name}: missing; a run needs it"
            for name in ("task", "algorithm", "optimizer", "run_dir")
            if config.get(name) is None
        ]
        found += [*_number_faults(config), *_text_faults(config), *_combination_faults(config)]
        for name in ("task", "algorithm", "optimizer"):
            part = config.get(name)
            if part is not None and not isinstance(part, Mapping):
                found.append(f"{name}: got {part!r}, expected a mapping with _target_")
            elif part is not None:
                # The optimizer's first argument, the parameters, comes from the engine.
                found += faults({**part, PARTIAL: True} if name == "optimizer" else part, name)
                found += type_faults(part, name)
        if isinstance(config.get("optimizer"), Mapping) and not any(line.startswith("optimizer") for line in found):
            found += _optimizer_faults(config["optimizer"])
        if found:
            raise ConfigError("\n".join(found))
        whole = {name for name in _MINIMA if "int" in str(known[name].type)}
        values: dict[str, Any] = {
            key: int(value) if key in whole and isinstance(value, float) else value for key, value in config.items()
        }
        return cls(**values)


def _number_faults(config: Mapping[str, Any]) -> list[str]:
    found = []
    for name, minimum in _MINIMA.items():
        value = config.get(name)
        kind = Settings.__dataclass_fields__[name].type
        if name not in config or (value is None and "None" in kind):
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not minimum <= value < _LIMIT:
            found.append(f"{name}: got {value!r}, expected a number ≥ {minimum}")
        elif "int" in kind and value != int(value):
            found.append(f"{name}: got {value!r}, expected a whole number")
    return found


def _text_faults(config: Mapping[str, Any]) -> list[str]:
    found = []
    for name in ("sync_batchnorm", "dry_run"):
        if not isinstance(config.get(name, False), bool):
            found.append(f"{name}: got {config[name]!r}, expected true or false")
    trackers = config.get("trackers", ())
    if not isinstance(trackers, list | tuple) or not all(isinstance(name, str) for name in trackers):
        found.append(f"trackers: got {trackers!r}, expected a list of names: [tensorboard,mlflow], or [] for none")
    if config.get("precision", "no") not in _PRECISIONS:
        found.append(f'precision: got {config["precision"]!r}, expected one of {", ".join(_PRECISIONS)} (quote "no")')
    if config.get("schedule", "polynomial") not in _SCHEDULES:
        found.append(f"schedule: got {config['schedule']!r}, expected one of {', '.join(_SCHEDULES)}")
    if config.get("on_error", "stop") not in _ON_ERROR:
        found.append(f"on_error: got {config['on_error']!r}, expected one of {', '.join(_ON_ERROR)}")
    if config.get("device", "auto") not in ("auto", "cpu"):
        found.append(f"device: got {config['device']!r}, expected auto or cpu")
    for name in ("run_dir", "init_from"):
        value = config.get(name)
        if value is not None and (not isinstance(value, str) or not value.strip() or "\0" in value):
            found.append(f"{name}: got {value!r}, expected the path of a {'folder' if name == 'run_dir' else 'file'}")
    for name, read in (("checkpoint_every", steps_or_seconds), ("timeout", seconds_of), ("memory", bytes_of)):
        if config.get(name) is not None:
            try:
                read(config[name])
            except ValueError as error:
                found.append(f"{name}: {error}")
    return found


def _optimizer_faults(optimizer: Mapping[str, Any]) -> list[str]:
    """What the optimizer says to its arguments when it gets a parameter, and numbers that are not finite."""
    found = [
        f"optimizer.{key}: got {value!r}, expected a finite number"
        for key, value in optimizer.items()
        if isinstance(value, float) and not math.isfinite(value)
    ]
    if found:
        return found
    import torch

    try:
        build({**optimizer, PARTIAL: True}, "optimizer")([torch.nn.Parameter(torch.zeros(1))])
    except ConfigError as error:
        return str(error).splitlines()
    except Exception as error:  # whatever the constructor trips over
        return [f"optimizer: {optimizer.get('_target_')} refused its arguments: {error}"]
    return []


def _combination_faults(config: Mapping[str, Any]) -> list[str]:
    found = []
    if config.get("memory") is not None and not config.get("dry_run"):
        found.append(f"memory: got {config['memory']!r} without dry_run=true, which measures; add that, or drop memory")
    if config.get("compile") is not None:
        found += _compile_faults(config["compile"])
    steps, epochs = config.get("steps"), config.get("epochs")
    if (steps is None) == (epochs is None):
        found.append(f"steps, epochs: got {steps} and {epochs}, expected one of the two and null for the other")
    if epochs == 0:
        found.append("epochs: got 0, expected a number > 0")
    accumulate = config.get("accumulate", 1)
    for name in ("labelled_batch", "unlabelled_batch"):
        batch = config.get(name)
        if isinstance(batch, int) and isinstance(accumulate, int) and accumulate > 0 and batch % accumulate:
            found.append(f"{name}: got {batch}, expected a multiple of accumulate ({accumulate})")
    optimizer = config.get("optimizer")
    if config.get("reference_batch") and isinstance(optimizer, Mapping) and optimizer.get("lr") is None:
        found.append(
            "reference_batch: scales optimizer.lr, which is not given; give it, or set reference_batch to null"
        )
    return found


def _compile_faults(backend: Any) -> list[str]:
    # Imported where it is used: it takes a second.
    from torch._dynamo import list_backends

    if backend in list_backends(exclude_tags=()):  # those for debugging included
        return []
    return [f"compile: got {backend!r}, expected one of {', '.join(list_backends())}, or null for none"]


_LIMIT = 2**63
_MINIMA = {
    "steps": 1,
    "epochs": 0,
    "seed": 0,
    "labelled_batch": 1,
    "unlabelled_batch": 1,
    "accumulate": 1,
    "reference_batch": 1,
    "warmup_steps": 0,
    "power": 0,
    "head_lr_multiplier": 0,
    "layer_decay": 0,
    "evaluate_every": 1,
    "evaluation_batch": 1,
    "log_every": 1,
    "snapshots": 0,
    "workers": 0,
    "max_errors": 0,
}
