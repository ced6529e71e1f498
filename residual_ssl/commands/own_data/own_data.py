"""What a user says of folders of images, and the configuration files that it becomes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from residual_ssl.commands.own_data.classification import described_classes
from residual_ssl.commands.own_data.segmentation import Described, described_masks
from residual_ssl.commands.own_data.sizes import NETWORK
from residual_ssl.commands.own_data.validation import wanted
from residual_ssl.commands.own_data.written import write_kept, yaml_text
from residual_ssl.data import write_coco_masks
from residual_ssl.data.splits.lists import list_text
from residual_ssl.errors import ConfigError

_PLAIN_NAMES = ("images", "image", "imgs", "img", "train", "training")
_SHADOWED = ("dataset", "experiment")


@dataclass(frozen=True)
class OwnData:
    """Folders of images of one's own.

    Attributes:
        images: folder of images; without ``masks``, of a folder for each class.
        masks: folder of masks, of the images' stems, or with one ending more, ``road_mask.png`` of ``road.jpg``; or
            COCO annotations, a JSON file of polygons and run lengths, of which masks are drawn. Images without one are
            unlabelled.
        classes: names, in the order of the ids in the masks, ``"ignore"`` for ids that mean no label; for class folders
            none means all folders.
        labelled: number of labelled images, a text file that lists them, or ``"all"``.
        validation: what to measure on: a share below 1 or a number of the images with labels, ``"none"``, or a folder
            like ``images``, or a text file that lists images. None for a fifth, as far as ``labelled`` leaves some.
        validation_masks: folder of the masks of a folder of validation images, or their COCO annotations.
        colours: where masks hold colours: ``#rrggbb`` of each class, then those of points without a label.
        unlabelled: folder with further images for the pool.
        name: of the data set among the choices; None for that of the folder.
    """

    images: str
    masks: str | None = None
    classes: Sequence[str] = ()
    labelled: str = "all"
    validation: str | None = None
    validation_masks: str | None = None
    colours: Sequence[str] = ()
    unlabelled: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class WrittenChoices:
    """Files that make one's own data a choice.

    Attributes:
        name: of the choice: ``dataset=NAME``, ``experiment=NAME``.
        config_dir: folder that they are in.
        text: what was found and written, for the user.
    """

    name: str
    config_dir: Path
    text: str


def write_choices(
    data: OwnData, config_dir: str | Path | None = None, command: str = "", *, own_model: bool = False
) -> WrittenChoices:
    """Write the configuration of one's own data: ``dataset/NAME.yaml``, ``experiment/NAME.yaml``, ``lists/NAME``.

    A file that says something else is kept beside the new one.

    Args:
        data: the folders.
        config_dir: folder of choices; None for :func:`default_folder`.
        command: that made them, for a comment.
        own_model: whether the user chose a network, and needs no word on it.

    Raises:
        ConfigError: options that do not go together, classes that are not those in the masks.
        MissingDataError, DataError: folders that are not there or empty, masks of no image.
    """
    folder = default_folder() if config_dir is None else Path(config_dir)
    name = _name(data)
    data, drawn = _with_drawn_masks(data, folder / "masks" / name)
    found = _described(data, _labelled(data.labelled))
    dataset = found.dataset
    lists = (folder / "lists" / name).absolute()
    for subset, names in found.lists.items():
        write_kept(lists / f"{subset}.txt", list_text(names))
    segmented = data.masks is not None
    if found.lists:
        paths = {subset: str(lists / f"{subset}.txt") for subset in found.lists}
        if segmented:
            dataset |= {subset: {**dataset[subset], "list": path} for subset, path in paths.items()}
        else:
            dataset |= {f"{subset}_list": path for subset, path in paths.items()}
    base = "folders" if segmented else "class_folders"
    said = [f"Own images of {data.images}, {len(dataset['classes'])} classes."]
    said += [f"Written by: {command}"] if command else []
    use = f"residual-ssl train --config-dir {shlex.quote(str(folder))} experiment={name}"
    kept = [
        write_kept(folder / "dataset" / f"{name}.yaml", yaml_text(said, {"defaults": [base, "_self_"], **dataset})),
        write_kept(
            folder / "experiment" / f"{name}.yaml",
            yaml_text(
                ["@package _global_", f"Training on own images of {data.images}: {use} algorithm=csl"],
                {"defaults": [{"override /dataset": name}], **found.settings},
            ),
        ),
    ]
    written = ", ".join(str(folder / group / f"{name}.yaml") for group in _SHADOWED)
    rows = [
        *drawn,
        *(row for row in found.remarks if not (own_model and row[0] == NETWORK)),
        ("written", written + (f", {folder / 'lists' / name}" if found.lists else "")),
        *[("kept", f"{path}, which said something else") for path in kept if path is not None],
        ("next time", f"{use} …"),
    ]
    return WrittenChoices(name, folder, "\n".join(f"{title:>20}  {text}" for title, text in rows))


def default_folder() -> Path:
    """``configs``; in the library's own repository, whose choices lie there, ``my_configs``."""
    from residual_ssl import configs

    folder = Path("configs")
    return folder if folder.resolve() != Path(configs.__path__[0]).resolve() else Path("my_configs")


def _with_drawn_masks(data: OwnData, folder: Path) -> tuple[OwnData, list[tuple[str, str]]]:
    """The data with masks in place of COCO annotations, drawn into folders; and what is to be said of them."""
    remarks = []
    for which in ("masks", "validation_masks"):
        given = getattr(data, which)
        if given is None or Path(given).suffix.lower() != ".json":
            continue
        place = folder if which == "masks" else folder.with_name(f"{folder.name}_validation")
        drawn = write_coco_masks(given, place, classes=data.classes)
        data = replace(data, classes=drawn.classes, **{which: str(place)})
        others = f", {drawn.left_out} of other categories left out" if drawn.left_out else ""
        remarks.append(("annotations", f"{drawn.objects} objects of {given} in {drawn.masks} masks, {place}{others}"))
    return data, remarks


def _labelled(labelled: str) -> int | str | Path:
    path = Path(labelled).expanduser().absolute()
    if labelled == "all":
        return labelled
    if labelled.isdecimal() and int(labelled) > 0:
        return int(labelled)
    if not path.is_file():
        raise ConfigError(f"labelled: got {labelled}, expected a number ≥ 1, a text file that lists images, or all")
    return path


def _described(data: OwnData, labelled: int | str | Path) -> Described:
    validation: int | float | str | Path = wanted(data.validation)
    if isinstance(validation, str) and Path(validation).is_file():
        validation = Path(validation).expanduser().absolute()
    if data.masks is None:
        if data.validation_masks is not None:
            raise ConfigError("validation_masks: got a folder without masks for the training images; give --masks too")
        given = data.validation is not None
        return described_classes(data.images, data.classes, labelled, validation, data.unlabelled, given=given)
    return described_masks(
        data.images,
        data.masks,
        data.classes,
        labelled,
        validation,
        data.validation_masks,
        data.unlabelled,
        data.colours,
    )


def _name(data: OwnData) -> str:
    """A name for the choice that no choice of the library has."""
    from residual_ssl import configs

    path = Path(data.images).expanduser().absolute()
    while data.name is None and path.name.lower() in _PLAIN_NAMES and path.parent.name:
        path = path.parent
    name = re.sub(r"[^\w-]+", "_", data.name or path.name).strip("_") or "mine"
    taken = {file.stem for group in _SHADOWED for file in (Path(configs.__path__[0]) / group).glob("*.yaml")}
    if name in taken and data.name is not None:
        raise ConfigError(f"name: got {name}, which the library's own choices have; give another one")
    return f"my_{name}" if name in taken or name.isdecimal() else name
