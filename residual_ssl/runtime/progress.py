"""Whether progress is shown: bars, and what a run prints on its way."""

from __future__ import annotations

import os
import sys
from typing import Any

#: Environment variable that hides them; ``--quiet`` sets it for its command and the processes of that.
QUIET = "RESIDUAL_SSL_QUIET"


def hidden(otherwise: bool | None) -> bool | None:
    """The argument ``disable`` of a tqdm bar: True where progress is not wanted, else ``otherwise``.

    Example:
        >>> hidden(False)
        False
    """
    return True if os.environ.get(QUIET) else otherwise


def steps_bar(name: str, done: int, steps: int, *, shown: bool) -> Any:
    """A tqdm bar of optimiser steps; a line every half minute where standard error is no terminal."""
    from tqdm import tqdm

    seconds = 0.5 if sys.stderr.isatty() else 30
    disable = hidden(not shown)
    return tqdm(total=steps, initial=done, disable=disable, mininterval=seconds, dynamic_ncols=True, desc=name)
