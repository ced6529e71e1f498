"""Small tasks of every kind, by name, for tests of what must hold for any task, algorithm and selector."""

from __future__ import annotations

from typing import Any

from residual_ssl import compose

_SCENES = ("dataset.source.labelled=4", "dataset.source.unlabelled=4", "dataset.source.validation=2")

#: Choices that make a task small; add a task of your own here, and all combinations with it are tested.
TASKS: dict[str, tuple[str, ...]] = {
    "segmentation": ("experiment=digits", *_SCENES, "dataset.source.size=32", "dataset.geometry.crop=32"),
    "classification": ("experiment=digits_classification", "split=20", "model.widths=[8,16]"),
    "rows": ("experiment=digit_rows", "dataset.labelled=20"),
    "change": ("experiment=change_digits", *_SCENES, "dataset.source.size=32", "dataset.geometry.crop=32"),
    "volumes": (
        *("experiment=volumes", *_SCENES, "dataset.source.size=[8,16,24]", "dataset.patches.size=[4,16,16]"),
        "model.widths=[4,8]",
    ),
    "labels": (
        *(
            "experiment=digits_multi_label",
            "model.widths=[8,16]",
            "dataset.source.source.size=32",
            "dataset.weak.size=32",
        ),
        *(f"dataset.source.source.{name}=4" for name in ("labelled", "unlabelled", "validation")),
    ),
    "regression": ("experiment=regression",),
    "detection": (
        *("experiment=detection_digits", *_SCENES, "dataset.source.size=32", "dataset.geometry.crop=32"),
        *("model.widths=[8,16]", "model.channels=32", "model.convolutions=1"),
    ),
}
#: Where points are whole samples, and where they are pixels with a class each.
WHOLE, PIXELS = ("classification", "rows", "regression"), ("segmentation",)
#: Whose inputs are features to judge by.
ROWS = ("rows", "regression")


def composed(task: str, algorithm: str) -> dict[str, Any]:
    """The configuration of a small task with an algorithm."""
    return compose([*TASKS[task], f"algorithm={algorithm}", "device=cpu"])
