"""Numbers that are not finite: which steps were skipped for them, and when a run is stopped."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

from torch import Tensor

from residual_ssl.errors import ResidualSSLError

IN_A_ROW = 10
OF_RECENT, RECENT = 25, 100
_TO_DO = "Lower optimizer.lr or raise warmup_steps, and look at the samples"


class SkippedSteps:
    """Counts optimiser steps that were skipped because a gradient was not finite, and stops a run that has many.

    Args:
        total: skipped before this call of the run.
    """

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self._recent: deque[bool] = deque(maxlen=RECENT)

    def add(self, skipped: bool) -> bool:
        """Count a step; True where the run should stop."""
        self.total += skipped
        self._recent.append(skipped)
        last = list(self._recent)[-IN_A_ROW:]
        return (len(last) == IN_A_ROW and all(last)) or sum(self._recent) >= OF_RECENT

    @property
    def recent(self) -> str:
        """How many of the last steps were skipped."""
        return f"{sum(self._recent)} of the last {len(self._recent)} steps"


def skipped_error(
    step: int, metrics: Mapping[str, Tensor], skipped: SkippedSteps, samples: str, good: str
) -> ResidualSSLError:
    """The error of a run that skips too many steps.

    Args:
        step: the last one, from 1 on.
        metrics: of that step.
        skipped: counts.
        samples: names of that step's samples.
        good: which files are good.
    """
    values = {name.removeprefix("train/"): value.item() for name, value in metrics.items()}
    loss = values.get("loss", math.nan)
    terms = [name for name, value in values.items() if name.startswith("loss_") and not math.isfinite(value)]
    what = f"loss: got {loss} at step {step}" if not math.isfinite(loss) else f"gradient: not finite at step {step}"
    named = f"; not finite: {', '.join(terms)}" if terms else "; the terms of the loss were finite"
    return ResidualSSLError(
        f"{what}; the run diverged: {skipped.recent} had a gradient that is not finite and were left out{named}. "
        f"{_TO_DO}: {samples}. {good}"
    )


def check_loss(loss: float, step: int, good: Callable[[], str]) -> None:
    """Stop a run whose loss is not a number any more.

    Raises:
        ResidualSSLError: with the step, what to do, and which files are good.
    """
    if not math.isfinite(loss):
        raise diverged(f"loss: got {loss}", step, good())


def network_error(entries: list[str], step: int, good: str) -> ResidualSSLError:
    """The error of a run whose network is not finite any more, and was not written."""
    shown = ", ".join(entries[:3]) + (f" and {len(entries) - 3} more" if len(entries) > 3 else "")
    return diverged(f"network: {shown} not finite", step, good)


def diverged(what: str, step: int, good: str) -> ResidualSSLError:
    """The error of a run whose numbers are not finite any more."""
    return ResidualSSLError(
        f"{what} at step {step}; the run diverged. Lower optimizer.lr or raise warmup_steps. {good}"
    )
