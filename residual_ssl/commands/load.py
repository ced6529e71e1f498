"""A trained run as an object: images in, labels with confidence and trust out."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from residual_ssl.commands.devices import checked_device
from residual_ssl.commands.input_files import input_files
from residual_ssl.commands.predict import judging_selector, tile_side
from residual_ssl.commands.prediction.tiled import tiled_selection
from residual_ssl.commands.prediction.written_files import WrittenFiles
from residual_ssl.commands.share import fetched, push_to_hub, share
from residual_ssl.engine.records.result import RunResult
from residual_ssl.engine.records.trained import TrainedRun, load_run
from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.files import atomic_file, write_json
from residual_ssl.selection import Selection
from residual_ssl.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = ("overlay", "confidence", "trust")


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a trained model says of one input.

    Attributes:
        label: predicted class ids, int64 ``(H, W)``; a scalar where an input has one class.
        confidence: largest class probability in [0, 1], of the shape of ``label``.
        trust: weight in [0, 1] that the selector of the run gives the prediction, of the same shape.
        class_names: names of the K classes.
        row: what a table says of a whole input, by column, as :meth:`residual_ssl.Task.rows`; None where it is drawn.
    """

    label: Tensor
    confidence: Tensor
    trust: Tensor
    class_names: tuple[str, ...]
    _task: Task
    _input: Tensor
    _selection: Selection
    row: Mapping[str, str | float] | None = None

    @property
    def names(self) -> Any:
        """What a whole input is, in words; of a drawn one, the names of the classes that occur in it, by frequency."""
        if self.row is not None:
            return self.row["label"]
        ids, counts = torch.unique(self.label, return_counts=True)
        return [self.class_names[i] for i in ids[counts.argsort(descending=True)].tolist()]

    @property
    def objects(self) -> list[dict[str, object]] | None:
        """What was found in an input, a row for each object; None for a task that finds none."""
        return self._task.objects(self.label, self._selection)

    def __repr__(self) -> str:
        means = f"confidence {self.confidence.mean():.2f}, trust {self.trust.mean():.2f}"
        if not self.label.dim():
            return f"Prediction({self.names}: {means})"
        size = "×".join(map(str, self.label.shape))
        return f"Prediction({size}, {', '.join(self.names)}: mean {means.replace(', ', ', mean ')})"

    def plot(self) -> Figure:
        """Draw overlay, confidence and trust side by side; of a whole input, the input with its class."""
        from residual_ssl.commands.report.look import ShownFigure

        pictures: dict[str, Any] = self._pictures()
        if not pictures:
            image = self._input.cpu().clamp(0, 1).movedim(0, -1).numpy() if self._input.dim() == 3 else None
            title = f"{self.names}, {self._said()}"
            pictures = {title: image}
        figure = ShownFigure(figsize=(4 * len(pictures), 4), layout="constrained")
        for axes, (title, picture) in zip(
            np.atleast_1d(figure.subplots(1, len(pictures))), pictures.items(), strict=True
        ):
            axes.set_title(title, parse_math=False)
            axes.set_axis_off()
            if picture is not None:
                axes.imshow(picture)
        return figure

    def save(self, folder: str | Path, name: str = "prediction") -> list[Path]:
        """Write ``NAME_KIND.png`` of each picture, or ``NAME.json`` of a whole input; give the files written.

        Raises:
            ConfigError: a file of another origin is there.
        """
        out = WrittenFiles(Path(folder))
        drawn = self._task.pictures(self._input.cpu(), self.label, self._selection) if self.row is None else {}
        written = []
        for kind, picture in drawn.items():
            written.append(out.claim(Path(folder) / f"{name}_{kind}.png"))
            with atomic_file(written[-1], "prediction") as file:
                picture.save(file, format="PNG")
        if not drawn:
            written.append(out.claim(Path(folder) / f"{name}.json"))
            write_json(written[-1], dict(self.row or {}))
        return written

    def _said(self) -> str:
        return f"confidence {self.confidence.mean():.2f}, trust {self.trust.mean():.2f}"

    def _pictures(self) -> dict[str, Any]:
        if self.row is not None:
            return {}
        drawn = self._task.pictures(self._input.cpu(), self.label, self._selection)
        return {kind: drawn[kind] for kind in _SHOWN if kind in drawn}

    def _repr_html_(self) -> str:
        shown = self._pictures()
        if not shown:
            return f"<p>{html.escape(str(self.names))}: {self._said()}</p>"
        cells = []
        for kind, picture in shown.items():
            data = io.BytesIO()
            picture.convert("RGB").save(data, format="PNG")
            source = base64.b64encode(data.getvalue()).decode()
            image = f'<img alt="{kind}" src="data:image/png;base64,{source}"/>'
            cells.append(f'<figure style="display:inline-block">{image}</figure>')
        return "".join(cells)


class TrainedModel:
    """A trained run, ready to predict; :func:`load` makes one.

    Args:
        trained: as of ``load_run``.

    Attributes ``task``, ``network``, ``class_names``: of the run.
    """

    def __init__(self, trained: TrainedRun) -> None:
        self._trained = trained
        self._selector = judging_selector(trained)
        self.task = trained.task
        self.network = trained.model
        self.class_names = tuple(trained.task.class_names)

    @torch.no_grad()
    def predict(self, inputs: Any, *, tile: int | str | None = "auto") -> Any:
        """Predict an image, or several.

        Args:
            inputs: a file; a PIL image; an array uint8 ``(H, W)`` or ``(H, W, 3)``; a tensor, uint8 ``(3, H, W)``, or a
                dataset input as the task reads it, floating; a list of these, or a folder.
            tile: as of :func:`residual_ssl.predict`.

        Returns:
            A :class:`Prediction`; a list of them for a list or folder. Whole inputs of a list are judged together.

        Raises:
            MissingDataError, DataError: a file that is not there or cannot be read.
            InvalidInputError: another kind of input.
        """
        if isinstance(inputs, str | Path) and Path(inputs).is_dir():
            inputs = input_files([inputs], self.task.input_suffixes)
        several = isinstance(inputs, Sequence) and not isinstance(inputs, str)
        samples = [self._read(item).to(self._trained.device) for item in (inputs if several else [inputs])]
        found: list[Prediction | None] = []
        whole: list[Tensor] = []
        for sample in samples:
            side = tile_side(self.task, sample, tile)
            if side is not None:
                label, chosen = tiled_selection(self.task, self.network, self._selector, sample, side)
                found.append(self._prediction(sample, label, chosen))
                continue
            logits = self.task.predict(self.network, sample.unsqueeze(0))
            if logits.dim() == 2 or self.task.tabular:
                whole.append(logits)
                found.append(None)
            else:
                label = self.task.parted(logits)[0][0].argmax(0).cpu()
                chosen = self.task.judged(self._selector, logits, sample.unsqueeze(0)).map(Tensor.cpu)
                found.append(self._prediction(sample, label, chosen))
        if whole:
            together = torch.cat(whole)
            chosen = self._selector(together).map(Tensor.cpu)
            rows = self.task.rows(together.cpu(), chosen)
            found = [
                self._prediction(sample, together[i].argmax(0).cpu(), chosen.map(partial(_one_sample, i)), rows[i])
                for i, sample in enumerate(samples)
            ]
        return found if several else found[0]

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the model as a folder to give to others; see :func:`residual_ssl.commands.share.share`."""
        return share(self._trained, folder)

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Write the model to the Hugging Face hub; see :func:`residual_ssl.commands.share.push_to_hub`."""
        return push_to_hub(self._trained, repository, private=private, token=token)

    def _prediction(
        self, sample: Tensor, label: Tensor, chosen: Selection, row: Mapping[str, str | float] | None = None
    ) -> Prediction:
        judged = (chosen.confidence[0], chosen.weight[0])
        return Prediction(label, *judged, self.class_names, self.task, sample, chosen, row)

    def _read(self, item: Any) -> Tensor:
        if isinstance(item, str | Path):
            return self.task.read(Path(item))
        if isinstance(item, Tensor) and item.is_floating_point():
            return item
        return self.task.read(_as_file(item))


def load(run: str | Path | RunResult, *, checkpoint_name: str = "best.pt", device: str = "auto") -> TrainedModel:
    """Bring a trained run back, to predict with it.

    Args:
        run: what ``train`` returned, a run directory, checkpoint file, a folder that ``residual-ssl share`` wrote, or
            ``"user/model"`` on the Hugging Face hub.
        checkpoint_name: file in the directory, ``best.pt`` or ``last.pt``.
        device: ``"auto"`` or a torch device.

    Raises:
        MissingDataError, CheckpointError: no run there, or one that does not fit.
    """
    place = run.run_dir if isinstance(run, RunResult) else run
    return TrainedModel(load_run(fetched(place), checkpoint_name=checkpoint_name, device=checked_device(device)))


def _as_file(item: Any) -> Any:
    """An image in memory as a PNG file in memory, which the task reads as any other."""
    import PIL.Image
    import PIL.ImageOps

    if isinstance(item, Tensor):
        item = item.cpu().movedim(0, -1).numpy()
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim not in (2, 3):
            raise InvalidInputError(
                f"inputs: got an array {item.dtype} of shape {item.shape}, expected uint8 (H, W, 3)"
            )
        item = PIL.Image.fromarray(item.squeeze(-1) if item.shape[-1] == 1 and item.ndim == 3 else item)
    if not isinstance(item, PIL.Image.Image):
        raise InvalidInputError(
            f"inputs: got {type(item).__name__}, expected a path, a PIL image, an array or a tensor"
        )
    data = io.BytesIO()
    PIL.ImageOps.exif_transpose(item).save(data, format="PNG")
    data.seek(0)
    return data


def _one_sample(index: int, values: Tensor) -> Tensor:
    return values[index : index + 1]
