"""One command: its arguments read, its action run, one clear line for a fault, an exit status."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from residual_ssl.cli.answer import answered
from residual_ssl.cli.completion import candidates
from residual_ssl.cli.parser import command_parser
from residual_ssl.errors import (
    IncompleteError,
    MissingDataError,
    ResidualSSLError,
    ResidualSSLWarning,
)

_COMPLETE = "complete"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a fault of the user's gives one clear message on standard error and exit status 2."""
    parser = command_parser()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == [_COMPLETE]:  # asked by shells while a user types; no command of its own
        print("\n".join(candidates(parser, words[1:])))
        return 0
    options, rest = parser.parse_known_args(words)
    # argparse takes positional arguments in one stretch only; overrides and inputs may stand on both sides of options.
    if rest and (not hasattr(options, "several") or any(argument.startswith("-") for argument in rest)):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if rest:
        getattr(options, options.several).extend(rest)
    if packages := getattr(options, "allow", None):
        from residual_ssl.config.allowed_targets import VARIABLE

        # In the environment, so that loader processes and launched ranks allow the same.
        os.environ[VARIABLE] = ",".join(filter(None, [os.environ.get(VARIABLE, ""), *packages]))
    try:
        with _plain_warnings():
            answered(options.run, options)
    except IncompleteError as error:
        print(f"residual-ssl: {error}", file=sys.stderr)
        return 1
    except ResidualSSLError as error:
        moved = isinstance(error, MissingDataError) and hasattr(options, "changes") and "is not a folder" in str(error)
        hint = "; where the data of the run have moved, say --set dataset.root=FOLDER" if moved else ""
        print(f"residual-ssl: {error}{hint}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # no permission, no space
        print(f"residual-ssl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show this package's warnings as it shows errors, a line each and not the line of code that gave them."""
    usual = warnings.formatwarning

    def plain(message: Warning | str, category: type[Warning], *place: Any, **further: Any) -> str:
        if issubclass(category, ResidualSSLWarning):
            return f"residual-ssl: warning: {message}\n"
        return usual(message, category, *place, **further)

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = usual
