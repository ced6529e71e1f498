"""Sheets of samples that are one point each: small pictures with the classes that were predicted."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.commands.report.pictures import NOT_JUDGED, OUTCOMES, class_name, picture
from residual_ssl.commands.report.runs import FinishedRun
from residual_ssl.commands.report.samples import JudgedSamples
from residual_ssl.selection import TrustAll
from residual_ssl.task import Task

_SHOWN = 24
_CERTAIN = 30.0  # logit of what is known


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
    predicted = [_words(run.task, _logits(run, inputs)) for run in runs]
    targets = torch.stack([sample["target"] for sample in samples]).clamp(min=0)
    certain = F.one_hot(targets, len(task.class_names)).movedim(-1, 1).float() * _CERTAIN
    truths = _words(runs[0].task, certain)
    figures = []
    for i, (index, sample) in enumerate(zip(places, samples, strict=True)):
        lines = [f"<b>{html.escape(truths[i])}</b>"]
        for run, words in zip(runs, predicted, strict=True):
            colour = OUTCOMES[0 if words[i] == truths[i] else 2][1]
            lines.append(f'{html.escape(run.name)}: <span style="color:{colour}">{html.escape(words[i])}</span>')
        figures.append(_figure(picture(_rgb(sample["input"]), f"validation {index}: image"), lines, "transparent"))
    return _sheet(figures)


def _logits(run: FinishedRun, inputs: Tensor) -> Tensor:
    device = next(run.network.parameters()).device
    return run.task.predict(run.network, inputs.to(device)).float().cpu()


def _words(task: Task, logits: Tensor) -> list[str]:
    return [str(row["label"]) for row in task.rows(logits, TrustAll()(logits))]


def _rgb(image: Tensor) -> Tensor:
    return image if len(image) == 3 else image[:1].expand(3, -1, -1)


def _figure(image: str, lines: Sequence[str], colour: str) -> str:
    return f'<figure style="border-color:{colour}">{image}<figcaption>{"<br>".join(lines)}</figcaption></figure>'


def _sheet(figures: Sequence[str]) -> str:
    return f"<div class=sheet>{''.join(figures)}</div>"
