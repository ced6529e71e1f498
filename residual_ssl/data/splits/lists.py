"""Which images are labelled: split lists and seeded draws."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from residual_ssl.errors import ConfigError, DataError, MissingDataError

#: First line of a list whose columns are separated by tabs alone.
TABS = "# tab-separated"


class ListEntry(NamedTuple):
    """One line of a split list; ``mask`` is None where the line has one column."""

    image: str
    mask: str | None


def read_list(path: str | Path) -> list[ListEntry]:
    """Read a split list: one image per line, as a path or a stem, with its mask as an optional second column.

    Columns are separated by white space; by tabs alone in a line that has a tab, and in all lines of a file that begins
    with the line ``# tab-separated``, so that names may hold spaces.
    Empty lines, lines that begin with ``#`` and a byte order mark are skipped; UTF-16 is read where one says so.

    Raises:
        MissingDataError: no such file.
        DataError: a file that is not UTF-8 text or holds no entry, a line with more than two columns, a repeated image.

    Source: the lists of U2PL and UniMatch, ``JPEGImages/x.jpg SegmentationClass/x.png``.
    """
    entries = []
    lines = _lines(path, "split list", comments=True)
    tabs = lines[:1] == [(1, TABS)]
    for number, line in lines:
        if line.lstrip().startswith("#"):
            continue
        by_tabs = tabs or "\t" in line.strip()
        columns = [c.strip() for c in line.strip().split("\t")] if by_tabs else line.split()
        if len(columns) > 2:
            raise DataError(
                f"{path}, line {number}: got {len(columns)} columns, {line.strip()!r}, expected `image` or `image mask`"
                "; separate the columns by a tab where names hold spaces"
            )
        entries.append(ListEntry(columns[0], columns[1] if len(columns) == 2 else None))
    if not entries:
        raise DataError(f"{path}: the split list is empty, expected one image per line")
    repeated = [image for image, times in Counter(entry.image for entry in entries).items() if times > 1]
    if repeated:
        raise DataError(f"{path}: {few(repeated)} listed more than once; keep one line each")
    return entries


def list_text(names: Iterable[str]) -> str:
    """A split list of images without masks, whose names may hold spaces.

    Raises:
        DataError: a name that no line can hold.

    Example:
        >>> list_text(["a/my house.jpg"])
        '# tab-separated\\na/my house.jpg\\n'
    """
    lines = list(names)
    for name in lines:
        if name != name.strip() or name.startswith("#") or len(f"{name}.".splitlines()) > 1 or "\t" in name:
            raise DataError(f"{name!r}: a list cannot hold this name (tab, line break, space or # at an end); rename")
    return "".join(f"{line}\n" for line in [TABS, *lines])


def read_names(path: str | Path) -> set[str]:
    """The names of samples in a text file, one a line, spaces and all; none in an empty file.

    Raises:
        MissingDataError: no such file.
        DataError: a file that is not text.
    """
    return {line.strip() for _, line in _lines(path, "list of names")}


def _lines(path: str | Path, what: str, *, comments: bool = False) -> list[tuple[int, str]]:
    """The lines of a text file that are not empty, with their numbers; comments left out or not."""
    try:
        content = Path(path).read_bytes()
        encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        lines = content.decode(encoding).splitlines()
    except FileNotFoundError as error:
        raise MissingDataError(f"{path}: no such {what}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the {what} cannot be read, {error}; expected UTF-8 text") from error
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return filled if comments else [(number, line) for number, line in filled if not line.lstrip().startswith("#")]


def draw_labelled(names: Collection[str], count: int, seed: int) -> list[str]:
    """Draw ``count`` of ``names`` at random, in ascending order.

    The draw depends on the set of names and the seed, not on their order. With one seed, a smaller draw is part of
    every larger one, so that the splits of a label-budget study are nested.

    Raises:
        ConfigError: a count outside 1 … the number of names.

    Example:
        >>> draw_labelled(["d", "c", "b", "a"], 2, seed=0)
        ['a', 'b']
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(names):
        raise ConfigError(f"labelled: got {count!r}, expected 1 … {len(names)}, the training images that have a mask")
    ordered = sorted(names)
    order = torch.randperm(len(ordered), generator=torch.Generator().manual_seed(seed))
    return sorted(ordered[i] for i in order[:count].tolist())


def check_disjoint(subsets: Sequence[tuple[str, Collection[str]]], fix: str) -> None:
    """Check that no name is in two of the named subsets.

    Raises:
        DataError: naming the two subsets, the number of names that they share, the first of them, and ``fix``.
    """
    for i, (first, names) in enumerate(subsets):
        for second, others in subsets[i + 1 :]:
            shared = sorted(set(names) & set(others))
            if shared:
                raise DataError(f"{len(shared)} images are both in {first} and in {second}: {few(shared)}; {fix}")


def few(names: Sequence[str], limit: int = 5) -> str:
    """The first names of a long list, and how many there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, … ({len(names)} in all)"
