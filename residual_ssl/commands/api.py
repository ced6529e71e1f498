"""What the command line calls beside training: splits, selectors compared, what can be done with a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.commands.comparison import Comparison, Predictions, build_selectors, compare, write_comparison
from residual_ssl.commands.comparison.saved import SavedArray, Source
from residual_ssl.commands.devices import checked_device
from residual_ssl.commands.export import Exported, export_onnx, export_pt2
from residual_ssl.commands.predict import predict
from residual_ssl.config.components import build
from residual_ssl.config.composition import compose
from residual_ssl.data import SplitReport, make_split
from residual_ssl.engine.evaluation import evaluate_model
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError, InvalidInputError, ResidualSSLError
from residual_ssl.task import Task

__all__ = ["compare_selectors", "compose", "evaluate", "export", "predict", "select", "split"]

_COMPARED = ("csl", "fixed_threshold", "freematch", "softmatch")


def evaluate(
    run: str | Path, *, checkpoint_name: str = "best.pt", device: str = "auto", changes: Sequence[str] = ()
) -> dict[str, float]:
    """Metrics of a trained run on its validation set.

    Args:
        run: run directory or checkpoint file.
        checkpoint_name: file in the directory, ``best.pt`` or ``last.pt``.
        device: ``"auto"`` or a torch device.
        changes: settings of the run that are others now, ``["dataset.root=/moved"]``.

    Returns:
        As :meth:`residual_ssl.Task.summary`, with the ``step`` of the checkpoint.

    Raises:
        MissingDataError, CheckpointError: no checkpoint there, or one that does not fit.
        ConfigError: changes of what the run does not have.
    """
    trained = load_run(run, checkpoint_name=checkpoint_name, device=checked_device(device), changes=changes)
    batch = trained.config.get("evaluation_batch", 1)
    return {"step": trained.step, **evaluate_model(trained.task, trained.model, trained.device, batch=batch)}


def export(
    run: str | Path,
    out: str | Path,
    *,
    format: str = "onnx",
    checkpoint_name: str = "best.pt",
    changes: Sequence[str] = (),
) -> Exported:
    """Write the network that a run evaluates to a file: images in [0, 1] to logits, the normalisation within.

    The file holds one pass of the network, without the windows, scales and flips of the task's inference. Its metadata
    name the classes and what else the task adds.

    Args:
        run: run directory or checkpoint file.
        out: file to write.
        format: ``"onnx"``, or ``"pt2"``, a program of ``torch.export``.
        checkpoint_name: file in the run directory, ``best.pt`` or ``last.pt``.
        changes: as of :func:`evaluate`.

    Raises:
        MissingDataError, CheckpointError: no checkpoint there, or one that does not fit.
        MissingPackageError, ResidualSSLError: as :func:`residual_ssl.commands.export.export_onnx`.
    """
    trained = load_run(run, checkpoint_name=checkpoint_name, device="cpu", changes=changes)
    network = _WithView(trained.task, trained.model).eval()
    write = {"onnx": export_onnx, "pt2": export_pt2}.get(format)
    if write is None:
        raise InvalidInputError(f"format: got {format!r}, expected onnx or pt2")
    return write(network, trained.task.example(), out, trained.task.metadata())


class _WithView(nn.Module):
    """A network that takes dataset inputs, as :meth:`Task.predict` does."""

    def __init__(self, task: Task, network: nn.Module) -> None:
        super().__init__()
        self.task = task
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        return self.network(self.task.view(inputs, "plain"))  # type: ignore[no-any-return]


def split(
    overrides: Sequence[str], labelled: int, out: str | Path, *, config_dir: str | Path | None = None
) -> SplitReport:
    """Draw labelled images of a configured data set, and write the lists of the labelled and of all others.

    Args:
        overrides: as of :func:`residual_ssl.compose`; they choose the data set, and ``seed`` the draw. What they say
            of ``dataset.labelled`` and ``dataset.unlabelled`` has no effect.
        labelled: images to draw, see :func:`residual_ssl.data.draw_covering`.
        out: folder for ``labeled.txt`` and ``unlabeled.txt``; made if needed.
        config_dir: as of :func:`residual_ssl.compose`.

    Raises:
        ConfigError, DataError, MissingDataError: as ``compose``, the data set, and
            :func:`residual_ssl.data.make_split`; a task without such a source; images that are for validation too.
    """
    config = compose(["++dataset.labelled=all", *overrides], config_dir=config_dir)
    source = config["task"].get("source")
    if not isinstance(source, dict):
        raise ConfigError(f"task: {config['task'].get('_target_')} has no source of images to divide")
    source |= {"labelled": "all", "_partial_": False}
    if "unlabelled" in source:
        source["unlabelled"] = None
    if "labelled_in_pool" in source:
        source["labelled_in_pool"] = False
    try:
        built = build(source, "task.source")
    except ResidualSSLError as error:
        if "labelled: got 'all'" not in str(error):
            raise
        raise ConfigError(
            f"dataset: {source['_target_']} makes its own subsets; splits are for files or rows"
        ) from error
    return make_split(built, labelled, out, seed=config["seed"])


def select(
    logits: Source,
    labels: Source,
    selectors: Sequence[str],
    out: str | Path | None = None,
    *,
    valid: Source | None = None,
    second: Source | None = None,
    labelled_logits: Source | None = None,
    labelled_labels: Source | None = None,
    from_probabilities: bool = False,
    ignore_index: int = 255,
    batch: int | None = None,
    device: str = "auto",
    config_dir: str | Path | None = None,
) -> Comparison:
    """Compare selectors on saved predictions whose truth is known.

    Arrays are files (``.npy``, ``.npz``, ``.pt``, ``.safetensors``), tensors or numpy arrays; see
    :class:`~residual_ssl.commands.comparison.saved.SavedArray`. Files may be larger than memory.

    Args:
        logits: floating ``(N, K, *S)``.
        labels: integer ``(N, *S)``, class ids in [0, K) or ``ignore_index``.
        selectors: see :func:`residual_ssl.commands.comparison.build_selectors`; ``none``, ``oracle`` are always there.
        out: folder for ``comparison.md``, ``comparison.json`` and ``risk_coverage.png``; None: nothing is written.
        valid: ``(N, *S)``, where points are to be judged; None for everywhere.
        second: logits of another model or view, for selectors that judge by two.
        labelled_logits, labelled_labels: predictions that selectors may learn from; best of samples that the model was
            not trained on.
        from_probabilities: whether all that is given as logits are probabilities.
        ignore_index: id of points without a known label.
        batch: samples judged at once; None for 16, or 1024 without spatial dimensions.
        device: ``"auto"`` or a torch device.
        config_dir: as of :func:`residual_ssl.compose`.

    Raises:
        ConfigError: an unknown selector or argument of one; labelled logits without their labels.
        MissingDataError, DataError: a file that is absent or cannot be read.
        InvalidInputError: arrays that do not fit each other; a selector that needs what was not given.
    """
    built = build_selectors(selectors, config_dir=config_dir)
    if (labelled_logits is None) != (labelled_labels is None):
        raise ConfigError("labelled_logits, labelled_labels: got one of the two, expected both or neither")
    predictions = Predictions(
        SavedArray(logits, "logits"),
        SavedArray(labels, "labels"),
        None if valid is None else SavedArray(valid, "valid"),
        None if second is None else SavedArray(second, "second"),
        ignore_index,
        from_probabilities,
    )
    labelled = None
    if labelled_logits is not None and labelled_labels is not None:
        arrays = SavedArray(labelled_logits, "labelled_logits"), SavedArray(labelled_labels, "labelled_labels")
        labelled = Predictions(*arrays, ignore_index=ignore_index, probabilities=from_probabilities)
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    found = compare(predictions, built, labelled=labelled, batch=batch, device=where)
    if out is not None:
        write_comparison(found, Path(out))
    return found


def compare_selectors(
    logits: Source, labels: Source, selectors: Sequence[str] = _COMPARED, **further: Any
) -> Comparison:
    """Compare selectors on predictions whose truth is known: which share would each trust, and how much of it is right?

    Trusting all (``none``) and the truth as a selector (``oracle``) are always there. A notebook shows the comparison
    as a table, ``print`` as text, and :meth:`~residual_ssl.commands.comparison.Comparison.plot` as curves.

    Args:
        logits: floating ``(N, K, *S)``: a tensor, an array, or a file of one.
        labels: integer ``(N, *S)``, class ids in [0, K) or 255 for unknown.
        selectors: names of ``residual-ssl list selectors``, with arguments as in ``"fixed_threshold:threshold=0.9"``.
        **further: as of :func:`residual_ssl.commands.api.select`: ``valid``, ``labelled_logits``, ``out`` …

    Raises:
        ConfigError, DataError, InvalidInputError: as ``select``.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0], [0.2, 0.0], [3.0, 0.0], [0.0, 0.1]])
        >>> found = compare_selectors(logits, torch.tensor([0, 1, 0, 1]), ["fixed_threshold:threshold=0.9"])
        >>> float(found.row("fixed_threshold:threshold=0.9").metrics.purity)
        1.0
    """
    return select(logits, labels, selectors, **further)
