"""Sheets of samples that are one point each: small pictures with the classes that were predicted."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from residual_ssl.commands.report.pictures import NOT_JUDGED, OUTCOMES, class_name, picture
from residual_ssl.commands.report.runs import FinishedRun
from residual_ssl.commands.report.samples import JudgedSamples

_SHOWN = 24


@runtime_checkable
class SheetTask(Protocol):
    """A task whose samples are images, each of one class."""

    class_names: tuple[str, ...]
    ignore_index: int

    def display(self, view: Tensor) -> Tensor:
        """Views ``(B, C, H, W)`` as images in [0, 1]."""


def judged_sheet(task: SheetTask, judged: JudgedSamples) -> str:
    """The first samples with pseudo-label, weight and, where it is known, truth; framed by their outcome."""
    chosen = judged.selection
    known = judged.known(task.ignore_index)
    figures = []
    for i in range(min(_SHOWN, len(judged.inputs))):
        name = task.class_names[int(chosen.label[i])]
        colour, lines = NOT_JUDGED, [f"<b>{html.escape(name)}</b>", f"weight {chosen.weight[i]:.2f}"]
        if judged.truth is not None and known[i]:
            truth = int(judged.truth[i])
            right = int(chosen.label[i]) == truth
            colour = OUTCOMES[2 * (not right) + (not chosen.trusted[i])][1]
            if not right:
                lines.append(f"is {html.escape(class_name(task.class_names, truth))}")
        figures.append(_figure(picture(_rgb(judged.inputs[i]), f"sample {i + 1}: image"), lines, colour))
    return _sheet(figures)


@torch.no_grad()
def predicted_sheet(task: SheetTask, runs: Sequence[FinishedRun]) -> str:
    """Samples spread over the validation set with the truth and what each run predicts; wrong ones in their colour."""
    data = runs[0].task.validation()
    length = len(data)  # type: ignore[arg-type]
    places = range(0, length, max(1, -(-length // _SHOWN)))
    samples = [data[index] for index in places]
    inputs = torch.stack([sample["input"] for sample in samples])
    predicted = [_labels(run, inputs) for run in runs]
    figures = []
    for i, (index, sample) in enumerate(zip(places, samples, strict=True)):
        truth = int(sample["target"])
        lines = [f"<b>{html.escape(class_name(task.class_names, truth))}</b>"]
        for run, labels in zip(runs, predicted, strict=True):
            colour = OUTCOMES[0 if labels[i] == truth else 2][1]
            label = html.escape(class_name(task.class_names, labels[i]))
            lines.append(f'{html.escape(run.name)}: <span style="color:{colour}">{label}</span>')
        figures.append(_figure(picture(_rgb(sample["input"]), f"validation {index}: image"), lines, "transparent"))
    return _sheet(figures)


def _labels(run: FinishedRun, inputs: Tensor) -> list[int]:
    device = next(run.network.parameters()).device
    labels: list[int] = run.task.predict(run.network, inputs.to(device)).argmax(1).tolist()
    return labels


def _rgb(image: Tensor) -> Tensor:
    return image if len(image) == 3 else image[:1].expand(3, -1, -1)


def _figure(image: str, lines: Sequence[str], colour: str) -> str:
    return f'<figure style="border-color:{colour}">{image}<figcaption>{"<br>".join(lines)}</figcaption></figure>'


def _sheet(figures: Sequence[str]) -> str:
    return f"<div class=sheet>{''.join(figures)}</div>"
