"""Signs that a run learns nothing, each said once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from residual_ssl.errors import ResidualSSLWarning

_NONE, _ALL = 1e-4, 1 - 1e-4
_SHARE_OF_RUN = 0.1
_FEWEST_STEPS = 20


class CollapseWatch:
    """Warns, once each, of what makes a run learn nothing though nothing fails.

    Args:
        steps: of the whole run.
        warmup_steps: in which nothing is judged.
        trusts_all: the selector gives every pseudo-label full weight by design.
        class_names: of the task.
        announce: only one of the processes does.
    """

    def __init__(
        self, steps: int, warmup_steps: int, trusts_all: bool, class_names: Sequence[str], announce: bool
    ) -> None:
        self._long = max(_FEWEST_STEPS, round(_SHARE_OF_RUN * steps))
        self._warmup = warmup_steps
        self._trusts_all = trusts_all
        self._class_names = class_names
        self._announce = announce
        self._said: set[str] = set()
        self._since: dict[str, int] = {}
        self._class: int | None = None

    def rates(self, rates: Sequence[float]) -> None:
        """Judge the learning rates before the schedule."""
        if not any(rates):
            self._warn("rate", "optimizer.lr: is 0; the network does not learn")

    def window(self, before: int, step: int, coverage: float | None, labelled_points: int) -> None:
        """Judge the steps between two log rows.

        Args:
            before, step: the steps after which the last row was written, and this one.
            coverage: mean share of trusted pseudo-labels; None where the algorithm makes none.
            labelled_points: points with a label in the labelled batches, of this process.
        """
        if coverage is not None:
            knob = "look at the selector's settings (selector.threshold …) and at its coverage in the log"
            self._lasting("none", coverage < _NONE, before, step, f"coverage: no pseudo-label has been trusted; {knob}")
            every = coverage > _ALL and not self._trusts_all
            self._lasting("all", every, before, step, f"coverage: all pseudo-labels have been trusted; {knob}")
        text = "labelled batch: no point has had a label, all are ignore_index; look at dataset.labelled and its masks"
        self._lasting("labels", labelled_points == 0, before, step, text, fewest=step - before)

    def evaluation(self, only_class: int | None) -> None:
        """Judge the predictions on the validation set; two evaluations that see one class count."""
        if only_class is not None and only_class == self._class and len(self._class_names) > 1:
            self._warn(
                "class",
                f"predictions: every point of the validation set is predicted as {self._class_names[only_class]!r}, "
                "twice in a row; look at the labels, optimizer.lr and the weights of the loss's terms",
            )
        self._class = only_class

    def _lasting(self, name: str, seen: bool, before: int, step: int, text: str, fewest: int | None = None) -> None:
        if not seen or step <= self._warmup:
            self._since.pop(name, None)
            return
        since = self._since.setdefault(name, max(before, self._warmup))
        if step - since >= (self._long if fewest is None else fewest):
            self._warn(name, f"{text} (steps {since + 1} to {step})")

    def _warn(self, name: str, text: str) -> None:
        if self._announce and name not in self._said:
            warnings.warn(text, ResidualSSLWarning, stacklevel=3)
        self._said.add(name)
