"""The manifest of work on a pool: its settings and its shards, written once, and what of it is left to do."""

from __future__ import annotations

import json
import os
import random
import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from residual_ssl.data.pools.shards import Shard
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.runtime.files import atomic_file

NAME = "manifest.jsonl"


class Manifest:
    """The settings of a work and its shards, in the file ``manifest.jsonl``: settings first, then a shard a line.

    What is done is what has its file: nothing else is kept, so that nothing can disagree with it.

    Args:
        folder: of the results.

    Attributes:
        settings: that every process and every later call must share.
        folder: as given.

    Raises:
        MissingDataError: no manifest there.
        DataError: one that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME
        # Where each line begins: shards of files may be long lines, and a process reads its own alone.
        self._places = array("Q")
        try:
            with self._path.open("rb") as file:
                self.settings: dict[str, Any] = json.loads(file.readline())
                place = file.tell()
                for line in file:
                    self._places.append(place)
                    place += len(line)
        except FileNotFoundError as error:
            raise MissingDataError(f"{self._path}: no manifest; residual-ssl label writes one") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{self._path}: cannot be read, {error}; restore it, or give another folder") from error

    @classmethod
    def written(cls, folder: Path, settings: Mapping[str, Any], shards: Callable[[], Iterable[Shard]]) -> Manifest:
        """The manifest of a folder; a new one is written where there is none, by the first of all processes to do so.

        Args:
            folder: of the results, made if needed.
            settings: JSON values.
            shards: gives the shards, called where there is no manifest yet.

        Raises:
            ConfigError: a manifest of other settings; names them.
            ResidualSSLError: it cannot be written.
        """
        if not (folder / NAME).exists():
            _write_once(folder / NAME, _lines(settings, shards()))
        found = cls(folder)
        plain = json.loads(json.dumps(settings))
        other = [key for key in {**plain, **found.settings} if plain.get(key) != found.settings.get(key)]
        if other:
            told = "; ".join(f"{key} {found.settings.get(key)!r} there, {plain.get(key)!r} now" for key in other)
            raise ConfigError(f"out: {folder} holds a work of other settings, {told}. Give another folder")
        return found

    def __len__(self) -> int:
        return len(self._places)

    def shard(self, number: int) -> Shard:
        """A shard by its number in [0, N)."""
        with self._path.open("rb") as file:
            file.seek(self._places[number])
            kind, source, members = json.loads(file.readline())
        return Shard(kind, source, tuple(members))

    def file(self, stage: str, number: int, suffix: str) -> Path:
        """The file of a shard's result: it is there exactly when the shard is done."""
        return self.folder / stage / f"{number:06d}{suffix}"

    def left(self, stage: str, suffix: str) -> list[int]:
        """Numbers of the shards without a result."""
        done = _names(self.folder / stage)
        return [number for number in range(len(self)) if f"{number:06d}{suffix}" not in done]


def own_then_others(manifest: Manifest, stage: str, suffix: str, process: int, processes: int) -> Iterator[int]:
    """Numbers of shards for one of several processes, each looked at once: those without a result in their turn.

    A process takes its own, every N-th, in order; then those of the others that are left, in an order of its own, so
    that several which help do not meet. So no process waits for another, asks it, or locks anything: where one is slow,
    late or gone, the others do its work, at worst some of it twice, with the same result.

    Args:
        manifest: of the work.
        stage, suffix: of the results, as of :meth:`Manifest.file`.
        process, processes: rank and world size.
    """
    own = [number for number in manifest.left(stage, suffix) if number % processes == process]
    yield from _not_there(manifest, stage, suffix, own)
    others = [number for number in manifest.left(stage, suffix) if number % processes != process]
    random.Random(process).shuffle(others)
    yield from _not_there(manifest, stage, suffix, others)


def _not_there(manifest: Manifest, stage: str, suffix: str, numbers: Iterable[int]) -> Iterator[int]:
    return (number for number in numbers if not manifest.file(stage, number, suffix).exists())


def remove_left_behind(folder: Path) -> None:
    """Remove what killed processes were writing; for a folder whose results are all there."""
    for name in _names(folder):
        if name.startswith(".") and name.endswith(".partial"):
            with suppress(OSError):
                (folder / name).unlink()


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def _lines(settings: Mapping[str, Any], shards: Iterable[Shard]) -> Iterator[str]:
    yield json.dumps(settings)
    for shard in shards:
        yield json.dumps(shard)


def _write_once(path: Path, lines: Iterable[str]) -> None:
    """Write a file that is not there; where another process was first, its file stays."""
    own = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        with atomic_file(own, "manifest") as file:
            for line in lines:
                file.write(line.encode() + b"\n")
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not path.exists():
                own.replace(path)
    finally:
        with suppress(OSError):
            own.unlink(missing_ok=True)
