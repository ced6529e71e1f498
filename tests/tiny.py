"""Runs that take a second: small embedded scenes, few steps."""

from pathlib import Path
from typing import Any

from residual_ssl import compose

SCENES = ("dataset.source.labelled=8", "dataset.source.unlabelled=12", "dataset.source.validation=6")


def tiny_config(run_dir: Path, *overrides: str) -> dict[str, Any]:
    """A configuration of six steps on 26 scenes, evaluated every three steps."""
    fixed = ["experiment=digits", f"run_dir={run_dir}", "device=cpu", "steps=6", "evaluate_every=3", "log_every=1"]
    batches = ["labelled_batch=4", "unlabelled_batch=4", "warmup_steps=2"]
    return compose([*fixed, *batches, *SCENES, *overrides])
