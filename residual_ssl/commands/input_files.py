"""Which files a user means by files, folders and patterns, and where the results of each go."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from residual_ssl.errors import MissingDataError


def input_files(inputs: Iterable[str | Path], suffixes: Sequence[str]) -> list[Path]:
    """The files behind what a user gave, each once, in the order given and by name within a folder or pattern.

    Args:
        inputs: files, taken whatever their suffix; folders, for the files directly in them; patterns with ``*``,
            ``?``, ``[…]`` and, for folders at any depth, ``**``.
        suffixes: endings that count in folders and patterns, in lower case with the dot.

    Raises:
        MissingDataError: an entry that does not exist, or a folder or pattern without such files.
    """
    files = [file for entry in inputs for file in _files(str(entry), suffixes)]
    return list({os.path.abspath(file): file for file in files}.values())


def result_names(files: Sequence[Path]) -> list[Path]:
    """A relative path for the results of each file, without suffix; no two are the same.

    The folders below the deepest one that all files share are kept: files of one folder give plain names, files of
    the same name in different folders lie in folders of their own. Where files of one folder differ in their suffix
    alone, all names keep it.

    Args:
        files: different files.

    Example:
        >>> [name.as_posix() for name in result_names([Path("shots/a/1.png"), Path("shots/b/1.png")])]
        ['a/1', 'b/1']
        >>> [name.as_posix() for name in result_names([Path("shots/1.png"), Path("shots/1.jpg")])]
        ['1.png', '1.jpg']
    """
    if not files:
        return []
    paths = [Path(os.path.abspath(file)) for file in files]
    shared = os.path.commonpath([path.parent for path in paths])
    relative = [path.relative_to(shared) for path in paths]
    short = [path.with_suffix("") for path in relative]
    # File systems that fold case would write A_label.png over a_label.png.
    occurrences = Counter(path.as_posix().casefold() for path in short)
    return relative if max(occurrences.values()) > 1 else short


def _files(entry: str, suffixes: Sequence[str]) -> list[Path]:
    path = Path(entry)
    if path.is_file():
        return [path]
    # A folder or file may have brackets in its name; only what does not exist is read as a pattern.
    if path.is_dir():
        found, kind = list(path.iterdir()), "holds"
    elif glob.has_magic(entry):
        found, kind = [Path(name) for name in glob.glob(entry, recursive=True)], "matches"
    else:
        raise MissingDataError(f"inputs: {entry} is neither a file nor a folder, and no pattern with *, ? or [")
    files = sorted(file for file in found if file.suffix.lower() in suffixes and file.is_file())
    if not files:
        raise MissingDataError(f"inputs: {entry} {kind} no file ending in {', '.join(suffixes)}")
    return files
