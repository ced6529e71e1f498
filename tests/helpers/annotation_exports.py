"""Small exports of annotation tools, written as these write them: LabelMe (web), CVAT for images, Label Studio."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 32, 40
Box = tuple[int, int, int, int]  # left, top, right, bottom


def boxes(count: int = 5) -> list[Box]:
    generator = np.random.default_rng(0)
    places = generator.integers(2, 12, (count, 2)).tolist()
    return [(left, top, left + 14, top + 10) for top, left in places]


def write_images(folder: Path, suffix: str) -> list[Box]:
    """Noise with a brighter box in each image."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    found = boxes()
    for number, (left, top, right, bottom) in enumerate(found):
        pixels = generator.integers(0, 80, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        pixels[top:bottom, left:right] += 150
        Image.fromarray(pixels).save(folder / f"{number}{suffix}")
    return found


def corners(box: Box) -> list[tuple[int, int]]:
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def write_cvat(root: Path) -> Path:
    """``annotations.xml`` beside ``images``; gives the folder of the images."""
    lines = ["<annotations><version>1.1</version><meta><task><id>1</id><mode>annotation</mode><labels><label>"]
    lines += ["<name>field</name><attributes></attributes></label></labels></task></meta>"]
    for number, box in enumerate(write_images(root / "images", ".png")):
        points = ";".join(f"{x},{y}" for x, y in corners(box))
        polygon = f'<polygon label="field" source="manual" occluded="0" points="{points}" z_order="0"></polygon>'
        lines.append(f'<image id="{number}" name="{number}.png" width="{WIDTH}" height="{HEIGHT}">{polygon}</image>')
    (root / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]))
    return root / "images"


def write_labelme(root: Path) -> Path:
    """An XML file beside each image of the folder ``train``; gives that folder."""
    for number, box in enumerate(write_images(root / "train", ".jpg")):
        points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in corners(box))
        size = f"<imagesize><nrows>{HEIGHT}</nrows><ncols>{WIDTH}</ncols></imagesize>"
        parts = "<parts><hasparts></hasparts><ispartof></ispartof></parts>"
        thing = f"<name>field</name><deleted>0</deleted><occluded>no</occluded><id>0</id>{parts}"
        thing += f"<polygon>{points}<username></username></polygon><attributes></attributes>"
        head = f"<filename>{number}.jpg</filename><folder>train</folder><source></source>{size}"
        (root / "train" / f"{number}.xml").write_text(f"<annotation>{head}<object>{thing}</object></annotation>")
    return root / "train"


def write_label_studio(root: Path) -> Path:
    """``result.json``, its COCO export, beside ``images``; gives the folder of the images."""
    images, annotations = [], []
    for number, box in enumerate(write_images(root / "images", ".png")):
        left, top, right, bottom = box
        outline = [value for corner in corners(box) for value in corner]
        images.append({"id": number, "width": WIDTH, "height": HEIGHT, "file_name": f"images/{number}.png"})
        area = (right - left) * (bottom - top)
        annotations.append({"id": number, "image_id": number, "category_id": 0, "segmentation": [outline],
                            "bbox": [left, top, 14, 10], "ignore": 0, "iscrowd": 0, "area": area})  # fmt: skip
    content = {"images": images, "categories": [{"id": 0, "name": "field"}], "annotations": annotations}
    (root / "result.json").write_text(json.dumps({**content, "info": {"contributor": "Label Studio"}}))
    return root / "images"
