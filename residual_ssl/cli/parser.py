"""All commands with their arguments."""

from __future__ import annotations

import argparse

from residual_ssl.cli import choosing, completion, datasets, pools, runs


def command_parser() -> argparse.ArgumentParser:
    """A parser whose options have the action of their command as ``run``; nothing heavy is imported."""
    parser = argparse.ArgumentParser(
        prog="residual-ssl", description="Semi-supervised learning that knows which pseudo-labels to trust."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for part in (runs, pools, datasets, choosing, completion):
        part.add_commands(commands)
    return parser
