"""Keypoints in COCO's format: every annotated object is cut out and becomes an image of its own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from residual_ssl.data import draw_labelled, read_image, resize_image
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl_keypoints.data import KeypointSample

_MARGIN = 1.25  # of a cut-out, as of the object's box


class CocoObjects:
    """Objects of a COCO file, by position: cut-outs of ``size`` with their keypoints.

    Args:
        folder: of the images.
        annotations: the JSON file.
        names: of the keypoints, in their order in the file.
        size: height and width of a cut-out.

    Raises:
        MissingDataError: no such file.
        DataError: no JSON, or not COCO's keypoints.
        ConfigError: other keypoints than the file's.
    """

    def __init__(self, folder: Path, annotations: Path, names: Sequence[str], size: tuple[int, int]) -> None:
        self.folder, self.size, self.known = folder, size, True
        try:
            whole = json.loads(annotations.read_text(encoding="utf-8"))
            files = {image["id"]: str(image["file_name"]) for image in whole["images"]}
            listed = [category["keypoints"] for category in whole["categories"] if "keypoints" in category]
            found = [one for one in whole["annotations"] if any(one.get("keypoints", [])[2::3])]
            self.objects = [(str(one["id"]), files[one["image_id"]], one["bbox"], one["keypoints"]) for one in found]
        except FileNotFoundError as error:
            raise MissingDataError(f"{annotations}: no such file of annotations") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{annotations}: not COCO's keypoints, {type(error).__name__} {error}") from error
        if [list(names)] != listed:
            raise ConfigError(f"names: got {list(names)}, and {annotations} has {listed}")
        for number, file, box, points in self.objects:
            if len(box) != 4 or min(box[2:]) <= 0 or len(points) != 3 * len(names):
                told = f"box {box} and {len(points)} numbers of keypoints"
                raise DataError(f"{annotations}: annotation {number} has {told}, expected four and {3 * len(names)}")
            if Path(file).is_absolute() or ".." in Path(file).parts:
                raise DataError(f"{annotations}: the image {file!r} lies outside the folder of images")
        self.objects.sort()

    def __len__(self) -> int:
        return len(self.objects)

    def of(self, numbers: set[str], *, known: bool) -> "CocoObjects":
        """The objects of these annotations; their keypoints are told, or not."""
        part = object.__new__(CocoObjects)
        part.folder, part.size, part.known = self.folder, self.size, known
        part.objects = [one for one in self.objects if one[0] in numbers]
        return part

    def __getitem__(self, index: int) -> KeypointSample:
        number, file, (left, top, width, height), flat = self.objects[index]
        image = read_image(self.folder / file)
        # The box is enlarged to the shape of the cut-out, so that nothing is stretched.
        scale = max(width * _MARGIN / self.size[1], height * _MARGIN / self.size[0])
        middle = (left + width / 2, top + height / 2)
        first = [round(at - scale * side / 2) for at, side in zip(middle, self.size[::-1], strict=True)]
        sides = [max(1, round(scale * side)) for side in self.size[::-1]]
        cut = torch.zeros(3, sides[1], sides[0], dtype=torch.uint8)
        x, y = max(0, first[0]), max(0, first[1])
        part = image[:, y : max(0, first[1] + sides[1]), x : max(0, first[0] + sides[0])]
        if not part.numel():
            raise DataError(f"{self.folder / file}: the box of annotation {number} lies outside the image", "size")
        cut[:, y - first[1] : y - first[1] + part.shape[1], x - first[0] : x - first[0] + part.shape[2]] = part
        image, name = resize_image(cut, self.size), f"{file}/{number}"
        if not self.known:
            return KeypointSample(image, None, None, None, name)
        ratio = torch.tensor([self.size[1] / sides[0], self.size[0] / sides[1]])
        table = torch.tensor(flat, dtype=torch.float32).view(-1, 3)
        points = (table[:, :2] + 0.5 - torch.tensor(first, dtype=torch.float32)) * ratio
        extent = torch.tensor([height, width], dtype=torch.float32) * ratio.flip(0)
        return KeypointSample(image, points, table[:, 2] > 0, extent, name)


class CocoKeypoints:
    """A data set of COCO's keypoints.

    Args:
        root: folder that all other paths start from.
        names: of the keypoints.
        train, validation: each ``{images: folder, annotations: JSON file}``.
        labelled: number of objects of the training set whose keypoints are learned; all others are the pool.
        size: height and width of a cut-out.
        seed: of the draw.
    """

    def __init__(
        self,
        root: str | Path,
        names: Sequence[str],
        train: Mapping[str, str],
        validation: Mapping[str, str],
        labelled: int,
        size: tuple[int, int] = (256, 192),
        seed: int = 0,
    ) -> None:
        self.names = tuple(names)

        def objects(subset: Mapping[str, Any]) -> CocoObjects:
            paths = Path(root) / subset["images"], Path(root) / subset["annotations"]
            return CocoObjects(*paths, self.names, (size[0], size[1]))

        everything = objects(train)
        numbers = {number for number, *_ in everything.objects}
        drawn = set(draw_labelled(numbers, labelled, seed))
        self.labelled = everything.of(drawn, known=True)
        self.unlabelled = everything.of(numbers - drawn, known=False)
        self.validation = objects(validation)
