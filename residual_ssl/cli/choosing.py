"""Commands that help to choose, and to add: list, explain, select, new."""

from __future__ import annotations

import argparse
from typing import Any

from residual_ssl.cli.answer import Answer
from residual_ssl.cli.arguments import add_allow, add_config_dir, add_device, add_output, add_overrides


def add_commands(commands: Any) -> None:
    """Add the commands with their arguments and actions."""
    select = commands.add_parser("select", help="compare selectors on saved predictions whose truth is known")
    select.add_argument("--logits", required=True, metavar="FILE", help="(N, K, ...): .npy, .npz, .pt or .safetensors")
    select.add_argument("--labels", required=True, metavar="FILE", help="true class ids (N, ...)")
    select.add_argument("--selectors", required=True, metavar="A,B,…", help="csl,fixed_threshold:threshold=0.9,…")
    select.add_argument("--out", required=True, help="folder for the table, its metrics as JSON, and a plot")
    select.add_argument("--valid", metavar="FILE", help="(N, ...): where predictions are to be judged")
    select.add_argument("--second", metavar="FILE", help="another model's or view's logits, for selectors that use two")
    select.add_argument("--labelled-logits", metavar="FILE", help="predictions that selectors may learn from …")
    select.add_argument("--labelled-labels", metavar="FILE", help="… and their true class ids")
    select.add_argument("--from-probabilities", action="store_true", help="the logits given are probabilities")
    select.add_argument("--ignore-index", type=int, default=255, metavar="ID", help="id without a known label (255)")
    select.add_argument("--batch", type=int, metavar="N", help="samples judged at once (16; 1024 without space)")
    add_device(select)
    add_config_dir(select)
    add_allow(select)
    add_output(select)
    select.set_defaults(run=_select)

    listed = commands.add_parser("list", help="what can be chosen: algorithms, selectors, datasets, models …")
    listed.add_argument("group", nargs="?", metavar="GROUP", help="one of them; all without")
    listed.add_argument("--long", action="store_true", help="all that the files say of their choices")
    add_config_dir(listed)
    listed.add_argument("--json", action="store_true", help="as JSON: group, choice, what it is")
    listed.set_defaults(run=_list)

    explain = commands.add_parser("explain", help="what a key of the configuration does, takes, is, and who says so")
    explain.add_argument("key", metavar="KEY", help="dataset.geometry.crop; or a group: selector")
    add_overrides(explain, "experiment=pascal algorithm=csl …: the configuration to explain it in")
    explain.add_argument("--json", action="store_true", help="as JSON")
    explain.set_defaults(run=_explain)

    new = commands.add_parser("new", help="a package of your own with a task or a selector that works, to be changed")
    new.add_argument("kind", choices=("task", "selector"), help="what it adds")
    new.add_argument("name", metavar="NAME", help="of the package and of the choice: my_rule")
    new.add_argument("--out", metavar="FOLDER", help="folder to write (NAME)")
    new.set_defaults(run=_new)


def _explain(options: argparse.Namespace) -> Answer:
    import shutil
    from dataclasses import asdict

    from residual_ssl.commands.catalogue import explain, explanation_text

    found = explain(options.key, options.overrides, config_dir=options.config_dir)
    return Answer(explanation_text(found, min(120, shutil.get_terminal_size((120, 24)).columns)), asdict(found))


def _select(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.api import select
    from residual_ssl.commands.comparison.selectors import split_names
    from residual_ssl.commands.comparison.write import comparison_record, comparison_table

    files = ("logits", "labels", "valid", "second", "labelled_logits", "labelled_labels")
    others = ("from_probabilities", "ignore_index", "batch", "device", "config_dir", "out")
    given = {name: getattr(options, name) for name in (*files, *others)}
    found = select(selectors=split_names(options.selectors), **given)
    return Answer(f"{comparison_table(found).text()}\n\n{options.out}", comparison_record(found))


def _list(options: argparse.Namespace) -> Answer:
    import shutil

    from residual_ssl.commands.catalogue import GROUPS, choices, choices_text

    width = shutil.get_terminal_size((120, 24)).columns
    groups = [options.group] if options.group else list(GROUPS)
    found = {group: choices(group, config_dir=options.config_dir) for group in groups}
    texts = {group: choices_text(group, of_group, long=options.long, width=width) for group, of_group in found.items()}
    if options.group:
        return Answer(texts[options.group], found)
    return Answer("\n".join(f"{group}: {GROUPS[group]}=…\n{text}\n" for group, text in texts.items()), found)


def _new(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.extension import new_extension

    files = new_extension(options.kind, options.name, options.out)
    folder = options.out or options.name
    use = f"dataset={options.name}" if options.kind == "task" else f"experiment=digits selector={options.name}"
    following = [f"pip install --editable '{folder}[dev]'", f"pytest {folder}"]
    following.append(f"residual-ssl train {use} algorithm=fixmatch")
    text = "\n".join([*map(str, files), "", "Next:", *(f"    {line}" for line in following)])
    return Answer(text, {"files": [str(path) for path in files]})
