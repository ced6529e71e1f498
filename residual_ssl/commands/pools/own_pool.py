"""The unlabelled set of a run's own data as a pool."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from residual_ssl.data import ListEntry
from residual_ssl.data.pools import PoolImage, Shard
from residual_ssl.data.samples import files_of
from residual_ssl.engine.setup.unreadable import sample_name
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.task import Task

#: How it is named in the place of a pool.
OWN = "run:unlabelled"


class OwnPool:
    """The unlabelled samples of a task's source, under the names that split lists give them.

    Args:
        task: of a run, whose data are there.

    Raises:
        ConfigError: a task without such a source.
    """

    def __init__(self, task: Task) -> None:
        source = getattr(task, "source", None)
        if source is None:
            raise ConfigError(f"pool: {OWN} for a task that has no source, {type(task).__name__}; give files")
        self._samples: Any = source.unlabelled
        self._labelled: Any = source.labelled

    def __len__(self) -> int:
        return len(self._samples)

    def __call__(self, shard: Shard) -> Iterator[PoolImage]:
        first, end = (int(place) for place in shard.members)
        for place in range(first, end):
            yield self._image(place)

    def _image(self, place: int) -> PoolImage:
        file = files_of(self._samples, place)[0]
        try:
            if file is not None:
                return PoolImage(self._samples.entry(place).image, file)
            sample = self._samples[place]
            if sample.image.dtype != torch.uint8 or sample.image.dim() != 3:
                raise ConfigError(f"pool: {OWN} holds no images, but what was made of them; give the files instead")
            return PoolImage(sample.name, _png(sample.image))
        except (DataError, MissingDataError) as error:
            return PoolImage(sample_name(self, place), None, str(error))

    def labelled_and(self, names: Sequence[str]) -> list[ListEntry]:
        """The lines of a split list with the labelled samples, then those of these names; none where samples have no
        lines."""
        if not (hasattr(self._samples, "entry") and hasattr(self._labelled, "entry")):
            return []
        own = {entry.image: entry for entry in map(self._samples.entry, range(len(self)))}
        return [*map(self._labelled.entry, range(len(self._labelled))), *(own[name] for name in names)]


def _png(image: Tensor) -> bytes:
    """An image uint8 ``(C, H, W)`` as a PNG file."""
    pixels = image.movedim(0, -1).squeeze(-1).numpy()
    content = io.BytesIO()
    PIL.Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
    return content.getvalue()
