"""What a report shows of samples, as values for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from residual_ssl.commands.report.pictures import (
    NOT_JUDGED,
    OUTCOMES,
    DrawnTask,
    Picture,
    class_name,
    figure_image,
    outcome_map,
    picture,
    shown_input,
    trust_map,
)
from residual_ssl.commands.report.plane import plane
from residual_ssl.commands.report.runs import FinishedRun
from residual_ssl.commands.report.samples import JudgedSamples, judged_input, judged_samples
from residual_ssl.commands.report.sheet import Card, SheetTask, judged_sheet, predicted_sheet
from residual_ssl.errors import ResidualSSLError
from residual_ssl.selection import ConvexSelector, Selection
from residual_ssl.task import Task

_PREDICTED = 4

Legend = list[tuple[str, str]]


@dataclass(frozen=True)
class Pictures:
    """Pictures of samples: a table of them, or cards; neither where the task draws none.

    Attributes:
        task: name of its class.
        run: name of the run whose samples they are; empty for all runs.
        selector: class that judged them; empty for none.
        own: whether that is the run's own.
        together: number of samples judged together.
        masked: whether there is a masked view.
        header, rows: of the table: name of the row and its pictures.
        cards: where a sample is one point.
        classes: colours of the classes that occur.
        outcomes: colours of right and wrong; empty where no truth is known.
        trust: whether there are trust maps.
    """

    task: str
    run: str = ""
    selector: str = ""
    own: bool = True
    together: int = 0
    masked: bool = False
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, tuple[Picture, ...]], ...] = ()
    cards: tuple[Card, ...] = ()
    classes: Legend | None = None
    outcomes: Legend | None = None
    trust: bool = False


@dataclass(frozen=True)
class Plane:
    """The plane of confidence and dispersion of a run's samples, and its selector's class where that is not CSL's."""

    image: Picture
    run: str
    other_selector: str


def pictured_samples(run: FinishedRun, judged: JudgedSamples) -> Pictures:
    """What a run makes of unlabelled samples."""
    task = run.task
    outcomes = [*OUTCOMES, ("unknown", NOT_JUDGED)] if judged.truth is not None else None
    common = {
        "task": type(task).__name__,
        "run": run.name,
        "selector": type(judged.selector).__name__,
        "own": judged.of_run,
        "together": len(judged.inputs),
    }
    if judged.logits.dim() == 2 and isinstance(task, SheetTask):
        return Pictures(**common, cards=tuple(judged_sheet(task, judged)), outcomes=outcomes)  # type: ignore[arg-type]
    if not isinstance(task, DrawnTask):
        shown = [
            (f"sample {i}", {run.name: (sample, judged.selection.map(lambda points, i=i: points[i - 1 : i]))})  # type: ignore[misc]
            for i, sample in enumerate(judged.inputs[:_PREDICTED], 1)
        ]
        header, drawn = _drawn_by_task(task, shown)
        return Pictures(**common, header=header, rows=drawn)  # type: ignore[arg-type]
    labels = judged.selection.label.where(judged.selection.valid, task.ignore_index)
    rows = [_sample_pictures(task, judged, i) for i in range(len(judged.inputs))]
    return Pictures(
        **common,  # type: ignore[arg-type]
        masked=judged.masked is not None,
        header=("sample", *rows[0]),
        rows=tuple((str(i), tuple(_described(f"sample {i}", cells))) for i, cells in enumerate(rows, 1)),
        classes=_class_colours(task, labels if judged.truth is None else torch.cat([labels, judged.truth])),
        outcomes=outcomes,
        trust=True,
    )


def _sample_pictures(task: DrawnTask, judged: JudgedSamples, index: int) -> dict[str, Tensor]:
    ignore, image = task.ignore_index, judged.inputs[index]
    one = judged.selection.map(lambda points: task.plane(points[index]))
    cells = {"image": shown_input(task, image)}
    if judged.truth is not None:
        cells["truth"] = task.draw_labels(judged.truth[index])
    cells["pseudo-label"] = task.draw_labels(one.label.where(one.valid, ignore))
    cells["trust"] = trust_map(one)
    if judged.truth is not None:
        known = task.plane(judged.known(ignore)[index])
        cells["right or wrong"] = outcome_map(one, task.plane(judged.truth[index]), known)
    if judged.masked is not None:
        cells["masked view"] = task.display(judged.masked[index : index + 1])[0]
    return cells


def pictured_plane(run: FinishedRun, judged: JudgedSamples) -> Plane:
    """The plane of confidence and dispersion for the same samples."""
    selector, other = judged.selector, ""
    if not isinstance(selector, ConvexSelector):
        other = type(selector).__name__
        selector = ConvexSelector()
        judged = judged_samples(run, selector) or judged
    partition = selector.partition(judged.logits, judged.selection.valid)
    figure = plane(judged, partition, run.task.ignore_index)
    image = figure_image(figure, "Points by confidence and residual dispersion, with the partition")
    return Plane(image, run.name, other)


@torch.no_grad()
def pictured_predictions(runs: Sequence[FinishedRun]) -> Pictures:
    """The same validation samples as every run predicts them."""
    task = runs[0].task
    name = type(task).__name__
    if isinstance(task, SheetTask) and not isinstance(task, DrawnTask):
        return Pictures(name, cards=tuple(predicted_sheet(task, runs)))
    samples: Any = task.validation()
    places = range(0, len(samples), max(1, -(-len(samples) // _PREDICTED)))
    if not isinstance(task, DrawnTask):
        shown = []
        for index in places:
            sample = samples[index]["input"]
            shown.append((f"validation {index}", {run.name: (sample, judged_input(run, sample)) for run in runs}))
        columns, pictures = _drawn_by_task(task, shown)
        return Pictures(name, header=columns, rows=pictures)
    rows, labels = [], []
    for index in places:
        sample = samples[index]
        target = sample["target"]
        cells = {"image": shown_input(task, sample["input"]), "truth": task.draw_labels(target)}
        labels.append(target.flatten())
        for run in runs:
            device = next(run.network.parameters()).device
            output = run.task.predict(run.network, sample["input"].unsqueeze(0).to(device))
            label = run.task.parted(output)[0][0].argmax(0).cpu()
            cells[run.name] = task.draw_labels(label.where(target != task.ignore_index, task.ignore_index))
            labels.append(label.flatten())
        rows.append((str(index), tuple(_described(f"validation {index}", cells))))
    header = ("index", "image", "truth", *(run.name for run in runs))
    return Pictures(name, header=header, rows=tuple(rows), classes=_class_colours(task, torch.cat(labels)))


def _drawn_by_task(
    task: Task, samples: Sequence[tuple[str, Mapping[str, tuple[Tensor, Selection]]]]
) -> tuple[tuple[str, ...], tuple[tuple[str, tuple[Picture, ...]], ...]]:
    """Header and rows of what a task draws itself, a row for each sample: its name, and input and selection by run."""
    header, rows = ["sample"], []
    for name, by_run in samples:
        cells = []
        for run, (sample, selection) in by_run.items():
            try:
                drawn = task.pictures(sample, selection.label[0], selection)
            except ResidualSSLError:
                return (), ()
            for kind, image in drawn.items():
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0) / 255
                cells.append((f"{run}: {kind}", picture(pixels, f"{name}: {kind}")))
        header = ["sample", *(column for column, _ in cells)]
        rows.append((name, tuple(cell for _, cell in cells)))
    return tuple(header), tuple(rows)


def _described(sample: str, cells: dict[str, Tensor]) -> list[Picture]:
    return [picture(pixels, f"{sample}: {name}") for name, pixels in cells.items()]


def _class_colours(task: DrawnTask, labels: Tensor) -> Legend:
    """The classes that occur, in their colours."""
    present = [i for i in torch.unique(labels).tolist() if i != task.ignore_index]
    colours = (task.draw_labels(torch.tensor([present]))[:, 0].T * 255).round().int().tolist()
    names = [class_name(task.class_names, i) for i in present]
    return [(name, "#{:02x}{:02x}{:02x}".format(*rgb)) for name, rgb in zip(names, colours, strict=True)]
