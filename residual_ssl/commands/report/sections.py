"""The sections of a report's page, each as HTML with the sentences that explain it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from residual_ssl.commands.report.curves import curves
from residual_ssl.commands.report.pictures import (
    NOT_JUDGED,
    OUTCOMES,
    DrawnTask,
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
from residual_ssl.commands.report.sheet import SheetTask, judged_sheet, predicted_sheet
from residual_ssl.errors import ResidualSSLError
from residual_ssl.selection import ConvexSelector, Selection
from residual_ssl.task import Task

_PREDICTED = 4


def section(title: str, *parts: str) -> str:
    """A section with its heading."""
    return "\n".join([f"<section>\n<h2>{html.escape(title)}</h2>", *parts, "</section>"])


def curves_section(runs: Sequence[FinishedRun]) -> str:
    """Curves of all runs."""
    return section(
        "Over the course of training",
        _scrolled(figure_image(curves(runs), "Validation metric, coverage and purity over training steps")),
        "<p>Coverage is the weight given to pseudo-labels, as a share of all points. Purity is the share of that "
        "weight that lies on right pseudo-labels; it needs the truth of the unlabelled data, which no run was trained "
        "with. A selector may buy one with the other, so read them together.</p>",
    )


def absent_section(error: Exception) -> str:
    """What stands in the place of pictures of samples where the data cannot be read."""
    return section(
        "Samples",
        f"<p>There are no pictures of samples, as the data cannot be read: {html.escape(str(error))}. Where they lie "
        "elsewhere now, give <code>--set dataset.root=FOLDER</code>.</p>",
    )


def samples_section(run: FinishedRun, judged: JudgedSamples | None) -> str:
    """What a run makes of unlabelled samples."""
    title = "What a run sees"
    if judged is None:
        return section(title, f"<p>{html.escape(run.name)} has no unlabelled samples.</p>")
    task = run.task
    whose = (
        f"of {type(judged.selector).__name__}, the run's own selector"
        if judged.of_run
        else "of CSL, since this run itself uses no pseudo-labels"
    )
    if judged.logits.dim() == 2 and isinstance(task, SheetTask):
        return section(
            title,
            f"<p>Unlabelled samples of <b>{html.escape(run.name)}</b> in weak augmentation, with the class that its "
            f"network predicts after the last step. Weight is that of the pseudo-label in the loss, {whose}, which "
            f"judged {len(judged.inputs)} samples together.</p>",
            judged_sheet(task, judged),
            *([_outcome_legend()] if judged.truth is not None else []),
        )
    if not isinstance(task, DrawnTask):
        note = (
            f"<p>Unlabelled samples of <b>{html.escape(run.name)}</b> in weak augmentation, with its predictions after "
            f"the last step. Trust is the weight in the loss, {whose}.</p>"
        )
        drawn = [
            (f"sample {i + 1}", {run.name: (sample, judged.selection.map(lambda points, i=i: points[i : i + 1]))})  # type: ignore[misc]
            for i, sample in enumerate(judged.inputs[:_PREDICTED])
        ]
        return section(title, *_drawn_by_task(task, note, drawn))
    header, rows = _sample_pictures(task, judged)
    words = [
        f"<p>Unlabelled samples of <b>{html.escape(run.name)}</b> in weak augmentation, as its network predicts them "
        f"after the last step. Trust is the weight of each pseudo-label in the loss, {whose}."
    ]
    if judged.masked is not None:
        words.append(
            "The masked view hides random blocks of the trusted area under the mean colour; the network must infer "
            "them from the rest. Every sample is masked here, in training the share that the configuration says."
        )
    labels = judged.selection.label.where(judged.selection.valid, task.ignore_index)
    occurring = labels if judged.truth is None else torch.cat([labels, judged.truth])
    legends = [_class_legend(task, occurring), _TRUST_LEGEND]
    if judged.truth is not None:
        legends.append(_outcome_legend())
    return section(title, " ".join(words) + "</p>", _picture_grid(header, rows), *legends)


def _sample_pictures(task: DrawnTask, judged: JudgedSamples) -> tuple[list[str], list[list[str]]]:
    ignore = task.ignore_index
    known = judged.known(ignore)
    rows = []
    for i, image in enumerate(judged.inputs):
        one = judged.selection.map(lambda points, i=i: task.plane(points[i]))  # type: ignore[misc]
        cells = {"image": shown_input(task, image)}
        if judged.truth is not None:
            cells["truth"] = task.draw_labels(judged.truth[i])
        cells["pseudo-label"] = task.draw_labels(one.label.where(one.valid, ignore))
        cells["trust"] = trust_map(one)
        if judged.truth is not None:
            cells["right or wrong"] = outcome_map(one, task.plane(judged.truth[i]), task.plane(known[i]))
        if judged.masked is not None:
            cells["masked view"] = task.display(judged.masked[i : i + 1])[0]
        rows.append([str(i + 1), *(picture(pixels, f"sample {i + 1}: {name}") for name, pixels in cells.items())])
    return ["sample", *cells], rows


def plane_section(run: FinishedRun, judged: JudgedSamples | None) -> str:
    """The plane of confidence and dispersion for the same samples."""
    title = "The (confidence, dispersion) plane"
    if judged is None:
        return section(title, f"<p>{html.escape(run.name)} has no unlabelled samples.</p>")
    selector, note = judged.selector, ""
    if not isinstance(selector, ConvexSelector):
        note = (
            f" {html.escape(run.name)} itself selects with {type(selector).__name__}: this is what "
            "<code>ConvexSelector()</code> makes of its predictions."
        )
        selector = ConvexSelector()
        judged = judged_samples(run, selector) or judged
    partition = selector.partition(judged.logits, judged.selection.valid)
    figure = plane(judged, partition, run.task.ignore_index)
    return section(
        title,
        f"<p>Each dot is one point (in an image, a pixel) of a prediction of <b>{html.escape(run.name)}</b> on the "
        "same samples. To the right: how sure the network is of its class. Upwards: how unevenly the remaining "
        "probability is spread over the other classes, so that a high dot has one strong rival class. The convex "
        "program splits the dots along the black line, with no threshold to tune, and the side with the better mean "
        "(more confidence; for CoVar, less dispersion too) is the reliable one. What is better than the mean of the "
        "reliable side in either feature is trusted in full; in the grey area, weight falls with the distance from it. "
        "Both axes have a square-root scale, which stretches the corner of sure predictions, where most dots lie."
        f"{note}</p>",
        _scrolled(figure_image(figure, "Points by confidence and residual dispersion, with the partition")),
    )


@torch.no_grad()
def predictions_section(runs: Sequence[FinishedRun]) -> str:
    """The same validation samples as every run predicts them."""
    title = "Predictions on the validation set"
    task = runs[0].task
    if isinstance(task, SheetTask) and not isinstance(task, DrawnTask):
        words = "<p>Samples spread evenly over the validation set: their class, and what each run predicts.</p>"
        return section(title, words, predicted_sheet(task, runs))
    if not isinstance(task, DrawnTask):
        validation: Any = task.validation()
        shown = []
        for index in _spread(len(validation)):
            sample = validation[index]["input"]
            shown.append((f"validation {index}", {run.name: (sample, judged_input(run, sample)) for run in runs}))
        note = "<p>Samples spread evenly over the validation set, after the last step.</p>"
        return section(title, *_drawn_by_task(task, note, shown))
    samples = task.validation()
    length = len(samples)  # type: ignore[arg-type]
    rows, labels = [], []
    for index in _spread(length):
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
        rows.append([str(index), *(picture(pixels, f"validation {index}: {name}") for name, pixels in cells.items())])
    return section(
        title,
        "<p>Samples spread evenly over the validation set, after the last step; white where the truth is unknown.</p>",
        _picture_grid(["index", "image", "truth", *(run.name for run in runs)], rows),
        _class_legend(task, torch.cat(labels)),
    )


def _spread(length: int) -> range:
    return range(0, length, max(1, -(-length // _PREDICTED)))


def _drawn_by_task(
    task: Task, words: str, samples: Sequence[tuple[str, Mapping[str, tuple[Tensor, Selection]]]]
) -> list[str]:
    """A grid of what a task draws itself, a row for each sample: its name, and input and selection by run."""
    header, rows = ["sample"], []
    for name, by_run in samples:
        cells = []
        for run, (sample, selection) in by_run.items():
            try:
                pictures = task.pictures(sample, selection.label[0], selection)
            except ResidualSSLError:
                return [f"<p>{type(task).__name__} draws no pictures of its samples.</p>"]
            for kind, image in pictures.items():
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0) / 255
                cells.append((f"{run}: {kind}", picture(pixels, f"{name}: {kind}")))
        header = ["sample", *(column for column, _ in cells)]
        rows.append([name, *(cell for _, cell in cells)])
    return [words, _picture_grid(header, rows)]


def _picture_grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in header)
    lines = ((name, "".join(f"<td>{cell}</td>" for cell in cells)) for name, *cells in rows)
    body = "\n".join(f'<tr><th scope="row">{name}</th>{cells}</tr>' for name, cells in lines)
    return _scrolled(f"<table class=pictures><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>")


def _scrolled(content: str) -> str:
    return f'<div class=scrolled tabindex="0">{content}</div>'


_TRUST_LEGEND = (
    "<p class=legend><b>trust</b><span>weight 0 <i class=ramp></i> 1</span>"
    f'<span><i style="background:{NOT_JUDGED}"></i>not judged (padding)</span></p>'
)


def _legend(name: str, entries: Sequence[tuple[str, str]]) -> str:
    items = (f'<span><i style="background:{colour}"></i>{html.escape(entry)}</span>' for entry, colour in entries)
    return f"<p class=legend><b>{name}</b>{''.join(items)}</p>"


def _outcome_legend() -> str:
    return _legend("right or wrong", [*OUTCOMES, ("unknown", NOT_JUDGED)])


def _class_legend(task: DrawnTask, labels: Tensor) -> str:
    """The classes that occur, in their colours."""
    present = [i for i in torch.unique(labels).tolist() if i != task.ignore_index]
    colours = (task.draw_labels(torch.tensor([present]))[:, 0].T * 255).round().int().tolist()
    names = [class_name(task.class_names, i) for i in present]
    return _legend(
        "classes", [(name, "#{:02x}{:02x}{:02x}".format(*rgb)) for name, rgb in zip(names, colours, strict=True)]
    )
