"""Predict files with a trained run, and write what the task draws of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from residual_ssl.commands.devices import checked_device
from residual_ssl.commands.input_files import input_files, result_names
from residual_ssl.commands.prediction.georeferenced import georeference_of, write_georeferenced
from residual_ssl.commands.prediction.prediction_table import TABLE_NAME, write_table
from residual_ssl.commands.prediction.tiled import SIDE, WHOLE, tiled_selection
from residual_ssl.commands.prediction.written_files import WrittenFiles
from residual_ssl.engine.records.trained import TrainedRun, load_run
from residual_ssl.errors import ConfigError, IncompleteError, ResidualSSLError
from residual_ssl.runtime.files import atomic_file, json_text, write_text
from residual_ssl.selection import ConvexSelector, Selection, Selector
from residual_ssl.task import Task

_LISTED = 20


@torch.no_grad()
def predict(
    run: str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    checkpoint_name: str = "best.pt",
    device: str = "auto",
    tile: int | str | None = "auto",
    changes: Sequence[str] = (),
) -> list[Path]:
    """Predict files with a trained run and write what the task draws of each: labels, overlays, confidence, trust.

    Where a prediction is of a whole file and of no places in it, ``predictions.csv`` has a row for it: its class, with
    confidence and trust, or what else the task says. Of a task that finds objects, ``NAME_objects.json`` lists them.

    Of a GeoTIFF file labels and trust are written as GeoTIFF files of the same place as well, where rasterio is
    installed. Pages and slices of a file that a task takes as images have their numbers in the names:
    ``NAME_0007_label.png``.

    Trust is that of the run's own selector, or of CSL where it had none or one that needs more than a prediction; whole
    files are judged together. A file that cannot be predicted is left out and named at the end.

    Args:
        run: run directory or checkpoint file.
        inputs: a file, a folder, a pattern such as ``"photos/**/*.jpg"``, or several of them.
        out: folder for the results, ``NAME_KIND.png``; made if needed. The folders below the deepest one that all
            inputs share are kept, so that files of one name in different folders do not meet. Nothing is written
            outside, and no file replaced that an earlier prediction did not write.
        checkpoint_name: file in the run directory, ``best.pt`` or ``last.pt``.
        device: ``"auto"`` or a torch device.
        tile: side in pixels of the tiles in which images are predicted; ``"auto"``: 1024 for images of more than four
            million pixels, others whole; None: all whole.
        changes: settings of the run that are others now, as of :func:`residual_ssl.evaluate`.

    Returns:
        The files written.

    Raises:
        MissingDataError: an input that does not exist, or a folder or pattern without files the task can read.
        ConfigError: a result that would replace a file of another origin; nothing is replaced.
        IncompleteError: some inputs cannot be predicted; names them, after all others are done.
    """
    trained = load_run(run, checkpoint_name=checkpoint_name, device=checked_device(device), changes=changes)
    files = input_files([inputs] if isinstance(inputs, str | Path) else inputs, trained.task.input_suffixes)
    selector = judging_selector(trained)
    written: list[Path] = []
    failed: dict[Path, str] = {}
    whole: dict[Path, Tensor] = {}
    written_files = WrittenFiles(Path(out))
    for file, name in zip(files, result_names(files), strict=True):
        try:
            place = georeference_of(file)
            for ending, sample in trained.task.read_all(file):
                logits, found = _predicted(trained, selector, sample.to(trained.device), tile)
                if found is None:
                    whole[file] = logits
                    continue
                label, selection = found
                drawn = trained.task.pictures(sample.cpu(), label, selection)
                target = Path(out) / f"{name}{ending}"
                objects = trained.task.objects(label, selection)
                if objects is not None:
                    written.append(written_files.claim(target.with_name(f"{target.name}_objects.json")))
                    write_text(written[-1], json_text(objects), "prediction")
                for kind, picture in drawn.items():
                    path = written_files.claim(target.with_name(f"{target.name}_{kind}.png"))
                    with atomic_file(path, "prediction") as opened:
                        picture.save(opened, format="PNG")
                    written.append(path)
                if place is not None and label.dim() == 2:
                    palette = getattr(getattr(trained.task, "spec", None), "palette", None)
                    for kind, values in (("label", label), ("trust", selection.weight[0].float())):
                        path = written_files.claim(target.with_name(f"{target.name}_{kind}.tif"))
                        write_georeferenced(path, values, place, palette)
                        written.append(path)
        except ConfigError:
            raise
        except (ResidualSSLError, RuntimeError, MemoryError, OSError) as error:
            failed[file] = next(iter(str(error).splitlines()), "") or type(error).__name__
    if whole:
        together = torch.cat(list(whole.values()))
        path = written_files.claim(Path(out) / TABLE_NAME)
        write_table(path, list(whole), trained.task.rows(together, selector(together)))
        written.append(path)
    if failed:
        listed = [f"{file}: {reason.removeprefix(f'{file}: ')}" for file, reason in list(failed.items())[:_LISTED]]
        more = [f"… and {len(failed) - _LISTED} more"] if len(failed) > _LISTED else []
        raise IncompleteError(
            "\n".join(
                [
                    f"{len(failed)} of {len(files)} inputs could not be predicted; the others are in {out}",
                    *listed,
                    *more,
                ]
            )
        )
    return written


def _predicted(
    trained: TrainedRun, selector: Selector, sample: Tensor, tile: int | str | None
) -> tuple[Tensor, tuple[Tensor, Selection] | None]:
    """Logits of an input, and its labels with their selection unless it has one class as a whole."""
    side = tile_side(trained.task, sample, tile)
    if side is not None:
        return torch.empty(0), tiled_selection(trained.task, trained.model, selector, sample, side)
    logits = trained.task.predict(trained.model, sample.unsqueeze(0))
    if logits.dim() == 2 or trained.task.tabular:
        return logits, None
    label = trained.task.parted(logits)[0][0].argmax(0).cpu()
    return logits, (label, trained.task.judged(selector, logits, sample.unsqueeze(0)).map(Tensor.cpu))


def judging_selector(trained: TrainedRun) -> Selector:
    """The selector that judges predictions of a run: its own, or CSL where that needs more than a prediction."""
    selector: Selector | None = getattr(trained.algorithm, "selector", None)
    if selector is None or selector.needs.evidence:
        selector = ConvexSelector()
    return selector.to(trained.device).eval()


def tile_side(task: Task, sample: Tensor, tile: int | str | None) -> int | None:
    """Side of the tiles for an input of a task, None to predict it whole; ``tile`` as of :func:`predict`.

    Raises:
        ConfigError: another word than ``"auto"``.
    """
    if not task.tiled:
        return None
    if isinstance(tile, str):
        if tile != "auto":
            raise ConfigError(f"tile: got {tile!r}, expected a side in pixels, auto, or none")
        return SIDE if sample.dim() == 3 and sample[0].numel() > WHOLE else None
    return tile
