"""Classification of images by the features of a frozen backbone, which are computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from residual_ssl.data import IMAGE_SUFFIXES, ClassificationSource, ClassifiedSample, ClassifiedSamples, read_image
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import InvalidInputError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models.backbone import create_classifier
from residual_ssl.runtime.files import atomic_file
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.tasks.classification.geometry import FlipAndCrop
from residual_ssl.tasks.features.task import FeatureTask
from residual_ssl.tasks.frozen_network import FrozenNetwork, cache_folder
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD

_IMAGES_AT_ONCE = 32


class FrozenBackbone(FrozenNetwork):
    """A timm network up to its pooled features, in evaluation mode and without gradients.

    Args:
        name: any model of timm, as ``"tf_efficientnet_lite0"`` or ``"vit_small_patch14_dinov2"``.
        weak: size and weak augmentation of the images.
        weights, mean, std, backbone_options: as of :class:`~residual_ssl.tasks.frozen_network.FrozenNetwork`.

    Attributes:
        num_features: D.

    Raises:
        InvalidInputError, MissingDataError, CheckpointError: as of :class:`~residual_ssl.models.TimmClassifier`.

    Example:
        >>> options = {"depth": 1, "embed_dim": 24, "img_size": 32, "patch_size": 8}
        >>> backbone = FrozenBackbone("vit_small_patch16_224", FlipAndCrop(32), backbone_options=options)
        >>> backbone.plain(torch.zeros(3, 40, 40, dtype=torch.uint8)).shape
        torch.Size([1, 24])
    """

    def __init__(
        self,
        name: str,
        weak: FlipAndCrop,
        weights: str | Path | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, weights, mean, std, backbone_options)
        self.weak = weak
        self.num_features = int(self.network.num_features)  # type: ignore[arg-type]

    def create(self) -> nn.Module:
        return create_classifier(self.name, weights=self.weights, options=self.options)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Features, float32 ``(B, D)`` on the CPU, of images in [0, 1], ``(B, C, H, W)``."""
        features: Tensor = self.network(self.normalised(images))
        return features.float().cpu()

    def plain(self, image: Tensor) -> Tensor:
        """Features ``(1, D)`` of one image without augmentation."""
        return self.encode(self.weak.plain(image).unsqueeze(0))

    def settings(self) -> tuple[Any, ...]:
        return (self.weak, super().settings())


class FrozenFeatures:
    """Images as the features of a frozen backbone, :class:`~residual_ssl.data.ClassifiedSamples`.

    The ``image`` of a sample is float32 ``(V, D)``: the features of the image as it is, then of V - 1 random weak
    augmentations, the same ones in every run. They are computed when first needed, and kept on disk in float16, under a
    name that is a digest of the images, the weights and all settings: a changed image is never met by old features.

    Args:
        samples: reads the images; called once.
        backbone: gives the features.
        views: V ≥ 1.
        cache: whether features are kept on disk, in the folder that the environment variable RESIDUAL_SSL_CACHE names,
            or in ``~/.cache/residual_ssl/features``.

    Raises:
        InvalidInputError: fewer than one view.
    """

    def __init__(
        self, samples: Callable[[], ClassifiedSamples], backbone: FrozenBackbone, views: int = 1, cache: bool = True
    ) -> None:
        if views < 1:
            raise InvalidInputError(f"views: got {views}, expected 1, the image as it is, or more")
        self._samples = samples()
        self.labels = self._samples.labels
        self._backbone = backbone
        self._views = views
        self._cache = cache

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        return ClassifiedSample(self._features[index], self.labels[index], self.entry(index).image)

    def entry(self, index: int, /) -> ListEntry:
        return self._samples.entry(index)

    @cached_property
    def _features(self) -> Tensor:
        """Features of all images, float32 ``(N, V, D)``, rounded to float16."""
        path = self._place() if self._cache else None
        if path is not None and path.exists():
            return safetensors.torch.load_file(path)["features"].float()
        features = self._computed()
        if path is not None:
            with atomic_file(path, "cached features") as file:
                file.write(safetensors.torch.save({"features": features}))
        return features.float()

    def _place(self) -> Path:
        digest = hashlib.sha256(f"{self._backbone.fingerprint()} {self._views}".encode())
        for index in range(len(self)):
            image = self._samples[index].image
            digest.update(f"{image.dtype} {tuple(image.shape)}".encode())
            digest.update(image.contiguous().numpy().tobytes())
        return cache_folder() / f"{digest.hexdigest()}.safetensors"

    def _computed(self) -> Tensor:
        # As many images at a time as a network for large ones has memory for, whatever the number of views.
        together = max(_IMAGES_AT_ONCE // self._views, 1)
        batches = DataLoader(_Views(self._samples, self._backbone.weak, self._views), batch_size=together)
        shown = tqdm(batches, desc=f"features of {self._backbone.name}", disable=None)
        rows = torch.cat(
            [self._backbone.encode(rearrange(batch, "n v c h w -> (n v) c h w")).half() for batch in shown]
        )
        return rearrange(rows, "(n v) d -> n v d", v=self._views)


class _Views(Dataset[Tensor]):
    """The views of each image, ``(V, C, H, W)``; augmentations are a function of the place of the image."""

    def __init__(self, samples: ClassifiedSamples, weak: FlipAndCrop, views: int) -> None:
        self._samples = samples
        self._weak = weak
        self._views = views

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Tensor:
        image = self._samples[index].image
        draws = [torch.Generator().manual_seed(mixed_seed(0, index, view)) for view in range(1, self._views)]
        return torch.stack([self._weak.plain(image), *(self._weak(image, draw) for draw in draws)])


class FrozenFeatureTask(FeatureTask):
    """Classification of images by a classifier on the features of a frozen backbone: milliseconds a step.

    Training takes one of the cached views of :class:`FrozenFeatures` at random; evaluation and prediction the image as
    it is. A trained run predicts on image files and needs the backbone's weights for it.

    Args:
        classes, model, strong, light, labelled, supervised_loss: as of :class:`FeatureTask`.
        backbone: gives the features; D is its number of them.
        source: ``source(train=…, validation=…)`` as :class:`~residual_ssl.data.ClassificationSplit` with its other
            arguments given.
        train, validation: read the images of a set.
        views: V ≥ 1 cached views of each training image.
        cache: as of :class:`FrozenFeatures`.

    Raises:
        ConfigError: fewer than two classes.
    """

    input_suffixes = IMAGE_SUFFIXES

    def __init__(
        self,
        classes: Sequence[str],
        backbone: FrozenBackbone,
        source: Callable[..., ClassificationSource],
        train: Callable[[], ClassifiedSamples],
        validation: Callable[[], ClassifiedSamples],
        model: Callable[..., nn.Module],
        views: int = 1,
        cache: bool = True,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
    ) -> None:
        def split() -> ClassificationSource:
            return source(
                train=lambda: FrozenFeatures(train, backbone, views, cache),
                validation=lambda: FrozenFeatures(validation, backbone, 1, cache),
            )

        super().__init__(
            classes, backbone.num_features, split, model, strong, light, labelled, supervised_loss, _OneView()
        )
        self.backbone = backbone

    def read(self, path: Path) -> Tensor:
        return self.backbone.plain(read_image(path))


class _OneView:
    """Takes the place of a weak augmentation: one of the views ``(V, D)``, at random or the first, ``(1, D)``."""

    def __call__(self, views: Tensor, generator: torch.Generator | None = None) -> Tensor:
        index = int(torch.randint(len(views), (), generator=generator))
        return views[index : index + 1]

    def plain(self, views: Tensor) -> Tensor:
        return views[:1]
