"""What the processes of a run decide together, on the host, without waiting for their devices."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from residual_ssl.errors import ConfigError, ResidualSSLError

_ASKED = 3.0  # seconds that processes get to say that they are waiting too


class Agreement:
    """Decisions that must be the same on all processes of a run; trivial on one.

    Args:
        seconds: how long to wait for the others; None: for ever.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._group: Any = None
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            timeout = timedelta(seconds=seconds) if seconds is not None else timedelta(days=365)
            self._group = dist.new_group(backend="gloo", timeout=timeout)

    def any(self, flag: bool, doing: str) -> bool:
        """True on all processes where the flag of any is set.

        Args:
            flag: of this process.
            doing: what is being done, for the message of a process that waits in vain.
        """
        if self._group is None:
            return flag
        value = torch.tensor([float(flag)])
        self._together(lambda: dist.all_reduce(value, group=self._group), doing)
        return bool(value.item())

    def wait(self, doing: str) -> None:
        """Wait for all processes."""
        self.any(False, doing)

    def check_same(self, value: int, name: str) -> None:
        """Refuse to go on where processes hold different values.

        Raises:
            ConfigError: with the values.
        """
        if self._group is None:
            return
        values: list[Any] = [None] * dist.get_world_size()
        self._together(lambda: dist.all_gather_object(values, value, group=self._group), "start")
        if len(set(values)) > 1:
            raise ConfigError(f"processes: have different values of {name}, {values}; start the run again")

    def _together(self, work: Callable[[], Any], doing: str) -> None:
        started = time.monotonic()
        try:
            work()
        except RuntimeError as error:
            waited = time.monotonic() - started
            raise ResidualSSLError(
                f"processes: process {dist.get_rank()} waited {waited:.0f} s at {doing} in vain for {_absent()}. One "
                "that has stopped says why above; one that hangs is given more time by a longer timeout"
            ) from error


def _absent() -> str:
    """The processes that do not say, through the store that started the group, that they are waiting too."""
    rank, size = dist.get_rank(), dist.get_world_size()
    found: list[int] = []

    def ask() -> None:
        store: Any = dist.distributed_c10d._get_default_store()
        store.set(f"residual_ssl/waiting/{rank}", "1")
        time.sleep(_ASKED)
        found.extend(other for other in range(size) if not store.check([f"residual_ssl/waiting/{other}"]))

    asking = threading.Thread(target=ask, daemon=True)  # the store may be gone with its process, and block
    asking.start()
    asking.join(_ASKED + 5)
    others = found or [other for other in range(size) if other != rank]
    return f"process{'es' if len(others) > 1 else ''} {', '.join(map(str, others))}"
