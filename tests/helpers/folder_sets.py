"""Folders of small images and masks on disk, and the configuration that trains on them in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from residual_ssl import compose


def write_folders(
    root: Path,
    *,
    train: int = 8,
    validation: int = 3,
    size: Callable[[int], tuple[int, int]] = lambda index: (32, 32),
    mask: Callable[[np.ndarray], np.ndarray] = lambda ids: ids,
) -> None:
    """Noise with a brighter square; its mask has 1 in the square and 0 elsewhere, before ``mask`` changes the ids."""
    generator = np.random.default_rng(0)
    for part, count in (("train", train), ("val", validation)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            height, width = size(index)
            ids = np.zeros((height, width), np.uint8)
            ids[height // 4 : height // 2, width // 4 : width // 2] = 1
            image = generator.integers(0, 80, (height, width, 3)) + 150 * ids[..., None]
            Image.fromarray(image.astype(np.uint8)).save(root / part / "images" / f"{index}.png")
            Image.fromarray(mask(ids)).save(root / part / "masks" / f"{index}.png")


def folder_config(root: Path, *overrides: str) -> dict[str, Any]:
    """Two steps on the folders of :func:`write_folders`."""
    data = ["dataset=folders", f"dataset.root='{root}'", "dataset.classes=[ground,box]", "dataset.labelled=4"]
    size = ["model=small_segmenter", "+model.widths=[8,16]", "dataset.geometry.crop=32", "dataset.mask_block=8"]
    short = ["steps=2", "evaluate_every=2", "log_every=1", "labelled_batch=2", "unlabelled_batch=4", "warmup_steps=0"]
    return compose([*data, *size, *short, "device=cpu", f"run_dir='{root / 'run'}'", *overrides])
