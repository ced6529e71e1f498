"""Trainings that end as in a power cut."""

from typing import Any

import pytest


class PowerCutError(Exception):
    """Stands for a power cut."""


def stop_after(monkeypatch: pytest.MonkeyPatch, evaluations: int) -> None:
    """End every run from here on after so many evaluations, as a power cut does."""
    from residual_ssl.engine import training

    original = training.Run._evaluate
    done = []

    def counted(self: Any, log: Any) -> None:
        original(self, log)
        done.append(self.step)
        if len(done) == evaluations:
            raise PowerCutError

    monkeypatch.setattr(training.Run, "_evaluate", counted)
