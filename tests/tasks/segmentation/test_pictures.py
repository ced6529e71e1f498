"""Pictures of predictions: what the pixels of label files mean."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from residual_ssl.data import DatasetSpec, read_mask
from residual_ssl.tasks.segmentation.pictures import coloured, label_image


@pytest.mark.parametrize(("classes", "mode"), [(2, "P"), (255, "P"), (256, "I;16"), (847, "I;16")])
def test_label_files_hold_class_ids_for_any_number_of_classes(classes: int, mode: str, tmp_path: Path) -> None:
    spec = DatasetSpec([f"class {k}" for k in range(classes)], ignore_index=-1)
    label = torch.arange(classes).expand(3, -1)
    label_image(label, spec).save(tmp_path / "label.png")
    with Image.open(tmp_path / "label.png") as picture:
        assert picture.mode == mode
        if mode == "P":
            assert np.array_equal(np.array(picture.convert("RGB"))[0], np.array(spec.palette))
    assert torch.equal(read_mask(tmp_path / "label.png").long(), label)


@pytest.mark.parametrize("ignore_index", [255, -1])
def test_ignored_points_are_white(ignore_index: int) -> None:
    spec = DatasetSpec(["a", "b"], palette=[[0, 0, 0], [51, 102, 204]], ignore_index=ignore_index)
    found = coloured(torch.tensor([[0, 1, ignore_index]]), spec)[:, 0].T
    torch.testing.assert_close(found, torch.tensor([[0, 0, 0], [0.2, 0.4, 0.8], [1, 1, 1]]))
