"""Each published layout from its files to figures and pictures: a step, an evaluation, a prediction."""

from pathlib import Path

import numpy as np
import pytest
from helpers.dataset_layouts import LAYOUTS, Layout
from PIL import Image

from residual_ssl import compose, evaluate, predict, train

REAL = [layout for layout in LAYOUTS if layout.real]
SMALL = [
    *("algorithm=csl", "model=small_segmenter", "device=cpu", "steps=1", "warmup_steps=0", "evaluation_batch=1"),
    *("labelled_batch=2", "unlabelled_batch=2", "dataset.geometry.crop=48", "dataset.mask_block=8"),
]


def mean_iou(prediction: np.ndarray, target: np.ndarray) -> float:
    """Mean over the classes that are true or predicted anywhere but at ignored pixels, in per cent."""
    seen = target != 255
    prediction, target = prediction[seen], target[seen]
    ratios = [
        ((prediction == k) & (target == k)).sum() / ((prediction == k) | (target == k)).sum()
        for k in np.union1d(prediction, target)
    ]
    return 100 * float(np.mean(ratios))


def run_through(layout: Layout, root: Path, overrides: list[str]) -> None:
    """Train a step, then compare the run's figure with one counted in its own picture and the raw mask file."""
    result = train(compose([*SMALL, *overrides, f"run_dir={root / 'run'}"]))
    assert result.last["step"] == 1
    image, mask = (root / name for name in layout.pairs[2])
    written = {path.stem.rsplit("_", 1)[1]: path for path in predict(root / "run", image, root / "out", device="cpu")}
    assert set(written) == {"label", "overlay", "confidence", "trust"}
    with Image.open(written["label"]) as label, Image.open(mask) as truth, Image.open(image) as picture:
        assert label.mode == "P"
        assert label.size == picture.size
        expected = mean_iou(np.array(label), layout.classes(np.array(truth).astype(np.int64)))
    assert result.last["miou"] == pytest.approx(expected, abs=1e-4)
    assert evaluate(root / "run", device="cpu")["miou"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.dataset)
def test_made_images_in_every_layout_train_evaluate_and_predict(layout: Layout, tmp_path: Path) -> None:
    run_through(layout, tmp_path, layout.make(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("layout", REAL, ids=lambda layout: layout.dataset)
def test_real_images_in_every_layout_train_evaluate_and_predict(
    layout: Layout, tmp_path: Path, shared_data: Path
) -> None:
    # Cityscapes at its full 2048×1024, by the published windows of 801.
    scale = {"cityscapes": 1.0}.get(layout.dataset, 0.5)
    overrides = layout.link(tmp_path, shared_data / "samples")
    run_through(layout, tmp_path, [*overrides, f"dataset.inference.scales=[{scale}]"])
