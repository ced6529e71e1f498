"""Completion of commands, options and KEY=VALUE in a shell: a script for it, and the candidates that it asks for."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from residual_ssl.cli.answer import Answer

# The shells ask `residual-ssl complete WORDS…` with the words up to the cursor; where there are no candidates, they
# offer files. Bash takes = for the end of a word, and gets what stands behind it.
_BASH = """\
_residual_ssl() {
    local line="${COMP_LINE:0:COMP_POINT}" words found
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    mapfile -t found < <(residual-ssl complete "${words[@]:1}" 2>/dev/null)
    local last="${words[-1]}"
    if [[ "$last" == *=* && "$COMP_WORDBREAKS" == *=* ]]; then
        found=("${found[@]#"${last%"${last##*=}"}"}")
    fi
    COMPREPLY=("${found[@]}")
    [[ "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
}
complete -o default -F _residual_ssl residual-ssl
"""
_ZSH = """\
#compdef residual-ssl
_residual_ssl() {
    local -a found
    found=("${(@f)$(residual-ssl complete "${words[@]:1:$((CURRENT - 1))}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -S '' -a found
    else
        _files
    fi
}
compdef _residual_ssl residual-ssl
"""
_FISH = """\
complete -c residual-ssl -a '(set -l words (commandline -opc) (commandline -ct); residual-ssl complete $words[2..-1])'
"""
SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def add_commands(commands: Any) -> None:
    """Add the commands with their arguments and actions."""
    script = commands.add_parser(
        "completion", help='a script that completes commands and keys: eval "$(residual-ssl completion bash)"'
    )
    script.add_argument("shell", choices=sorted(SHELLS), help="the shell to write it for")
    script.set_defaults(run=lambda options: Answer(SHELLS[options.shell].rstrip("\n")))


def candidates(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """What the last of the words may become, sorted.

    Args:
        parser: of all commands.
        words: of the command line after the program's name, the last one unfinished or empty.
    """
    *before, last = words or [""]
    commands = _commands(parser)
    chosen = next((word for word in before if word in commands), None)
    if chosen is None:
        return sorted(name for name in [*commands, "--help"] if name.startswith(last))
    command = commands[chosen]
    option = _option(command, before[-1]) if before else None
    if option is not None and option.nargs != 0:
        return sorted(choice for choice in option.choices or () if choice.startswith(last))
    if last.startswith("-"):
        return sorted(name for action in command._actions for name in action.option_strings if name.startswith(last))
    return sorted(dict.fromkeys(one for one in _words(command, before, last) if one.startswith(last)))


def _words(command: argparse.ArgumentParser, before: Sequence[str], last: str) -> Iterator[str]:
    """Choices of positional arguments, and keys with their values."""
    config_dir = next((value for name, value in pairwise(before) if name == "--config-dir"), None)
    positional = [action for action in command._actions if not action.option_strings]
    for action in positional:
        yield from action.choices or ()
    names = {action.dest for action in positional}
    if names & {"overrides", "group", "key"}:
        from residual_ssl.commands.catalogue import GROUPS
        from residual_ssl.commands.catalogue.choices import group_choices
        from residual_ssl.errors import ResidualSSLError

        if "group" in names:
            yield from GROUPS
            return
        group, sign, _ = last.partition("=")
        if sign and group in GROUPS.values():
            try:
                yield from (f"{group}={choice}" for choice in group_choices(group, config_dir=config_dir))
            except ResidualSSLError:  # a folder that is not there
                return
        elif not sign:
            ending = "" if names & {"key"} and len(before) == 1 else "="
            yield from (f"{name}{ending}" for name in [*GROUPS.values(), *_settings()])


def _settings() -> list[str]:
    """Keys at the top of the configuration."""
    from residual_ssl.config.choice_folders import choice_folders

    lines = (choice_folders()[0] / "train.yaml").read_text(encoding="utf-8").splitlines()
    return [line.partition(":")[0] for line in lines if line[:1].isalpha() and not line.startswith("defaults")]


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def _option(command: argparse.ArgumentParser, word: str) -> argparse.Action | None:
    return next((action for action in command._actions if word in action.option_strings), None)
