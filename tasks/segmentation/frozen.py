"""Semantic segmentation by a head on the feature maps of a frozen network: fast on CPUs, and for large backbones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.data import DatasetSpec, SegmentationSource
from residual_ssl.data.samples import Samples
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.losses import labelled_cross_entropy
from residual_ssl.models.segmentation_model import resize
from residual_ssl.task import Batch
from residual_ssl.tasks.samples import EvaluationSamples, TrainingSamples
from residual_ssl.tasks.segmentation.frozen_maps import FrozenMaps, FrozenMapSamples, MapViews, ViewAugmentation
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.samples import Regions
from residual_ssl.tasks.segmentation.task import SegmentationTask
from residual_ssl.tasks.views import Views


class FrozenSegmentationTask(SegmentationTask):
    """Semantic segmentation on the feature maps of a frozen network, which are computed once and kept on disk.

    Inputs are maps, float32 ``(D, h, w)``, and targets class ids on their grid ``(h, w)``, the ids under its centres:
    training and metrics are at that resolution. Prediction on image files is at theirs, resized (bilinear) from the
    grid; it needs the network's weights. Training takes one of the cached views of an image at random, evaluation the
    image as it is.

    Args:
        spec, source, supervised_loss, choose_by, sampling, regions: as of :class:`SegmentationTask`.
        maps: the network.
        model: ``model(num_features=D, num_classes=K)`` gives a new model of the maps, as
            :class:`~residual_ssl.models.ConvolutionalHead`.
        geometry, photometric: augmentation of the views after the first; the crop is the size of ``maps``.
        views: V ≥ 1 cached views of each training image.
        strong, light, labelled: perturbations of maps in the views of those names; None leaves the view plain.

    Raises:
        ConfigError: a crop of another size; another metric to choose by.
    """

    tiled = False

    def __init__(
        self,
        spec: DatasetSpec,
        source: Callable[..., SegmentationSource],
        maps: FrozenMaps,
        model: Callable[..., nn.Module],
        geometry: WeakGeometry,
        photometric: nn.Module | None = None,
        views: int = 1,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        supervised_loss: Callable[[Tensor, Tensor, int], Tensor] = labelled_cross_entropy,
        choose_by: str | None = None,
        sampling: Callable[..., Dataset[Batch]] | None = None,
        regions: Regions | None = None,
    ) -> None:
        if geometry.crop != maps.size:
            raise ConfigError(f"geometry.crop: got {geometry.crop}, expected {maps.size}, the size of the frozen maps")
        sized = partial(model, num_features=maps.num_features)
        super().__init__(
            *(spec, source, sized, geometry),
            supervised_loss=supervised_loss,
            choose_by=choose_by,
            sampling=sampling,
            regions=regions,
        )
        self.maps = maps
        self.augmentation = ViewAugmentation(geometry, photometric)
        self.view_count = views
        self._views = Views(strong=strong, light=light, labelled=labelled)

    def training(self, samples: Samples, seed: int, *, labelled: bool) -> TrainingSamples:
        regions = None if labelled else self.regions
        views = FrozenMapSamples(samples, self.maps, self.augmentation, self.view_count, regions)
        entries = self._labelled_entries if labelled else self._unlabelled_entries
        return TrainingSamples(views, entries, seed, labelled=labelled)

    def validation(self) -> Dataset[Batch]:
        samples = FrozenMapSamples(self.source.validation, self.maps, self.augmentation)
        return EvaluationSamples(samples, self._evaluation_entries)

    def _labelled_entries(self, sample: MapViews, generator: torch.Generator) -> Batch:
        view = self._drawn(generator)
        valid, mask = sample.targets(view)[:2]
        if mask is None:
            raise DataError(
                f"{sample.name}: is in the labelled set and has no mask; give one, or move it to the unlabelled"
            )
        return {"input": sample.maps(view), "target": mask.where(valid, self.ignore_index)}

    def _unlabelled_entries(self, sample: MapViews, generator: torch.Generator) -> Batch:
        view = self._drawn(generator)
        valid, mask, stored, regions = sample.targets(view)
        entries = {"input": sample.maps(view), "valid": valid}
        if regions is not None:
            entries["regions"] = regions
        if stored is not None:
            return {**entries, "stored": stored}
        return entries if mask is None else {**entries, "truth": mask.where(valid, self.ignore_index)}

    def _evaluation_entries(self, sample: MapViews) -> Batch:
        mask = sample.targets(0).mask
        if mask is None:
            raise DataError(f"{sample.name}: is in the validation set and has no mask; evaluation needs one")
        return {"input": sample.maps(0), "target": mask}

    def _drawn(self, generator: torch.Generator) -> int:
        return int(torch.randint(self.view_count, (), generator=generator))

    def features(self, inputs: Tensor) -> Tensor:
        return inputs

    def remarks(self) -> list[str]:
        return []  # images of any size become maps of one

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Logits on the grid of maps; of images ``(B, 3, H, W)`` in [0, 1] at their size."""
        if inputs.shape[1] != 3:
            return model(self.view(inputs, "plain"))  # type: ignore[no-any-return]
        maps = self.maps.encode(inputs).to(inputs.device)
        return resize(model(self.view(maps, "plain")), tuple(inputs.shape[2:]))

    def example(self) -> Tensor:
        return torch.zeros(self.maps.num_features, *self.maps.grid)

    def display(self, view: Tensor) -> Tensor:
        """The three principal components of maps ``(B, D, h, w)`` as colours in [0, 1], ``(B, 3, h, w)``."""
        points = rearrange(view, "b d h w -> (b h w) d")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            axes = torch.pca_lowrank(points, q=3)[2]
        colours = (points - points.mean(0)) @ axes
        colours = (colours / (4 * colours.std(0)).clamp(min=1e-8) + 0.5).clamp(0, 1)
        return rearrange(colours, "(b h w) c -> b c h w", b=view.shape[0], h=view.shape[2])
