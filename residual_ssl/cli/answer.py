"""What a command answers: a text for people, the same as values for programs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from residual_ssl.errors import IncompleteError
from residual_ssl.runtime.progress import QUIET


@dataclass(frozen=True)
class Answer:
    """The result of a command.

    Attributes:
        text: for people.
        values: the same and more, of what JSON can hold.
        fault: what makes the command end with status 1 after its answer; empty for nothing.
    """

    text: str
    values: Any = None
    fault: str = ""


Action = Callable[[argparse.Namespace], Answer | None]


def answered(action: Action, options: argparse.Namespace) -> None:
    """Run a command and print its answer: as text, or with ``--json`` as JSON, alone on standard output.

    What is printed on the way goes to standard error with ``--json``, and nowhere with ``--quiet``.

    Raises:
        IncompleteError: the fault of the answer, after it.
    """
    as_json, quiet = getattr(options, "json", False), getattr(options, "quiet", False)
    before = os.environ.get(QUIET)
    if quiet:
        os.environ[QUIET] = "1"  # in the environment, so that loader processes see it
    try:
        if quiet:
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                answer = action(options)
        elif as_json:
            with redirect_stdout(sys.stderr):
                answer = action(options)
        else:
            answer = action(options)
    finally:
        if quiet and before is None:
            del os.environ[QUIET]
    if answer is None:
        return
    if as_json:
        from residual_ssl.runtime.files import json_text

        print(json_text(answer.values), end="")
    elif answer.text:
        print(answer.text)
    if answer.fault:
        raise IncompleteError(answer.fault)
