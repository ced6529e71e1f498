"""A semi-supervised segmentation dataset from folders of images and masks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import cast

from residual_ssl.data.reading import PHOTOGRAPHS, ImageReading
from residual_ssl.data.segmentation.folder_samples import FolderSamples
from residual_ssl.data.segmentation.listing import FolderPair, Pairs
from residual_ssl.data.segmentation.mask_colours import Colours, MaskColours
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import check_disjoint, draw_labelled, few, read_list, read_names
from residual_ssl.errors import ConfigError, DataError, MissingDataError

_FOLDER_KEYS = ("images", "masks", "list")

Folders = Mapping[str, str | None]


class ImageFolders:
    """Folders of images and masks as a :class:`SegmentationSource`; nothing but file names is read at construction.

    Images are .jpg, .jpeg, .png, .bmp, .webp or .tif, masks .png, .bmp or .tif, in any case, of the image's stem.

    Args:
        root: the dataset's folder.
        spec: classes and the meaning of the masks' ids.
        train: names of the folders below ``root``, as ``{"images": "train", "masks": "trainannot"}``; with ``*`` for a
            folder per city, scene, …: ``"leftImg8bit/train/*"``. An optional ``"list"``, a split list, restricts it to
            the images listed, where one folder holds more than one subset. Folders may be left out where lists give
            paths, and all keys where ``labelled`` and ``unlabelled`` do.
        validation: likewise; every image needs a mask. None for no validation images, as in the source of an
            adaptation.
        labelled: how many training images to draw as labelled, among those that have a mask; ``"all"`` of these; a
            split list of them, each line ``image mask`` or ``image`` (see :func:`read_list`); or None for no image, as
            in the target of an adaptation.
        unlabelled: a split list of the unlabelled images; None for all training images that are not labelled. Their
            masks need not exist, and none is opened.
        unlabelled_images: a folder below ``root`` with further images for the unlabelled pool.
        unlabelled_truth: load the masks of unlabelled images where they exist, *for diagnostics only*.
        mask_paths: replacements that turn an image's path relative to ``root`` into its mask's, as
            ``{"images/": "annotations/", ".jpg": ".png"}``: where masks neither have their image's stem nor lie where
            the lists say, whose second column they overrule.
        mask_colours: for masks in colours: class name → ``[red, green, blue]`` or several of them, ``"ignore"`` → those
            without a label, see :class:`MaskColours`. None for masks of ids.
        leave_out: a text file of images that are in no subset, by their paths below ``root``, one a line, whether they
            are still there or not: as ``residual-ssl doctor`` writes it.
        reading: how files become images; where it divides them into windows or slices, lists and numbers are of files.
        seed: of the draw.

    Lists are looked for below ``root``, then in the working directory.

    Attributes ``spec``, ``labelled``, ``unlabelled``, ``validation``: see :class:`SegmentationSource`. ``unlabelled``
    is empty where all images are labelled.

    Raises:
        MissingDataError: no such root, folder or list.
        DataError: an empty folder; list entries without a file; labelled or validation images without a mask; an image
            in two subsets.
        ConfigError: a labelled count outside 1 … N, other keys in ``train`` or ``validation``.

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
        validation: Folders | None,
        labelled: int | str | Path | None,
        *,
        unlabelled: str | Path | None = None,
        unlabelled_images: str | None = None,
        unlabelled_truth: bool = False,
        mask_paths: Mapping[str, str] | None = None,
        mask_colours: Colours | None = None,
        leave_out: str | Path | None = None,
        reading: ImageReading = PHOTOGRAPHS,
        seed: int = 0,
    ) -> None:
        listed = labelled if isinstance(labelled, (str, Path)) and labelled != "all" else None
        by_lists = listed is not None and unlabelled is not None
        _check_arguments(train, validation, train_optional=by_lists)
        self.spec = spec
        self.root = Path(os.path.abspath(Path(root).expanduser()))
        self._mask_paths = mask_paths or {}
        self._left_out = frozenset() if leave_out is None else read_names(self._list_file(leave_out, "list of names"))

        folders = self._scan(train)
        validation_pairs: Pairs = {}
        if validation is not None:
            validation_pairs = self._subset(self._scan(validation), validation)
        pool: Pairs = {}
        if not by_lists:
            pool = self._subset(folders, train, masks=unlabelled_truth or (listed is None and labelled is not None))
        if listed is not None:
            labelled_pairs = self._listed(folders, listed)
        elif labelled is None:
            labelled_pairs = {}
        else:
            with_mask = {str(image): image for image, mask in pool.items() if mask is not None}
            names = sorted(with_mask) if labelled == "all" else draw_labelled(with_mask, cast(int, labelled), seed)
            labelled_pairs = {with_mask[name]: pool[with_mask[name]] for name in names}
        if unlabelled is not None:
            unlabelled_pairs = self._listed(folders, unlabelled, masks=unlabelled_truth)
        else:
            unlabelled_pairs = {image: mask for image, mask in pool.items() if image not in labelled_pairs}
        if unlabelled_images is not None:
            further = self._scan({"images": unlabelled_images}).images
            kept = (image for image in further if self._name(image) not in self._left_out)
            unlabelled_pairs |= {image: None for image in kept if image not in unlabelled_pairs}

        masks = {mask for pairs in (labelled_pairs, validation_pairs, pool) for mask in pairs.values()}
        unlabelled_pairs = {image: mask for image, mask in unlabelled_pairs.items() if image not in masks}
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
        colours = None if mask_colours is None else MaskColours(mask_colours, spec)
        made = partial(FolderSamples, spec=spec, root=self.root, colours=colours, reading=reading)
        self.labelled = made(labelled_pairs)
        self.unlabelled = made(unlabelled_pairs, outside=True)
        self.validation = made(validation_pairs)

    def _scan(self, folders: Folders) -> FolderPair:
        found = FolderPair.scan(self.root, folders.get("images"), folders.get("masks"), self._mask_paths)
        return found.without({self.root / name for name in self._left_out})

    def _subset(self, pair: FolderPair, folders: Folders, *, masks: bool = True) -> Pairs:
        chosen = folders.get("list")
        return pair.all(masks=masks) if chosen is None else self._listed(pair, chosen, masks=masks)

    def _listed(self, folders: FolderPair, path: str | Path, *, masks: bool = True) -> Pairs:
        found = self._list_file(path)
        entries = [entry for entry in read_list(found) if entry.image.replace("\\", "/") not in self._left_out]
        listed = folders.listed(entries, str(found), masks=masks)
        return {image: mask for image, mask in listed.items() if self._name(image) not in self._left_out}

    def _list_file(self, path: str | Path, what: str = "split list") -> Path:
        found = next((p for p in (self.root / path, Path(path).absolute()) if p.is_file()), None)
        if found is None:
            raise MissingDataError(f"{path}: no such {what}, neither in {self.root} nor in {Path.cwd()}")
        return found

    def _name(self, image: Path) -> str:
        return Path(os.path.relpath(image, self.root)).as_posix()


def _check_arguments(train: Folders, validation: Folders | None, *, train_optional: bool) -> None:
    faults = []
    for name, folders, optional in (("train", train, train_optional), ("validation", validation, False)):
        if folders is None:
            continue
        named = folders.get("images") or folders.get("list")
        if set(folders) - set(_FOLDER_KEYS) or not (named or optional):
            faults.append(f"{name}: got {dict(folders)!r}, expected the keys images and masks, or list, or all three")
    if faults:
        raise ConfigError("\n".join(faults))


def _check_masks(subset: str, pairs: Pairs) -> None:
    bare = [image.name for image, mask in pairs.items() if mask is None]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(pairs)} {subset} images have no mask file: {few(bare)}; a mask has the stem of its "
            "image, in the folder given as masks, or stands in the list's second column, or lies where mask_paths lead"
        )
