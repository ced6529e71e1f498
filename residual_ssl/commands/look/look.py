"""A contact sheet of a data set, with what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from residual_ssl.commands.look.facts import DataFacts, data_facts
from residual_ssl.commands.look.sheet import contact_sheet
from residual_ssl.config.components import build
from residual_ssl.config.composition import compose
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.runtime.files import atomic_file
from residual_ssl.task import Task


def look(overrides: Sequence[str], out: str | Path, *, config_dir: str | Path | None = None) -> DataFacts:
    """Draw a contact sheet of a data set: images with their labels, shares of the classes, sizes.

    Args:
        overrides: as of :func:`residual_ssl.compose`, with the data set to look at: ``["dataset=folders", …]``.
        out: PNG file to write.
        config_dir: as of :func:`residual_ssl.compose`.

    Raises:
        ConfigError: a task whose samples are no images; ``out`` is no PNG file.
        DataError, MissingDataError: labels that cannot be read, a data set that cannot be listed, or of whose labelled
            images none can be read; others that cannot are left out of the sheet.
    """
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise ConfigError(f"out: got {out}, expected the name of a PNG file, as sheet.png")
    task: Task = build(compose(overrides, config_dir=config_dir)["task"], "task")
    source: Any = getattr(task, "source", None)
    if source is None or not all(hasattr(source, name) for name in ("labelled", "unlabelled", "validation")):
        raise ConfigError(f"dataset: {type(task).__name__} has no samples of images to look at")
    if not len(source.labelled):
        raise DataError("labelled set: holds no samples; there is nothing to look at")
    first = _readable(source.labelled)
    if not hasattr(first, "image") or first.image.dim() != 3:
        raise ConfigError(f"dataset: samples of {type(task).__name__} are no images; a sheet shows images")
    facts = data_facts(task, source)
    figure = contact_sheet(task, source, facts)
    with atomic_file(path, "sheet") as file:
        figure.savefig(file, format="png", facecolor="white")
    return facts


def _readable(samples: Any) -> Any:
    """The first sample that can be read."""
    for index in range(len(samples)):
        try:
            return samples[index]
        except (DataError, MissingDataError) as error:
            last = error
    raise last
