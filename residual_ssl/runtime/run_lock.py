"""One writer for a run directory."""

from __future__ import annotations

import errno
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from residual_ssl.errors import ConfigError, ResidualSSLWarning
from residual_ssl.runtime.files import make_folder, remove_partial_files

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"
_held: set[Path] = set()


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Within the block, no other process of this machine, or of those that share the file system, writes to a run.

    The operating system gives the lock back when the process ends, however it ends: nothing stale is left, and loader
    processes that outlive it hold nothing. The file ``.lock`` names process and machine for the message.

    Raises:
        ConfigError: another process writes there.
    """
    made = not run_dir.exists()
    make_folder(run_dir, "run_dir")
    path = run_dir.resolve() / LOCK_NAME
    if path in _held:
        raise ConfigError(f"run_dir: {run_dir} is being written by another run of this very process; {_CHOICES}")
    number = _acquire(path, run_dir)
    _held.add(path)
    try:
        remove_partial_files(run_dir)
        yield
    finally:
        _held.discard(path)
        if made:  # nothing came of the run
            with suppress(OSError):
                if [entry.name for entry in run_dir.iterdir()] == [LOCK_NAME]:
                    path.unlink()
                    run_dir.rmdir()
        if number is not None:
            os.close(number)


def _acquire(path: Path, run_dir: Path) -> int | None:
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as fault:
        raise ConfigError(
            f"run_dir: {run_dir} cannot be written ({fault.strerror}); give yourself the right to write there, or "
            "choose another run_dir"
        ) from fault
    if fcntl is None:
        return number
    try:
        fcntl.lockf(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        holder = os.read(number, 200).decode(errors="replace").strip()
        if fault.errno in (errno.EACCES, errno.EAGAIN):
            os.close(number)
            raise ConfigError(
                f"run_dir: {run_dir} is being written by {holder or 'another process'}; {_CHOICES}"
            ) from None
        warnings.warn(
            f"run_dir: the file system of {run_dir} has no locks ({fault.strerror}); start no second run in it",
            ResidualSSLWarning,
            stacklevel=4,
        )
        return number
    os.ftruncate(number, 0)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    os.write(number, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode())
    return number


_CHOICES = "wait for its end, stop it, or choose another run_dir"
