"""Feature maps of a frozen network on one grid, of several views of each image, computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import safetensors
import safetensors.torch
import torch
from einops import rearrange
from timm.models import is_model_in_modules
from torch import Tensor, nn
from tqdm import tqdm

from residual_ssl.data import read_image, resize_image, resize_mask
from residual_ssl.data.samples import Samples, files_of
from residual_ssl.errors import DataError, InvalidInputError, MissingDataError
from residual_ssl.models import create_backbone, create_transformer
from residual_ssl.models.segmentation_model import resize
from residual_ssl.runtime.files import atomic_file
from residual_ssl.runtime.global_batch import batch_part
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.tasks.frozen_network import FrozenNetwork, cache_folder
from residual_ssl.tasks.normalisation import IMAGENET_MEAN, IMAGENET_STD
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.samples import Regions, label_entry, packed_points, regions_entry, stored_entry


class FrozenMaps(FrozenNetwork):
    """Feature maps of a timm network at one resolution, side by side as channels.

    Of a convolutional network all levels from ``stride`` on, the deeper ones resized (bilinear) to the grid of that
    stride; of a vision transformer the tokens of its last block, on the grid of its patches.

    Args:
        name: as ``"tf_efficientnet_lite0"`` or ``"vit_small_patch14_dinov2"``.
        size: (height, width) to which images are resized; of a transformer multiples of its patch size.
        stride: that of the grid; has no effect on a transformer.
        weights, mean, std, backbone_options: as of :class:`~residual_ssl.tasks.frozen_network.FrozenNetwork`.

    Attributes:
        num_features: D, channels of the maps.
        grid: (h, w) of the maps.

    Raises:
        InvalidInputError: a network without features of that stride, a size that is no multiple of the patch size; an
            unknown name.
        MissingDataError, CheckpointError: as of :func:`~residual_ssl.models.create_backbone`.

    Example:
        >>> maps = FrozenMaps("resnet18", size=(32, 64), stride=16)
        >>> maps.num_features, maps.grid, maps.encode(torch.zeros(2, 3, 32, 64)).shape
        (768, (2, 4), torch.Size([2, 768, 2, 4]))
    """

    def __init__(
        self,
        name: str,
        size: tuple[int, int],
        stride: int = 8,
        weights: str | Path | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        backbone_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, weights, mean, std, backbone_options)
        self.size = (int(size[0]), int(size[1]))
        self.stride = stride
        self._tokens = is_model_in_modules(name, ["vision_transformer"])
        self._check()
        self.num_features, *grid = self.encode(torch.zeros(1, 3, *self.size)).shape[1:]
        self.grid = (grid[0], grid[1])

    def create(self) -> nn.Module:
        if self._tokens:
            transformer: nn.Module = create_transformer(self.name, weights=self.weights, options=self.options)
            return transformer
        return create_backbone(self.name, weights=self.weights, options=self.options)

    def _check(self) -> None:
        network: Any = self.network
        if self._tokens:
            patch = network.patch_embed.patch_size
            if any(side % part for side, part in zip(self.size, patch, strict=True)):
                raise InvalidInputError(f"size: got {self.size} for {self.name}, expected multiples of {tuple(patch)}")
        elif self.stride not in network.feature_info.reduction():
            raise InvalidInputError(
                f"stride: got {self.stride}, and {self.name} has features of strides {network.feature_info.reduction()}"
            )

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Maps, float32 ``(B, D, h, w)`` on the CPU, of images in [0, 1] of any size, ``(B, 3, H, W)``."""
        network: Any = self.network
        resized = resize_image(rearrange(images, "b c h w -> (b c) h w"), self.size)
        x = self.normalised(rearrange(resized, "(b c) h w -> b c h w", c=3))
        if self._tokens:
            maps = network.forward_intermediates(x, 1, norm=True, intermediates_only=True)
        else:
            levels = zip(network(x), network.feature_info.reduction(), strict=True)
            maps = [level for level, reduction in levels if reduction >= self.stride]
        joined = torch.cat([resize(level, tuple(maps[0].shape[2:])) for level in maps], dim=1)
        return joined.float().cpu()

    def settings(self) -> tuple[Any, ...]:
        return (*super().settings(), self.size, None if self._tokens else self.stride)


class ViewTargets(NamedTuple):
    """What is known of the points of a view, on the grid of the maps.

    Attributes:
        valid: bool ``(h, w)``, which are of the image.
        mask: class ids, int64 ``(h, w)``; None without a mask.
        stored: class ids and weights of pseudo-labels made beforehand, float32 ``(2, h, w)``; None without them.
        regions: int64 ``(h, w)``, -1 for none; None where none are proposed.
    """

    valid: Tensor
    mask: Tensor | None
    stored: Tensor | None
    regions: Tensor | None = None


class MapViews(NamedTuple):
    """What :class:`FrozenMapSamples` hold: views of an image that wait on disk, and what is known of the image.

    Attributes:
        path: file of the maps, :meth:`maps`.
        targets: ``targets(view)``, what is known of the points of a view, on the grid of the maps.
        name: as of :class:`~residual_ssl.data.Sample`.
    """

    path: Path
    targets: Callable[[int], ViewTargets]
    name: str

    def maps(self, view: int) -> Tensor:
        """Maps of a view, float32 ``(D, h, w)``, rounded to float16; view 0 is the image as it is."""
        with safetensors.safe_open(self.path, framework="pt") as file:
            return file.get_slice("maps")[view].float()  # type: ignore[no-any-return]


class FrozenMapSamples:
    """Images as feature maps of a frozen network: of the image, and of V - 1 augmentations, the same in every run.

    The maps of an image are computed when the samples are first counted on, in the process that made them, and kept in
    a float16 file of its own. Its name is a digest of the image's file (of its pixels, where it has none); its folder
    that of network, weights and all settings. A changed image is never met by old maps, an interrupted computation
    continues, and every split of a data set shares the files.

    Args:
        samples: images and masks.
        maps: the network.
        augmentation: of the views.
        views: V ≥ 1.
        regions: proposes regions of the images at the size of the network's input; None: there are none.

    Raises:
        InvalidInputError: fewer than one view.
    """

    def __init__(
        self,
        samples: Samples,
        maps: FrozenMaps,
        augmentation: ViewAugmentation,
        views: int = 1,
        regions: Regions | None = None,
    ) -> None:
        if views < 1:
            raise InvalidInputError(f"views: got {views}, expected 1, the image as it is, or more")
        self._samples = samples
        self._maps = maps
        self._augmentation = augmentation
        self._views = views
        self._regions = regions
        self._faults: dict[int, Exception] = {}
        self._digests = self._computed()
        self._kept: dict[tuple[int, int], ViewTargets] = {}  # masks are slow to read, and drawn often; 16 KiB each

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> MapViews:
        if index in self._faults:
            raise self._faults[index]
        return MapViews(self._path(self._digests[index]), partial(self._targets, index), self.name(index))

    def _targets(self, index: int, view: int) -> ViewTargets:
        if (index, view) in self._kept:
            return self._kept[index, view]
        # Regions are slow to propose: once, for all views.
        found = dict(self._read(index, [view] if self._regions is None else range(self._views)))
        if len(self._kept) < _TARGETS_KEPT:
            self._kept |= {(index, number): targets for number, targets in found.items()}
        return found[view]

    def _read(self, index: int, views: Sequence[int]) -> Iterator[tuple[int, ViewTargets]]:
        samples: Any = self._samples
        mask = samples.mask(index) if hasattr(samples, "mask") else samples[index].mask
        pseudo = samples.pseudo_label(index) if hasattr(samples, "pseudo_label") else None
        proposed = None if self._regions is None else self._regions(samples[index].image, samples[index].name)
        label, weight = (mask, None) if pseudo is None else pseudo
        packed = packed_points(label, weight, proposed)
        on_grid = partial(resize_mask, size=self._maps.grid)
        for view in views:
            valid, moved = self._augmentation.targets(packed, self._maps.size, _seed(self._digests[index]), view)
            inside, points = on_grid(valid), cast(Tensor, None if moved is None else on_grid(moved))
            ids = label_entry(points) if mask is not None and pseudo is None else None
            stored = None if pseudo is None else stored_entry(points, inside)
            regions = None if proposed is None else regions_entry(points).where(inside, -1)
            yield view, ViewTargets(inside, ids, stored, regions)

    def name(self, index: int) -> str:
        samples: Any = self._samples
        return str(samples.entry(index).image if hasattr(samples, "entry") else samples[index].name)

    def _computed(self) -> list[str]:
        """Digests of all images, whose maps are all on disk then."""
        digests = []
        for index in tqdm(range(len(self)), desc=f"maps of {self._maps.name}", disable=None):
            try:
                digests.append(self._with_maps(index))
            except (DataError, MissingDataError) as error:  # a run may skip it, or says so when it comes to it
                self._faults[index] = error
                digests.append("")
        return digests

    def _with_maps(self, index: int) -> str:
        file = files_of(self._samples, index)[0]
        if file is not None and not file.is_file():
            raise MissingDataError(f"{file}: no such image file")
        content = self._samples[index].image.contiguous().numpy().tobytes() if file is None else file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if not path.exists():
            image = self._samples[index].image if file is None else read_image(file)
            image = resize_image(image, self._maps.size)
            views = [self._augmentation(image, None, _seed(digest), view)[0] for view in range(self._views)]
            maps = self._maps.encode(torch.stack(views)).half()
            with atomic_file(path, "cached feature maps") as opened:
                opened.write(safetensors.torch.save({"maps": maps}))
        return digest

    @cached_property
    def _folder(self) -> Path:
        settings = f"{self._maps.fingerprint()} {self._augmentation!r} {self._views}"
        return cache_folder() / hashlib.sha256(settings.encode()).hexdigest()[:32]

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.safetensors"


_TARGETS_KEPT = 4096  # some 16 KiB each, of a grid of 40×50


class ViewAugmentation:
    """Views of an image by their number: 0 is the image as it is, the others are cut, flipped and coloured.

    Args:
        geometry: of views from 1 on; its crop is the size of all views.
        photometric: change of their colours, images ``(B, 3, H, W)`` in [0, 1] to the same; None: none.
    """

    def __init__(self, geometry: WeakGeometry, photometric: nn.Module | None = None) -> None:
        self.geometry = geometry
        self.photometric = photometric

    def __call__(
        self, image: Tensor, mask: Tensor | None, seed: int, view: int
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """As of :class:`WeakGeometry`; image and mask are of the size of the views."""
        if view == 0:
            pixels = image.float() / 255 if image.dtype == torch.uint8 else image
            return pixels, mask, torch.ones(image.shape[1:], dtype=torch.bool)
        drawn = mixed_seed(seed, view)
        pixels, mask, valid = self.geometry(image, mask, torch.Generator().manual_seed(drawn))
        if self.photometric is not None:
            with batch_part(drawn):
                pixels = self.photometric(pixels[None])[0]
        return pixels, mask, valid

    def targets(self, mask: Tensor | None, size: tuple[int, int], seed: int, view: int) -> tuple[Tensor, Tensor | None]:
        """bool ``(*size)``, which pixels of a view are of the image, and their class ids where there is a mask."""
        colours = torch.zeros(3, *size, dtype=torch.uint8)
        mask = None if mask is None else resize_mask(mask, size)
        geometric = ViewAugmentation(self.geometry)
        _, mask, valid = geometric(colours, mask, seed, view)
        return valid, mask

    def __repr__(self) -> str:
        return f"ViewAugmentation({self.geometry!r}, {self.photometric!r})"


def _seed(digest: str) -> int:
    return int(digest[:15], 16)
