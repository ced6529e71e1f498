"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from residual_ssl.errors import InvalidInputError
from residual_ssl.runtime.progress import hidden


def add_overrides(parser: argparse.ArgumentParser, example: str) -> None:
    """KEY=VALUE on both sides of options, the folder of further choices, and packages that may be called."""
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=example)
    parser.set_defaults(several="overrides")
    add_config_dir(parser)
    add_allow(parser)


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """The folder of further choices."""
    parser.add_argument("--config-dir", metavar="FOLDER", help="further choices, laid out as the library's configs")


def add_allow(parser: argparse.ArgumentParser) -> None:
    """Packages that configurations may call."""
    parser.add_argument(
        "--allow", action="append", metavar="PACKAGE", help="let configurations call what this package of yours defines"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """A trained run, its checkpoint, the device, and settings that are others now."""
    parser.add_argument("trained", metavar="RUN", help="run directory or checkpoint file")
    parser.add_argument("--checkpoint", default="best.pt", help="file in the run directory (best.pt, last.pt)")
    add_device(parser)
    add_changes(parser)
    add_allow(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where tensors are."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Settings of a run that are others now."""
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the run that is another one now: dataset.root=FOLDER where its data lie",
    )


def add_output(parser: argparse.ArgumentParser, *, json: bool = True) -> None:
    """How much is printed, and in which form."""
    parser.add_argument("--quiet", action="store_true", help="no progress and no remarks: results and faults alone")
    if json:
        parser.add_argument("--json", action="store_true", help="the result as JSON, alone on standard output")


def add_own_data(parser: argparse.ArgumentParser) -> None:
    """Folders of one's own images, in place of a data set of the configuration."""
    group = parser.add_argument_group(
        "your own images", "in place of dataset= or experiment=; written as YAML files into --config-dir (configs)"
    )
    group.add_argument("--images", metavar="FOLDER", help="images; without --masks, in a folder for each class")
    group.add_argument("--masks", metavar="FOLDER", help="masks, of the names of their images; or a COCO file (.json)")
    group.add_argument("--classes", metavar="A,B,…", help="classes in the order of their ids; ignore for no label")
    group.add_argument("--colours", metavar="#…,#…", help="of the classes in the masks, where these hold no ids")
    group.add_argument("--labelled", metavar="N", help="labelled images: a number, a list, or all (all)")
    group.add_argument(
        "--validation",
        metavar="SHARE",
        help="what to measure on: a share, a number, a list, none; or a folder (a fifth)",
    )
    group.add_argument("--validation-masks", metavar="FOLDER", help="masks, where --validation is a folder of images")
    group.add_argument("--unlabelled", metavar="FOLDER", help="further images, without labels")
    group.add_argument("--name", help="of the data set, for the next time (that of the folder)")


def chosen(options: argparse.Namespace) -> tuple[list[str], str | Path | None]:
    """Overrides and folder of choices of a command, those of one's own images among them, which are written first.

    Raises:
        InvalidInputError: own images and a data set of the configuration; an option of own images without them.
    """
    own = ("masks", "classes", "colours", "labelled", "validation", "validation_masks", "unlabelled", "name")
    if options.images is None:
        if given := [name for name in own if getattr(options, name) is not None]:
            raise InvalidInputError(f"--{given[0].replace('_', '-')}: got it without --images, the folder of images")
        return options.overrides, options.config_dir
    if other := [one for one in options.overrides if one.split("=")[0] in ("dataset", "experiment")]:
        raise InvalidInputError(f"--images: got it with {other[0]}, expected one of the two")
    from residual_ssl.commands.own_data import OwnData, write_choices

    data = OwnData(
        images=options.images,
        classes=_several(options.classes),
        colours=_several(options.colours),
        labelled=options.labelled or "all",
        **{name: getattr(options, name) for name in own if name not in ("classes", "colours", "labelled")},
    )
    command = f"residual-ssl {shlex.join(sys.argv[1:])}"
    own_model = any(one.startswith("model=") for one in options.overrides)
    written = write_choices(data, options.config_dir, command, own_model=own_model)
    if not hidden(False) and os.environ.get("RANK", "0") == "0":  # launchers of several processes number them
        print(written.text, file=sys.stderr, flush=True)
    return [f"experiment={written.name}", *options.overrides], written.config_dir


def _several(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]
