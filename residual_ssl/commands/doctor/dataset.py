"""A data set, every file of it opened once: what would stop a training, and what would make its results wrong."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from tqdm import tqdm

from residual_ssl.commands.doctor.findings import Finding
from residual_ssl.commands.doctor.samples import Examined, ExaminedSamples, as_they_are
from residual_ssl.config.components import build
from residual_ssl.config.composition import compose
from residual_ssl.data.samples import files_of
from residual_ssl.data.segmentation.listing import IMAGE_SUFFIXES
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.progress import hidden
from residual_ssl.task import Task

_RARE = 1e-4
_SUBSETS = ("labelled", "unlabelled", "validation")


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        findings: faults first, by kind and subset.
        counts: samples of each subset.
        sizes: smallest and largest (height, width) of the images of each subset.
        classes: labelled points of each class, by subset.
        leave_out: names of the image files that are at fault, or are in validation too, sorted; rows of tables and of
            Parquet files, which cannot be left out by a list, are not among them.
        pairs: subset, image file and mask file (empty for none) of each sample of files.
    """

    findings: list[Finding]
    counts: dict[str, int]
    sizes: dict[str, tuple[tuple[int, int], tuple[int, int]]]
    classes: dict[str, dict[str, int]]
    leave_out: list[str]
    pairs: list[tuple[str, str, str]]

    @property
    def faults(self) -> list[Finding]:
        """The findings that are more than remarks."""
        return [finding for finding in self.findings if finding.is_fault]


def examine(
    overrides: Sequence[str], *, workers: int | None = None, config_dir: str | Path | None = None
) -> Examination:
    """Open every file of a data set once, and look at what the files hold together.

    Args:
        overrides: as of :func:`residual_ssl.compose`, with the data set to look at: ``["dataset=folders", …]``.
        workers: loading processes; None for one a core, 8 at most.
        config_dir: as of :func:`residual_ssl.compose`.

    Raises:
        ConfigError: a task without a ``source`` of samples.
        ResidualSSLError: a data set that cannot even be listed.
    """
    task: Task = build(compose(overrides, config_dir=config_dir)["task"], "task")
    source: Any = getattr(task, "source", None)
    if workers is not None and workers < 0:
        raise ConfigError(f"workers: got {workers}, expected a number of processes ≥ 0")
    if source is None:
        raise ConfigError(
            f"dataset: {type(task).__name__} has no attribute source with labelled, unlabelled and validation samples, "
            "which are what the doctor looks at"
        )
    subsets = {name: samples for name in _SUBSETS if len(samples := getattr(source, name))}
    root = getattr(source, "root", None)
    samples = ExaminedSamples(subsets, task.num_classes, root)
    count = min(os.cpu_count() or 1, 8) if workers is None else workers
    loader = DataLoader(samples, batch_size=8, num_workers=count, collate_fn=as_they_are)
    found: list[Examined] = []
    with tqdm(total=len(samples), desc="doctor", unit=" samples", disable=hidden(None)) as progress:
        for batch in loader:
            found += batch
            progress.update(len(batch))
    classes = _classes(found, task.class_names)
    joint = [*_copies(found), *_class_findings(classes, _ignored(found))]
    findings = [finding for sample in found for finding in sample.findings] + joint + _strays(subsets)
    files = {sample.name for sample in found if sample.is_file}
    alone = {finding.name for sample in found for finding in sample.findings if finding.is_fault}
    leaks = {finding.name for finding in joint if finding.kind == "leak"}
    return Examination(
        sorted(findings, key=lambda f: (not f.is_fault, f.kind, f.subset)),
        {name: len(samples) for name, samples in subsets.items()},
        _sizes(found),
        classes,
        sorted((alone | leaks) & files),
        _pairs(subsets),
    )


def _pairs(subsets: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for subset, samples in subsets.items():
        for index in range(len(samples)):
            image, mask = files_of(samples, index)
            if image is not None:
                found.append((subset, str(image), "" if mask is None else str(mask)))
    return found


def _copies(found: list[Examined]) -> list[Finding]:
    """Samples of equal content, in one set or in two."""
    by_content: dict[str, list[Examined]] = defaultdict(list)
    for sample in found:
        if sample.content:
            by_content[sample.content].append(sample)
    findings = []
    for same in by_content.values():
        # Adaptation that is measured on the very samples that it adapts to, without their labels, is meant to be.
        findings += [_copy(same[0], sample) for sample in same[1:] if sample.name != same[0].name]
        labels = {sample.labels: sample for sample in same if sample.labels}
        if len(labels) > 1:
            one, other = list(labels.values())[:2]
            text = f"{one.name} and {other.name} have equal content and different labels"
            findings.append(Finding("contradiction", other.subset, other.name, text))
    return findings


def _copy(one: Examined, other: Examined) -> Finding:
    text = f"{other.name} has the content of {one.name}"
    if one.subset == other.subset:
        return Finding("copy", other.subset, other.name, text)
    # Validation comes last, so that it is the second of two.
    if other.subset == "validation":
        said = f"{text}, which is in the {one.subset} set: it is measured on what was trained on"
        return Finding("leak", one.subset, one.name, said)
    return Finding("labelled twice", other.subset, other.name, f"{text}, which is in the {one.subset} set")


def _classes(found: list[Examined], names: Sequence[str]) -> dict[str, dict[str, int]]:
    totals: dict[str, list[int]] = {}
    for sample in found:
        if sample.counts and sample.subset != "unlabelled":
            totals.setdefault(sample.subset, [0] * len(names))
            totals[sample.subset] = [a + b for a, b in zip(totals[sample.subset], sample.counts, strict=True)]
    return {subset: dict(zip(names, counts, strict=True)) for subset, counts in totals.items()}


def _ignored(found: list[Examined]) -> dict[str, int]:
    totals: dict[str, int] = defaultdict(int)
    for sample in found:
        totals[sample.subset] += sample.ignored
    return totals


def _class_findings(classes: dict[str, dict[str, int]], ignored: dict[str, int]) -> list[Finding]:
    findings = []
    for subset, counts in classes.items():
        total = sum(counts.values())
        share = ignored[subset] / max(total + ignored[subset], 1)
        swallowed = (
            f". {share:.0%} of the points have no label; where their id is a class in your files (masks of 0 and 255), "
            "give another dataset.ignore_index, and dataset.label_map={0: 0, 255: 1}"
            if share
            else ""
        )
        for name, count in counts.items():
            effect = "cannot be learned" if subset == "labelled" else "has no part in the mean"
            if not count:
                text = f"no point of the {subset} set is {name}; the class {effect}{swallowed}"
                findings.append(Finding("class without label", subset, name, text))
            elif count < _RARE * total:
                text = f"{count:,} of {total:,} labelled points of the {subset} set are {name}"
                findings.append(Finding("rare class", subset, name, text))
    return findings


def _strays(subsets: dict[str, Any]) -> list[Finding]:
    """Entries with the name of an image, in the folders of the data set, that are in no subset."""
    known: set[str] = set()
    of_masks: set[str] = set()
    for samples in subsets.values():
        for index in range(len(samples)):
            image, mask = (None if path is None else os.path.abspath(path) for path in files_of(samples, index))
            known |= {path for path in (image, mask) if path is not None}
            of_masks |= set() if mask is None else {os.path.dirname(mask)}
    findings = []
    for folder in sorted({os.path.dirname(path) for path in known}):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.path in known or entry.name.startswith(".") or not entry.name.lower().endswith(IMAGE_SUFFIXES):
                continue
            kind, what = _kind(entry)
            # Where masks lie, those of unlabelled images lie too, which nothing reads.
            if kind != "not used" or folder not in of_masks:
                findings.append(Finding(kind, "", entry.path, f"{entry.path}: {what}"))
    return findings


def _kind(entry: os.DirEntry[str]) -> tuple[str, str]:
    if entry.is_file():
        return "not used", "is in no subset"
    if entry.is_dir():
        return "no file", "is a folder with the name of an image"
    if entry.is_symlink() and not os.path.exists(entry.path):
        return "missing", "is a link that leads nowhere"
    return "no file", "is a pipe, a socket or a device with the name of an image"


def _sizes(found: list[Examined]) -> dict[str, tuple[tuple[int, int], tuple[int, int]]]:
    by_subset: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for sample in found:
        if sample.size is not None:
            by_subset[sample.subset].append(sample.size)
    return {subset: (min(sizes, key=math.prod), max(sizes, key=math.prod)) for subset, sizes in by_subset.items()}
