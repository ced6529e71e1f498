"""Files written whole or not at all: beside their place under a name of this writer's own, then moved there."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from residual_ssl.errors import ResidualSSLError

_SUFFIX = ".partial"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def atomic_file(
    path: Path, what: str = "file", error: type[ResidualSSLError] = ResidualSSLError, *, keep_as: Path | None = None
) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of ``path`` in one step when the block ends without an error.

    What was at ``path`` survives any failure and any kill. The new content is on the disk before it is moved, and so is
    the move before the block is left.

    Args:
        path: its folder is made if needed.
        what: kind of file, for messages.
        error: class of the error to raise.
        keep_as: where the file that was at ``path`` is kept; None: it is replaced.

    Raises:
        ResidualSSLError: the file cannot be written; the message says which, why, and what to do.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keep_as is not None and path.exists():
            _keep(path, keep_as)
        partial.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as fault:  # torch reports a failed write as a RuntimeError
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise error(f"{what} {path}: {_fault(fault, path, what)}") from fault
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, what: str = "file", error: type[ResidualSSLError] = ResidualSSLError) -> None:
    """Write UTF-8 text as of :func:`atomic_file`."""
    with atomic_file(path, what, error) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON as of :func:`atomic_file`; numbers that are not finite, which JSON does not have, become null."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """JSON of plain values, paths as text and numbers that are not finite as null.

    Example:
        >>> json_text({"miou": float("nan")})
        '{\\n  "miou": null\\n}\\n'
    """
    return json.dumps(_strict(content), indent=2, allow_nan=False) + "\n"


def copy_file(source: Path, path: Path) -> None:
    """Copy a file as of :func:`atomic_file`."""
    with atomic_file(path) as target, source.open("rb") as original:
        shutil.copyfileobj(original, target, 1 << 20)


def make_folder(path: Path, what: str = "folder") -> None:
    """Make a folder with its parents.

    Raises:
        ResidualSSLError: it cannot be made; the message says why, and what to do.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise ResidualSSLError(f"{what} {path}: cannot be made ({_reason(fault)}); {_remedy(fault)}") from fault


def remove_partial_files(folder: Path) -> None:
    """Remove what writers left that were killed while they wrote; for the one process that writes to ``folder``."""
    for partial in folder.glob(f".*{_SUFFIX}"):
        with suppress(OSError):
            partial.unlink()


def _keep(path: Path, kept: Path) -> None:
    # A second name for the same file: at no moment is there none at path.
    name = path.with_name(f".{kept.name}.{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}")
    try:
        os.link(path, name)
    except OSError:  # a file system without links
        path.replace(kept)
        return
    name.replace(kept)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system opens folders
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _fault(fault: Exception, path: Path, what: str) -> str:
    try:
        exists = path.exists()
    except OSError:
        exists = False
    kept = f"the previous {what} there is intact" if exists else "nothing was written"
    return f"cannot be written ({_reason(fault)}); {kept}. {_remedy(fault).capitalize()}"


def _reason(fault: Exception) -> str:
    text = fault.strerror if isinstance(fault, OSError) and fault.strerror else str(fault)
    return text.splitlines()[0] if text else type(fault).__name__


def _remedy(fault: Exception) -> str:
    number = fault.errno if isinstance(fault, OSError) else None
    if number in _NO_SPACE:
        return "free space on that disk, or write to another one"
    if number in _NO_PERMISSION:
        return "give yourself the right to write there, or write to another folder"
    return "free space, or write to another folder"


def _strict(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_strict(value) for value in content]
    if isinstance(content, Path):
        return str(content)
    return None if isinstance(content, float) and not math.isfinite(content) else content
