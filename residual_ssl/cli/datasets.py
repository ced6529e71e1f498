"""Commands that look at data sets and divide them: look, doctor, splits."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from residual_ssl.cli.answer import Answer
from residual_ssl.cli.arguments import add_output, add_overrides, add_own_data, chosen


def add_commands(commands: Any) -> None:
    """Add the commands with their arguments and actions."""
    look = commands.add_parser("look", help="a contact sheet of a data set: images, labels, classes, sizes")
    add_overrides(look, "dataset=folders dataset.root=FOLDER …")
    add_own_data(look)
    look.add_argument("--out", required=True, metavar="FILE", help="PNG file to write")
    add_output(look)
    look.set_defaults(run=_look)

    splits = commands.add_parser("splits", help="draw labelled images such that every class has some; write the lists")
    add_overrides(splits, "dataset=pascal dataset.root=FOLDER seed=1 …")
    splits.add_argument("--labelled", required=True, type=int, metavar="N", help="images to label")
    splits.add_argument("--out", required=True, help="folder for labeled.txt and unlabeled.txt")
    add_output(splits)
    splits.set_defaults(run=_splits)

    doctor = commands.add_parser("doctor", help="check this installation; with dataset=…, every file of a data set")
    add_overrides(doctor, "dataset=folders dataset.root=FOLDER …; nothing: the installation")
    doctor.add_argument("--out", help="folder for the findings as text and JSON, and for a list of what to leave out")
    doctor.add_argument("--workers", type=int, metavar="N", help="processes that read files (one a core)")
    add_own_data(doctor)
    add_output(doctor)
    doctor.set_defaults(run=_doctor)


def _look(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.look import facts_text, look

    overrides, config_dir = chosen(options)
    facts = look(overrides, options.out, config_dir=config_dir)
    return Answer(f"{facts_text(facts)}\n\n{options.out}", {**facts.values(), "sheet": options.out})


def _splits(options: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from residual_ssl.commands.api import split

    report = split(options.overrides, options.labelled, options.out, config_dir=options.config_dir)
    return Answer(str(report), asdict(report))


def _doctor(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.doctor import diagnose, examination_text, examination_values, examine, write_examination

    overrides, config_dir = chosen(options)
    if not overrides:
        text = diagnose()
        return Answer(text, {"installation": text.splitlines()})
    found = examine(overrides, workers=options.workers, config_dir=config_dir)
    out = None if options.out is None else Path(options.out)
    if out is not None:
        write_examination(found, out)
    fault = f"{len(found.faults)} faults in this data set" if found.faults else ""
    return Answer(examination_text(found, out), examination_values(found), fault)
