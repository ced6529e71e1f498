"""Which images of a pool a person should label next: unreliable ones, unlike each other, of every class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from residual_ssl.commands.pools.candidates import Candidates, choose
from residual_ssl.commands.pools.contact_sheet import contact_sheet
from residual_ssl.commands.pools.labeller import PoolLabeller, PredictedBatch, SkippedImage
from residual_ssl.commands.pools.own_pool import OwnPool
from residual_ssl.commands.pools.passes import STATISTICS, ByProcesses, decide_for_pool, opened_pool
from residual_ssl.commands.pools.work import Images, MaxErrors, cores, own_device
from residual_ssl.data import ListEntry
from residual_ssl.data.pools import Manifest, PoolImage, remove_left_behind
from residual_ssl.errors import ConfigError
from residual_ssl.models import EncoderDecoder
from residual_ssl.runtime.files import atomic_file, write_json, write_text
from residual_ssl.selection import Selection

_STAGE, _SUFFIX = "candidates", ".npz"
# Candidates for each image that is to be chosen.
_WIDE = 20
# Points of an image beyond which its features are those of a smaller copy.
_MOST_POINTS = 2**20
_SHOWN = 120


@dataclass(frozen=True)
class Query:
    """Images to label next.

    Attributes:
        folder: with the list, the sheet, and what is known of each image.
        images: names, in the order of choice.
        reasons: ``"class NAME"`` or ``"centre"`` of each.
        looked_at: number of images that they were chosen from.
    """

    folder: Path
    images: tuple[str, ...]
    reasons: tuple[str, ...]
    looked_at: int

    def __str__(self) -> str:
        return (
            f"{len(self.images)} of {self.looked_at} images to label next: {self.folder / 'query.txt'}\n"
            f"{self.folder / 'contact_sheet.png'}"
        )


def query(
    run: str | Path,
    pool: str | Path | Sequence[str | Path],
    out: str | Path,
    budget: int,
    *,
    selector: str | None = None,
    root: str | Path | None = None,
    image_column: str | None = None,
    shard_size: int = 1000,
    batch: int = 16,
    threads: int | None = None,
    max_errors: int | None = 100,
    checkpoint_name: str = "best.pt",
    device: str = "auto",
    changes: Sequence[str] = (),
    config_dir: str | Path | None = None,
    progress: Callable[[str], Any] | None = None,
) -> Query:
    """Choose images of a pool for a person to label: unreliable under the selector, diverse, of every class.

    Unreliable is an image of which little is predicted with weight and confidence. Of the most unreliable ones those
    are chosen that are unlike each other in the features of the network (k-centre), and for a class that none of them
    shows, one that does. ``OUT/query.txt`` lists them; ``OUT/labelled.txt``, where the run's own data are the pool,
    lists them after the images that the run has labels of: the ``labelled=`` of the next run, when they are labelled.
    ``OUT/contact_sheet.png`` shows them with what is predicted.

    Like :func:`label` it goes through the pool shard by shard, on any number of processes, and the same call goes on
    where it was stopped. Of a shard some thousand bytes an image of the budget are kept.

    Args:
        run, pool, out, selector, root, image_column, shard_size, batch, threads, max_errors, checkpoint_name, device,
            changes, config_dir, progress: as of :func:`label`.
        budget: number of images, ≥ 1.

    Raises:
        As :func:`label`.
    """
    if budget < 1:
        raise ConfigError(f"budget: got {budget}, expected a number of images ≥ 1")
    labeller = PoolLabeller(
        run,
        selector=selector,
        checkpoint_name=checkpoint_name,
        device=own_device(device),
        changes=changes,
        batch=batch,
        threads=threads or cores(),
        config_dir=config_dir,
    )
    settings, shards, opened = opened_pool(labeller, pool, root, image_column, shard_size)
    settings |= {"work": "query", "selector": selector or repr(labeller.selector), "batch": batch, "budget": budget}
    manifest = Manifest.written(Path(out), settings, shards)
    kept, work = _WIDE * budget, ByProcesses(labeller, manifest, opened, progress)
    if labeller.two_passes and manifest.left(_STAGE, _SUFFIX):
        decide_for_pool(labeller, manifest, work)
    work(_STAGE, _SUFFIX, partial(_candidates, kept=kept), MaxErrors(max_errors), "looked at")
    files = (manifest.file(_STAGE, number, _SUFFIX) for number in range(len(manifest)))
    found = Candidates.together(map(Candidates.load, files), kept)
    chosen = choose(found, budget)
    return _written(manifest, labeller, opened, found.taken(place for place, _ in chosen), [why for _, why in chosen])


def _candidates(
    labeller: PoolLabeller,
    number: int,
    images: Iterator[PoolImage],
    skipped: list[SkippedImage],
    file: IO[bytes],
    *,
    kept: int,
) -> None:
    parts: list[Candidates] = []
    for batch in labeller.predict(images, skipped):
        chosen = labeller.judge(batch.logits, labeller.evidence(batch.inputs))
        parts.append(_described(labeller, number, batch, chosen))
    empty = _nothing(labeller.task.num_classes)
    (Candidates.together(parts, kept) if parts else empty).best(kept).save(file)


@torch.no_grad()
def _described(labeller: PoolLabeller, number: int, batch: PredictedBatch, chosen: Selection) -> Candidates:
    count, classes = len(batch.images), labeller.task.num_classes
    valid = chosen.valid.reshape(count, -1).double()
    points = valid.sum(1).clamp(min=1)
    confidence = chosen.confidence.reshape(count, -1).double() * valid
    weight = chosen.weight.reshape(count, -1).double()
    shares = F.one_hot(batch.logits.argmax(1).reshape(count, -1), classes).double()
    shares = (shares * valid.unsqueeze(2)).sum(1) / points.unsqueeze(1)
    return Candidates(
        np.array([image.id for image in batch.images]),
        np.full(count, number, np.int64),
        _floats(1 - (weight * confidence).sum(1) / points),
        _floats(confidence.sum(1) / points),
        _floats(shares),
        _floats(_features(labeller, batch)),
        shares.sum(0).cpu().numpy(),
        count,
    )


def _features(labeller: PoolLabeller, batch: PredictedBatch) -> Tensor:
    """What describes images: the highest features of the network, else those of the task, else mean probabilities."""
    inputs = batch.inputs.to(labeller.trained.device)
    if isinstance(labeller.trained.model, EncoderDecoder):
        if inputs.dim() == 4 and inputs[0, 0].numel() > _MOST_POINTS:
            factor = (_MOST_POINTS / inputs[0, 0].numel()) ** 0.5
            inputs = F.interpolate(inputs, scale_factor=factor, mode="bilinear", antialias=True)
        found = labeller.trained.model.encode(labeller.task.view(inputs, "plain"))[-1]
    elif (features := labeller.task.features(inputs)) is not None:
        found = features
    else:
        found = batch.logits.float().softmax(1)
    return found.flatten(2).mean(2) if found.dim() > 2 else found


def _nothing(classes: int) -> Candidates:
    none = np.zeros(0, np.float32)
    pool = np.zeros(classes, np.float64)
    return Candidates(
        np.zeros(0, str), np.zeros(0, np.int64), none, none, np.zeros((0, classes), np.float32), none[:, None], pool, 0
    )


def _floats(values: Tensor) -> Any:
    return values.cpu().numpy().astype(np.float32)


def _written(
    manifest: Manifest, labeller: PoolLabeller, opened: Images, chosen: Candidates, reasons: Sequence[str]
) -> Query:
    """Write lists and sheet; every process writes the same."""
    folder, names = manifest.folder, labeller.task.class_names
    whys = [f"class {names[int(why.split()[1])]}" if why.startswith("class") else why for why in reasons]
    ids = [str(name) for name in chosen.ids]
    write_text(folder / "query.txt", _lines([ListEntry(name, None) for name in ids]), "list")
    if isinstance(opened, OwnPool) and (entries := opened.labelled_and(ids)):
        write_text(folder / "labelled.txt", _lines(entries), "list")
    rows = [
        {
            "id": name,
            "reason": why,
            "unreliability": round(float(chosen.unreliability[i]), 6),
            "confidence": round(float(chosen.confidence[i]), 6),
            "classes": {
                names[k]: round(float(chosen.classes[i, k]), 4) for k in np.flatnonzero(chosen.classes[i] > 0).tolist()
            },
        }
        for i, (name, why) in enumerate(zip(ids, whys, strict=True))
    ]
    write_json(folder / "query.json", {"looked_at": chosen.images, "images": rows})
    cells = _cells(manifest, labeller, opened, chosen.taken(range(min(_SHOWN, len(chosen)))), whys)
    with atomic_file(folder / "contact_sheet.png", "contact sheet") as file:
        contact_sheet(cells).save(file, format="PNG")
    for place in (folder, folder / _STAGE, folder / STATISTICS):
        remove_left_behind(place)
    return Query(folder, tuple(ids), tuple(whys), chosen.images)


def _lines(entries: Sequence[ListEntry]) -> str:
    return "".join(f"{entry.image}\n" if entry.mask is None else f"{entry.image}\t{entry.mask}\n" for entry in entries)


def _cells(
    manifest: Manifest, labeller: PoolLabeller, opened: Images, chosen: Candidates, whys: Sequence[str]
) -> list[tuple[list[Image.Image], list[str]]]:
    """Pictures of the chosen images, read once more, and what is said of them."""
    wanted = set(chosen.ids.tolist())
    images = [
        image
        for number in sorted(set(chosen.shard.tolist()))
        for image in opened(manifest.shard(number))
        if image.id in wanted
    ]
    found: dict[str, list[Image.Image]] = {}
    for image, batch in _one_by_one(labeller, images):
        pixels = (batch.inputs[0].cpu().clamp(0, 1) * 255).round().to(torch.uint8)
        pixels = pixels.expand(3, -1, -1) if len(pixels) == 1 else pixels
        pictures = [Image.fromarray(pixels.movedim(0, -1).numpy())]
        if labeller.dense:
            selection = labeller.judge(batch.logits, labeller.evidence(batch.inputs)).map(Tensor.cpu)
            drawn = labeller.task.pictures(batch.inputs[0].cpu(), batch.logits[0].argmax(0).cpu(), selection)
            pictures += [drawn["overlay"]] if "overlay" in drawn else []
        found[image.id] = pictures
    cells = []
    for i, name in enumerate(chosen.ids.tolist()):
        most = labeller.task.class_names[int(chosen.classes[i].argmax())]
        lines = [f"{i + 1}. {name}", whys[i], f"unreliability {chosen.unreliability[i]:.2f}"]
        cells.append((found[name], lines if labeller.dense else [*lines, f"predicted: {most}"]))
    return cells


def _one_by_one(labeller: PoolLabeller, images: Sequence[PoolImage]) -> Iterator[tuple[PoolImage, PredictedBatch]]:
    for image in images:
        for batch in labeller.predict([image], []):
            yield image, batch
