"""Arguments that several commands share."""

from __future__ import annotations

import argparse


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
