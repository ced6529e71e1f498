"""Whether progress is shown: bars, and what a run prints on its way."""

from __future__ import annotations

import os

#: Environment variable that hides them; ``--quiet`` sets it for its command and the processes of that.
QUIET = "RESIDUAL_SSL_QUIET"


def hidden(otherwise: bool | None) -> bool | None:
    """The argument ``disable`` of a tqdm bar: True where progress is not wanted, else ``otherwise``.

    Example:
        >>> hidden(False)
        False
    """
    return True if os.environ.get(QUIET) else otherwise
