"""Sheets of samples that are one point each: small pictures with the classes that were predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from residual_ssl.commands.report.pictures import NOT_JUDGED, OUTCOMES, Picture, class_name, picture
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


@dataclass(frozen=True)
class CardLine:
    """A line below a picture: plain words, then some that are ``"right"``, ``"wrong"`` or plain (``""``)."""

    before: str
    text: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Card:
    """A picture framed in a colour, with a name and lines below."""

    image: Picture
    name: str
    lines: tuple[CardLine, ...]
    colour: str


def judged_sheet(task: SheetTask, judged: JudgedSamples) -> list[Card]:
    """The first samples with pseudo-label, weight and, where it is known, truth; framed by their outcome."""
    chosen = judged.selection
    known = judged.known(task.ignore_index)
    cards = []
    for i in range(min(_SHOWN, len(judged.inputs))):
        colour, lines = NOT_JUDGED, [CardLine(f"weight {chosen.weight[i]:.2f}")]
        if judged.truth is not None and known[i]:
            truth = int(judged.truth[i])
            right = int(chosen.label[i]) == truth
            colour = OUTCOMES[2 * (not right) + (not chosen.trusted[i])][1]
            if not right:
                lines.append(CardLine(f"is {class_name(task.class_names, truth)}"))
        image = picture(_rgb(judged.inputs[i]), f"sample {i + 1}: image")
        cards.append(Card(image, task.class_names[int(chosen.label[i])], tuple(lines), colour))
    return cards


@torch.no_grad()
def predicted_sheet(task: SheetTask, runs: Sequence[FinishedRun]) -> list[Card]:
    """Samples spread over the validation set with the truth and what each run predicts."""
    data = runs[0].task.validation()
    length = len(data)  # type: ignore[arg-type]
    places = range(0, length, max(1, -(-length // _SHOWN)))
    samples = [data[index] for index in places]
    inputs = torch.stack([sample["input"] for sample in samples])
    predicted = [_words(run.task, _logits(run, inputs)) for run in runs]
    targets = torch.stack([sample["target"] for sample in samples]).clamp(min=0)
    certain = F.one_hot(targets, len(task.class_names)).movedim(-1, 1).float() * _CERTAIN
    truths = _words(runs[0].task, certain)
    cards = []
    for i, (index, sample) in enumerate(zip(places, samples, strict=True)):
        lines = tuple(
            CardLine(f"{run.name}: ", words[i], "right" if words[i] == truths[i] else "wrong")
            for run, words in zip(runs, predicted, strict=True)
        )
        image = picture(_rgb(sample["input"]), f"validation {index}: image")
        cards.append(Card(image, truths[i], lines, "transparent"))
    return cards


def _logits(run: FinishedRun, inputs: Tensor) -> Tensor:
    device = next(run.network.parameters()).device
    return run.task.predict(run.network, inputs.to(device)).float().cpu()


def _words(task: Task, logits: Tensor) -> list[str]:
    return [str(row["label"]) for row in task.rows(logits, TrustAll()(logits))]


def _rgb(image: Tensor) -> Tensor:
    return image if len(image) == 3 else image[:1].expand(3, -1, -1)
