"""Another sample in the place of one that cannot be read, so that one bad file does not end a training."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

from residual_ssl.errors import DataError, MissingDataError, ResidualSSLWarning
from residual_ssl.runtime.seeds import mixed_seed

# Unreadable samples one after the other, after which the data set is taken for broken.
_MOST = 8


class _Samples(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def readable_sample(samples: _Samples, index: int, draw: int, seed: int) -> Any:
    """The sample at ``index``; where it cannot be read, one that follows from seed and draw alone.

    A training that is continued, or run with other loading processes, so takes the same substitutes. For unlabelled
    samples: a labelled one that is lost must be known of.

    Args:
        samples: by position.
        index: of the sample that is drawn.
        draw: its place in the whole run.
        seed: of the run.

    Warns:
        ResidualSSLWarning: each sample that was left out, with the reason.

    Raises:
        DataError, MissingDataError: eight samples in a row that cannot be read.
    """
    for attempt in range(_MOST):
        chosen = index if attempt == 0 else mixed_seed(seed, draw, attempt) % len(samples)
        try:
            return samples[chosen]
        except (DataError, MissingDataError) as error:
            failed = error
        warnings.warn(
            ResidualSSLWarning(f"unlabelled sample {chosen} left out, another takes its place: {failed}"), stacklevel=2
        )
    raise DataError(
        f"unlabelled set: {_MOST} samples drawn one after the other cannot be read, the last one as {failed}; look at "
        "the data set"
    )
