"""A semi-supervised segmentation dataset from folders of images and masks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from residual_ssl.data.images import read_image, read_mask, resize_image, resize_mask
from residual_ssl.data.listing import IMAGE_SUFFIXES, FolderPair, files_by_stem
from residual_ssl.data.samples import Sample
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits import check_disjoint, draw_labelled, read_list, some
from residual_ssl.errors import ConfigError, DataError, MissingDataError

_FOLDER_KEYS = ("images", "masks", "list")

Folders = Mapping[str, str | None]
Pairs = dict[Path, Path | None]


class FolderSamples:
    """Image files with their masks, read when asked for.

    Args:
        pairs: image file → mask file, or None.
        spec: gives the masks' ids their meaning.
        root: names of samples are relative to it.
        resize: (height, width) of what is read, or None for the files' own.

    Raises on reading:
        DataError, MissingDataError: a file that cannot be read, a mask of another size than its image, ids outside the
            specification.
    """

    def __init__(
        self, pairs: Mapping[Path, Path | None], spec: DatasetSpec, root: Path, resize: tuple[int, int] | None
    ):
        self._pairs = tuple(pairs.items())
        self._spec = spec
        self._root = root
        self._resize = resize

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int, /) -> Sample:
        image_path, mask_path = self._pairs[index]
        image = read_image(image_path)
        mask = None
        if mask_path is not None:
            mask = self._spec.encode(read_mask(mask_path), str(mask_path))
            if mask.shape != image.shape[1:]:
                raise DataError(
                    f"{image_path} is {_size(image.shape)} and its mask {mask_path} {_size(mask.shape)}; expected the "
                    "same size (an image is turned by its EXIF orientation, a mask is not)"
                )
        if self._resize is not None:
            image = resize_image(image, self._resize)
            mask = None if mask is None else resize_mask(mask, self._resize)
        return Sample(image, mask, Path(os.path.relpath(image_path, self._root)).as_posix())


class ImageFolders:
    """Folders of images and masks as a :class:`SegmentationSource`; nothing but file names is read at construction.

    Images are .jpg, .jpeg, .png, .bmp, .webp or .tif, masks .png, .bmp or .tif, in any case, of the image's stem.

    Args:
        root: the dataset's folder.
        spec: classes and the meaning of the masks' ids.
        train: names of the folders below ``root``, as ``{"images": "train", "masks": "trainannot"}``. An optional
            ``"list"``, a split list, restricts it to the images listed, where one folder holds more than one subset.
            Folders may be left out where lists give paths, and all keys where ``labelled`` and ``unlabelled`` do.
        validation: likewise; every image needs a mask.
        labelled: how many training images to draw as labelled, among those that have a mask; or a split list of them,
            each line ``image mask`` or ``image`` (see :func:`read_list`).
        unlabelled: a split list of the unlabelled images; None for all training images that are not labelled. Their
            masks need not exist, and none is opened.
        unlabelled_images: a folder below ``root`` with further images for the unlabelled pool.
        unlabelled_truth: load the masks of unlabelled images where they exist, *for diagnostics only*.
        resize: (height, width) applied on reading, to images and masks; None keeps the files' sizes.
        seed: of the draw.

    Split lists are looked for below ``root``, then in the working directory.

    Attributes ``spec``, ``labelled``, ``unlabelled``, ``validation``: see :class:`SegmentationSource`. ``unlabelled``
    is empty where all images are labelled.

    Raises:
        MissingDataError: no such root, folder or list.
        DataError: an empty folder; list entries without a file; labelled or validation images without a mask; an image
            in two subsets.
        ConfigError: a labelled count outside 1 … N, other keys in ``train`` or ``validation``, an impossible
            ``resize``.

    Example:
        >>> ImageFolders(
        ...     "/no/such/folder",
        ...     DatasetSpec(["road", "car"]),
        ...     train={"images": "train", "masks": "trainannot"},
        ...     validation={"images": "val", "masks": "valannot"},
        ...     labelled=30,
        ... )
        Traceback (most recent call last):
        residual_ssl.errors.MissingDataError: root: /no/such/folder is not a folder; give the dataset's folder
    """

    def __init__(
        self,
        root: str | Path,
        spec: DatasetSpec,
        train: Folders,
        validation: Folders,
        labelled: int | str | Path,
        *,
        unlabelled: str | Path | None = None,
        unlabelled_images: str | None = None,
        unlabelled_truth: bool = False,
        resize: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        by_lists = isinstance(labelled, (str, Path)) and unlabelled is not None
        _check_arguments(train, validation, resize, train_optional=by_lists)
        self.spec = spec
        self.root = Path(os.path.abspath(Path(root).expanduser()))
        size = None if resize is None else (resize[0], resize[1])

        folders, pool = self._subset(train)
        _, validation_pairs = self._subset(validation)
        if isinstance(labelled, (str, Path)):
            labelled_pairs = self._listed(folders, labelled)
        else:
            with_mask = {str(image): image for image, mask in pool.items() if mask is not None}
            drawn = [with_mask[name] for name in draw_labelled(with_mask, labelled, seed)]
            labelled_pairs = {image: pool[image] for image in drawn}
        if unlabelled is not None:
            unlabelled_pairs = self._listed(folders, unlabelled)
        else:
            unlabelled_pairs = {image: mask for image, mask in pool.items() if image not in labelled_pairs}
        if unlabelled_images is not None:
            further = files_by_stem(self.root, unlabelled_images, IMAGE_SUFFIXES).values()
            unlabelled_pairs |= {image: None for image in further if image not in unlabelled_pairs}

        check_disjoint(
            [
                (subset, [str(image) for image in pairs])
                for subset, pairs in (
                    ("labelled", labelled_pairs),
                    ("unlabelled", unlabelled_pairs),
                    ("validation", validation_pairs),
                )
            ],
            fix="name the images of each subset in a split list, or keep them in folders of their own",
        )
        _check_masks("labelled", labelled_pairs)
        _check_masks("validation", validation_pairs)
        if not unlabelled_truth:
            unlabelled_pairs = dict.fromkeys(unlabelled_pairs)
        self.labelled = FolderSamples(labelled_pairs, spec, self.root, size)
        self.unlabelled = FolderSamples(unlabelled_pairs, spec, self.root, size)
        self.validation = FolderSamples(validation_pairs, spec, self.root, size)

    def _subset(self, folders: Folders) -> tuple[FolderPair, Pairs]:
        pair = FolderPair.scan(self.root, folders.get("images"), folders.get("masks"))
        chosen = folders.get("list")
        return pair, pair.all() if chosen is None else self._listed(pair, chosen)

    def _listed(self, folders: FolderPair, path: str | Path) -> Pairs:
        found = next((p for p in (self.root / path, Path(path).absolute()) if p.is_file()), None)
        if found is None:
            raise MissingDataError(f"{path}: no such split list, neither in {self.root} nor in {Path.cwd()}")
        return folders.listed(read_list(found), str(found))


def _check_arguments(
    train: Folders, validation: Folders, resize: tuple[int, int] | None, *, train_optional: bool
) -> None:
    faults = []
    for name, folders, optional in (("train", train, train_optional), ("validation", validation, False)):
        named = folders.get("images") or folders.get("list")
        if set(folders) - set(_FOLDER_KEYS) or not (named or optional):
            faults.append(f"{name}: got {dict(folders)!r}, expected the keys images and masks, or list, or all three")
    if resize is not None and (len(resize) != 2 or not all(isinstance(n, int) and n > 0 for n in resize)):
        faults.append(f"resize: got {resize!r}, expected (height, width) in pixels, or none")
    if faults:
        raise ConfigError("\n".join(faults))


def _check_masks(subset: str, pairs: Pairs) -> None:
    bare = [image.name for image, mask in pairs.items() if mask is None]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(pairs)} {subset} images have no mask file: {some(bare)}; a mask has the stem of its "
            "image, in the folder given as masks, or stands in the list's second column"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[-1]}×{shape[-2]} (width×height)"
