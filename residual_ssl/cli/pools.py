"""Commands of pools larger than a machine: label, query."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from residual_ssl.cli.answer import Answer
from residual_ssl.cli.arguments import add_config_dir, add_output, add_run
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.progress import hidden


def add_commands(commands: Any) -> None:
    """Add the commands with their arguments and actions."""
    label = commands.add_parser("label", help="label a pool of any size: Parquet shards of labels, weights and trust")
    add_run(label)
    _add_pool(label)
    label.add_argument(
        "--images",
        choices=("auto", "keep", "refer"),
        default="auto",
        help="keep the content of images, or refer to their files where they have some; auto: refer to files, keep "
        "what lies in Parquet files and archives",
    )
    label.add_argument(
        "--engine",
        choices=("processes", "ray"),
        default="processes",
        help="processes: this one and those of torchrun, accelerate or srun; ray: a Ray cluster (residual-ssl[ray])",
    )
    label.set_defaults(run=_label, several="pool")

    query = commands.add_parser("query", help="which images of a pool to label next: a list, and a sheet to look at")
    add_run(query)
    _add_pool(query)
    query.add_argument("--budget", type=int, required=True, metavar="N", help="images to choose")
    query.set_defaults(run=_query, several="pool")


def _add_pool(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pool",
        nargs="*",
        metavar="POOL",
        help="images, Parquet files, tar archives, folders of them, quoted patterns, a text file that lists images; or "
        "run:unlabelled, the unlabelled set of the run",
    )
    parser.add_argument("--out", required=True, help="folder for the results; the same command goes on with it")
    parser.add_argument("--selector", metavar="NAME:KEY=VALUE", help="judge by another selector than the run's own")
    parser.add_argument("--root", metavar="FOLDER", help="folder that names of images are relative to")
    parser.add_argument("--image-column", metavar="NAME", help="column of images in Parquet files")
    parser.add_argument("--shard-size", type=int, default=1000, metavar="N", help="images worked on as a whole (1000)")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="images predicted together (16)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads that decode images (one a core)")
    parser.add_argument(
        "--max-errors", default="100", metavar="N", help="unreadable images to go on with (100), or any"
    )
    add_config_dir(parser)
    add_output(parser)


def _label(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.pools import label

    found = label(**_common(options), images=options.images, engine=options.engine)
    return Answer(str(found), asdict(found))


def _query(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.pools import query

    found = query(**_common(options), budget=options.budget)
    return Answer(str(found), asdict(found))


def _common(options: argparse.Namespace) -> dict[str, Any]:
    if not options.pool:
        raise ConfigError("pool: got none, expected files, folders, quoted patterns or run:unlabelled after the run")
    limit: str = options.max_errors
    if not (limit == "any" or limit.isdecimal()):
        raise ConfigError(f"max_errors: got {limit!r}, expected a number of images, or any")
    for name in ("shard_size", "batch", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise ConfigError(f"{name}: got {value}, expected a number ≥ 1")
    same = ("pool", "out", "selector", "root", "image_column", "shard_size", "batch", "threads", "config_dir")
    return {
        "run": options.trained,
        **{name: getattr(options, name) for name in same},
        "max_errors": None if limit == "any" else int(limit),
        "checkpoint_name": options.checkpoint,
        "device": options.device,
        "changes": options.changes,
        "progress": _show if sys.stderr.isatty() and not hidden(False) else None,
    }


def _show(text: str) -> None:
    """One line that is written over."""
    print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
