"""Exports of annotation tools become masks: by themselves, or by the commands of docs/site/formats.md."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.annotation_exports import boxes, write_cvat, write_label_studio, write_labelme

from residual_ssl.data import read_mask, write_coco_masks

pytest.importorskip("pycocotools")
DATUM = shutil.which("datum")
PAGE = Path(__file__).parents[2] / "docs" / "site" / "formats.md"


def assert_masks_are_the_boxes(annotations: Path, folder: Path) -> None:
    drawn = write_coco_masks(annotations, folder)
    assert list(drawn.classes) == ["background", "field"]
    for number, (left, top, right, bottom) in enumerate(boxes()):
        mask = read_mask(folder / f"{number}.png")
        assert bool((mask[top:bottom, left:right] == 1).all())
        assert int((mask == 1).sum()) == (right - left) * (bottom - top)


def test_the_coco_export_of_label_studio_is_read_as_it_is(tmp_path: Path) -> None:
    write_label_studio(tmp_path)
    assert_masks_are_the_boxes(tmp_path / "result.json", tmp_path / "masks")


@pytest.mark.skipif(DATUM is None, reason="datum, the command of datumaro, is not installed")
@pytest.mark.parametrize(
    ("write", "kind", "written"),
    [
        (write_cvat, "cvat", "annotations/instances_annotations.json"),
        (write_labelme, "label_me", "annotations/instances_train.json"),
    ],
)
def test_what_datumaro_writes_of_an_export_is_read(
    tmp_path: Path, write: Callable[[Path], Path], kind: str, written: str
) -> None:
    write(tmp_path / "export")
    command = f"datum convert -i export -if {kind} -f coco_instances -o coco"
    assert command in PAGE.read_text()
    subprocess.run([str(DATUM), *command.split()[1:]], cwd=tmp_path, check=True, capture_output=True)
    assert_masks_are_the_boxes(tmp_path / "coco" / written, tmp_path / "masks")
