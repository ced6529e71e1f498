"""Keypoints as a task: a heat map for each, whose pixels are the points."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from PIL import ImageDraw
from torch import Tensor, nn

from residual_ssl import Selection, Task
from residual_ssl.data import IMAGE_SUFFIXES, default_palette, read_image, resize_image
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation
from residual_ssl.tasks.samples import EvaluationSamples, TrainingSamples
from residual_ssl.tasks.segmentation import WeakGeometry
from residual_ssl.tasks.views import Views
from residual_ssl_keypoints.data import KeypointSample
from residual_ssl_keypoints.metric import KeypointMetric, located


class KeypointTask(Task):
    """The places of named keypoints of one object in an image in [0, 1].

    Args:
        names: of the L keypoints. A flip exchanges those that differ in ``left`` and ``right`` alone.
        source: ``source()`` has the names, and labelled, unlabelled and validation samples (:class:`KeypointSample`).
        model: ``model(num_classes=L + 1)`` gives a new network of heat maps of the size of its input.
        geometry: the weak augmentation, which the keypoints follow.
        radius: of the disc around a keypoint that is its class, in pixels.
        sigmas: of OKS; None for 0.05 each.
        strong, light, labelled: photometric changes of the views of those names.

    Raises:
        ConfigError: no name, or one twice; another number of sigmas; names that are not those of the source.
    """

    ignore_index = 255
    main_metric = "pck"
    input_suffixes = IMAGE_SUFFIXES
    tiled = False  # one object fills an image

    def __init__(
        self,
        names: Sequence[str],
        source: Callable[..., Any],
        model: Callable[..., nn.Module],
        geometry: WeakGeometry,
        radius: float = 2.5,
        sigmas: Sequence[float] | None = None,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
    ) -> None:
        self.names, self.sigmas = tuple(names), [0.05] * len(names) if sigmas is None else list(sigmas)
        if not names or len(set(names)) < len(names) or len(self.sigmas) != len(names):
            raise ConfigError(f"names, sigmas: got {list(names)} and {sigmas}, expected different names, a sigma each")
        self.class_names = ("elsewhere", *names)
        self._source, self._model, self.geometry, self.radius = source, model, geometry, radius
        self._views = Views(Normalisation(IMAGENET_MEAN, IMAGENET_STD), strong=strong, light=light, labelled=labelled)
        mirrored = map(_mirrored, names)
        self._swap = [self.names.index(name) if name in self.names else i for i, name in enumerate(mirrored)]

    @cached_property
    def source(self) -> Any:
        """The data, read on first use."""
        source = self._source()
        if tuple(source.names) != self.names:
            raise ConfigError(f"names: got {list(self.names)}, and the source has {list(source.names)}")
        return source

    def labelled(self, seed: int) -> TrainingSamples:
        return TrainingSamples(self.source.labelled, self._learned, seed, labelled=True)

    def unlabelled(self, seed: int) -> TrainingSamples:
        return TrainingSamples(self.source.unlabelled, self._pooled, seed, labelled=False)

    def validation(self) -> EvaluationSamples:
        return EvaluationSamples(self.source.validation, self._measured)

    def _learned(self, sample: KeypointSample, generator: torch.Generator) -> dict[str, Tensor]:
        entries = self._pooled(sample, generator)
        if "truth" not in entries:
            raise DataError(f"{sample.name}: is in the labelled set and has no keypoints; give them, or move it")
        return {"input": entries["input"], "target": entries["truth"]}

    def _pooled(self, sample: KeypointSample, generator: torch.Generator) -> dict[str, Tensor]:
        pixels, valid, placement = self.geometry.placed(sample.image, generator)
        entries = {"input": pixels, "valid": valid}
        if sample.points is None:
            return entries
        points, visible = placement.points(sample.points), sample.visible
        if placement.flipped:
            points, visible = points[self._swap], visible[self._swap]
        truth = self.discs(points, visible, tuple(valid.shape))
        return entries | {"truth": truth.where(valid, self.ignore_index)}

    def _measured(self, sample: KeypointSample) -> dict[str, Tensor]:
        if sample.points is None:
            raise DataError(f"{sample.name}: is in the validation set and has no keypoints; give them")
        target = self.discs(sample.points, sample.visible, tuple(sample.image.shape[1:]))
        told = torch.cat([sample.points, sample.visible.unsqueeze(1), sample.sides.expand(len(self.names), 2)], 1)
        return {"input": sample.image.float() / 255, "target": target, "keypoints": told}

    def discs(self, points: Tensor, visible: Tensor, size: tuple[int, ...]) -> Tensor:
        """The class of each pixel, int64 ``(H, W)``: the nearest keypoint within the radius, else 0."""
        y, x = (torch.arange(side) + 0.5 for side in size)
        distance = (y.unsqueeze(1) - points[:, 1, None, None]).square() + (x - points[:, 0, None, None]).square()
        nearest, which = distance.where(visible[:, None, None], torch.inf).min(0)
        return (which + 1).where(nearest <= self.radius**2, 0)

    def build_model(self) -> nn.Module:
        return self._model(num_classes=self.num_classes)

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return self._views(inputs, kind)

    def metric(self) -> KeypointMetric:
        return KeypointMetric(self.sigmas)

    def summary(self, computed: Tensor) -> dict[str, float]:
        found, alike, visible = computed.sum(0).tolist()
        metrics = {"pck": 100 * found / max(visible, 1), "oks": 100 * alike / max(visible, 1)}
        each = zip(self.names, computed.tolist(), strict=True)
        return metrics | {f"pck/{name}": 100 * own / count for name, (own, _, count) in each if count}

    def read(self, path: Path) -> Tensor:
        return resize_image(read_image(path), self.geometry.crop).float() / 255

    def example(self) -> Tensor:
        return torch.full((3, *self.geometry.crop), 0.5)

    def pictures(self, sample: Tensor, label: Tensor, selection: Selection) -> dict[str, PIL.Image.Image]:
        # Of each keypoint the pixels that were taken for it, the surest first: the peak of its heat map.
        heat = (selection.confidence[0] * (label == torch.arange(len(self.class_names))[:, None, None])).clamp(1e-6, 1)
        places, _ = located(heat.log().unsqueeze(0))
        factor = max(1, -(-256 // min(sample.shape[1:])))
        pixels = (sample.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1).numpy()
        picture = PIL.Image.fromarray(pixels).resize((sample.shape[2] * factor, sample.shape[1] * factor))
        draw, palette = ImageDraw.Draw(picture), default_palette(len(self.class_names))
        for k, ((x, y), name) in enumerate(zip((places[0] * factor).tolist(), self.names, strict=True), start=1):
            if (label == k).any():
                draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=palette[k], width=2)
                draw.text((x + 6, y - 5), name, fill=palette[k])
        return {"overlay": picture}


def _mirrored(name: str) -> str:
    return name.replace("left", "\0").replace("right", "left").replace("\0", "right")
