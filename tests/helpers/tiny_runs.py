"""Runs that take a second: small embedded scenes, few steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from residual_ssl import compose
from residual_ssl.models.segmentation_model import SegmentationModel, resize

SCENES = ("dataset.source.labelled=8", "dataset.source.unlabelled=12", "dataset.source.validation=6")


def tiny_config(run_dir: Path, *overrides: str) -> dict[str, Any]:
    """A configuration of six steps on 26 scenes, evaluated every three steps."""
    fixed = ["experiment=digits", f"run_dir={run_dir}", "device=cpu", "steps=6", "evaluate_every=3", "log_every=1"]
    batches = ["labelled_batch=4", "unlabelled_batch=4", "warmup_steps=2"]
    return compose([*fixed, *batches, *SCENES, *overrides])


def tiny_digits(run_dir: Path, *overrides: str) -> dict[str, Any]:
    """A configuration of two steps on the embedded digits, 20 of them labelled."""
    fixed = ["experiment=digits_classification", "split=20", f"run_dir={run_dir}", "device=cpu", "model.widths=[8,16]"]
    short = ["steps=2", "evaluate_every=2", "log_every=1", "labelled_batch=8", "unlabelled_batch=8", "warmup_steps=0"]
    return compose([*fixed, *short, *overrides])


class PlainSegmenter(SegmentationModel):
    """Two convolutions and no BatchNorm, so that a sample's logits do not depend on the rest of its batch."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Conv2d(3, 16, 3, stride=2, padding=1), num_classes)
        self.middle = nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Conv2d(16, num_classes, 1)

    def encode(self, x: Tensor) -> list[Tensor]:
        low = self.encoder(x).relu()
        return [low, self.middle(low).relu()]

    def decode(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        return resize(self.head(features[0] + features[1]), size)


def without_batchnorm(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with a :class:`PlainSegmenter`."""
    return config | {
        "task": config["task"] | {"model": {"_target_": "helpers.tiny_runs.PlainSegmenter", "_partial_": True}}
    }
