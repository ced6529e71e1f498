"""Training needs no validation set: every kind of source does without."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from residual_ssl import compose, train

SHORT = (
    "steps=1",
    "evaluate_every=1",
    "device=cpu",
    "labelled_batch=2",
    "unlabelled_batch=2",
    "dataset.validation=null",
)


def table(root: Path) -> list[str]:
    rows = [f"{i},{-i},{'up' if i % 2 else 'down'}" if i < 6 else f"{i},{-i}," for i in range(20)]
    (root / "rows.csv").write_text("\n".join(["a,b,label", *rows]) + "\n")
    columns = ["dataset.columns=[a,b]", "dataset.num_features=2", "dataset.classes=[down,up]", "model.hidden=[4]"]
    return ["dataset=table", f"dataset.data_files={{train: '{root / 'rows.csv'}'}}", *columns]


def images_with_classes(root: Path) -> list[str]:
    for name in ("cat", "dog"):
        (root / "train" / name).mkdir(parents=True)
        for i in range(5):
            pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "train" / name / f"{i}.png")
    choice = ["dataset.path=imagefolder", f"dataset.data_dir='{root}'", "dataset.classes=[cat,dog]", "dataset.split=4"]
    return ["dataset=classified_images", "model=small_classifier", *choice]


def frozen(root: Path) -> list[str]:
    options = {"depth": 1, "embed_dim": 24, "img_size": 16, "patch_size": 8}
    small = [f"+dataset.backbone.backbone_options.{name}={value}" for name, value in options.items()]
    network = ["dataset.backbone.name=vit_small_patch16_224", "dataset.backbone.weights=null", "dataset.cache=false"]
    size = ["dataset.size=16", "dataset.padding=2"]
    choice = [line for line in images_with_classes(root) if not line.startswith(("dataset=", "model="))]
    return ["dataset=frozen_images", *choice, *network, *size, *small]


@pytest.mark.parametrize("source", [table, images_with_classes, frozen], ids=lambda made: made.__name__)
def test_a_run_without_a_validation_set_ends_with_its_last_network(source: Any, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    result = train(compose([*source(tmp_path), *SHORT, "algorithm=fixmatch", f"run_dir='{run_dir}'"]))
    assert set(result.last) <= {"step"}
    assert (run_dir / "last.pt").is_file()
