"""Stop requests that wait for the end of a step, decided by all processes together."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_REPEATED_AFTER = 2.0  # seconds; launchers pass on to their processes what a terminal has sent to all of them


class StopRequested(KeyboardInterrupt):
    """A signal asked the run to stop; what it has reached is saved."""


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Within the block, interrupt (Ctrl-C) and termination signals only set the yielded event.

    A second Ctrl-C more than two seconds after the first acts as usual; further termination signals are ignored, as
    launchers repeat them while the run is being saved. Outside the main thread, where Python takes no signals, the
    event is never set.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    first: list[float] = []

    def request(number: int, frame: object) -> None:
        requested.set()
        first.append(time.monotonic())
        if number == signal.SIGINT and time.monotonic() - first[0] > _REPEATED_AFTER:
            raise KeyboardInterrupt

    for number in previous:
        signal.signal(number, request)
    try:
        yield requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Within the block, processes and threads that start inherit that they take no stop signals.

    Loader processes are started so: a signal to the whole process group, as schedulers and terminals send it, leaves it
    to this process to stop them. What arrives for this process is delivered after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stop_signals(worker: int) -> None:
    """Ignore stop signals in a loader process, also where it was not started by this one."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
