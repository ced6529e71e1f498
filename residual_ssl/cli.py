"""The command `residual-ssl`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from residual_ssl.commands.pools.arguments import add_pool_commands
from residual_ssl.errors import (
    IncompleteError,
    InvalidInputError,
    MissingDataError,
    ResidualSSLError,
    ResidualSSLWarning,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a fault of the user's gives one clear message on standard error and exit status 2."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
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
            options.run(options)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="residual-ssl", description="Semi-supervised learning that knows which pseudo-labels to trust."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train from a configuration; a run that was stopped is continued")
    _add_overrides(train, "experiment=digits algorithm=csl steps=600 …")
    train.add_argument("--print-config", action="store_true", help="print the composed configuration and stop")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="metrics of a trained run on its validation set")
    _add_run(evaluate)
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser(
        "predict", help="labels, overlays, confidence and trust maps for your own files; or the network as ONNX"
    )
    _add_run(predict)
    predict.add_argument("inputs", nargs="*", metavar="INPUT", help="file, folder or quoted pattern: 'photos/**/*.jpg'")
    predict.add_argument("--out", required=True, help="folder for the results; with --format onnx the file to write")
    predict.add_argument(
        "--format",
        choices=("png", "onnx"),
        default="png",
        help="png: pictures of the inputs; onnx: no inputs, the network itself, compared with onnxruntime",
    )
    predict.add_argument(
        "--tile", default="auto", metavar="SIDE", help="predict images in tiles of so many pixels; auto, none"
    )
    predict.set_defaults(run=_predict, several="inputs")

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
    select.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    select.add_argument("--config-dir", help="folder with further choices, laid out as the library's configs")
    _add_allow(select)
    select.set_defaults(run=_select)

    splits = commands.add_parser("splits", help="draw labelled images such that every class has some; write the lists")
    _add_overrides(splits, "dataset=pascal dataset.root=FOLDER seed=1 …")
    splits.add_argument("--labelled", required=True, type=int, metavar="N", help="images to label")
    splits.add_argument("--out", required=True, help="folder for labeled.txt and unlabeled.txt")
    splits.set_defaults(run=_splits)

    report = commands.add_parser("report", help="compare runs: one table, and one HTML page with pictures")
    report.add_argument("runs", nargs="+", help="run directories")
    report.add_argument("--out", required=True, help="HTML file to write")
    _add_changes(report)
    _add_allow(report)
    report.set_defaults(run=_report)

    listed = commands.add_parser("list", help="what can be chosen: algorithms, selectors, datasets, models …")
    listed.add_argument("group", nargs="?", metavar="GROUP", help="one of them; all without")
    listed.add_argument("--long", action="store_true", help="all that the files say of their choices")
    listed.add_argument("--config-dir", help="folder with further choices, laid out as the library's configs")
    listed.set_defaults(run=_list)

    share = commands.add_parser("share", help="a trained run as safetensors, JSON and a model card, to give away")
    _add_run(share)
    share.add_argument("--out", metavar="FOLDER", help="folder to write")
    share.add_argument("--hub", metavar="USER/MODEL", help="repository on the Hugging Face hub to write to")
    share.set_defaults(run=_share)

    doctor = commands.add_parser("doctor", help="check this installation; with dataset=…, every file of a data set")
    _add_overrides(doctor, "dataset=folders dataset.root=FOLDER …; nothing: the installation")
    doctor.add_argument("--out", help="folder for the findings as text and JSON, and for a list of what to leave out")
    doctor.add_argument("--workers", type=int, metavar="N", help="processes that read files (one a core)")
    doctor.set_defaults(run=_doctor)

    add_pool_commands(commands, _add_run)
    return parser


def _add_overrides(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=example)
    parser.set_defaults(several="overrides")
    parser.add_argument("--config-dir", help="folder with further choices, laid out as the library's configs")
    _add_allow(parser)


def _add_allow(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow", action="append", metavar="PACKAGE", help="let configurations call what this package of yours defines"
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", help="run directory or checkpoint file")
    parser.add_argument("--checkpoint", default="best.pt", help="file in the run directory (best.pt, last.pt)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    _add_changes(parser)
    _add_allow(parser)


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="changes",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the run that is another one now: dataset.root=FOLDER where its data lie",
    )


def _train(options: argparse.Namespace) -> None:
    from residual_ssl.config.composition import compose
    from residual_ssl.engine import train
    from residual_ssl.engine.records.console import summary

    config = compose(options.overrides, config_dir=options.config_dir)
    if options.print_config:
        print(json.dumps(config, indent=2))
        return
    result = train(config)
    if result.last and os.environ.get("RANK", "0") == "0":  # launchers of several processes number them
        print(summary(result))


def _evaluate(options: argparse.Namespace) -> None:
    from residual_ssl.commands.api import evaluate
    from residual_ssl.commands.report.evaluation import evaluation_text

    chosen = {"checkpoint_name": options.checkpoint, "device": options.device, "changes": options.changes}
    print(evaluation_text(evaluate(options.trained, **chosen)))


def _predict(options: argparse.Namespace) -> None:
    from residual_ssl.commands.api import export, predict

    if options.format == "onnx":
        if options.inputs:
            raise InvalidInputError(f"inputs: got {' '.join(options.inputs)}, expected none with --format onnx")
        print(export(options.trained, options.out, checkpoint_name=options.checkpoint, changes=options.changes))
        return
    if not options.inputs:
        raise InvalidInputError("inputs: got none, expected files, folders or quoted patterns after the run")
    written = predict(
        options.trained,
        options.inputs,
        options.out,
        checkpoint_name=options.checkpoint,
        device=options.device,
        changes=options.changes,
        tile=None if options.tile == "none" else int(options.tile) if options.tile.isdecimal() else options.tile,
    )
    print(f"{len(written)} files in {options.out}")


def _select(options: argparse.Namespace) -> None:
    from residual_ssl.commands.api import select
    from residual_ssl.commands.comparison.selectors import split_names
    from residual_ssl.commands.comparison.write import comparison_table

    files = ("logits", "labels", "valid", "second", "labelled_logits", "labelled_labels")
    others = ("from_probabilities", "ignore_index", "batch", "device", "config_dir", "out")
    given = {name: getattr(options, name) for name in (*files, *others)}
    print(comparison_table(select(selectors=split_names(options.selectors), **given)).text())
    print(f"\n{options.out}")


def _splits(options: argparse.Namespace) -> None:
    from residual_ssl.commands.api import split

    print(split(options.overrides, options.labelled, options.out, config_dir=options.config_dir))


def _report(options: argparse.Namespace) -> None:
    from residual_ssl.commands.report import write_report

    print(write_report([Path(run) for run in options.runs], Path(options.out), changes=options.changes))
    print(f"\n{options.out}")


def _list(options: argparse.Namespace) -> None:
    import shutil

    from residual_ssl.commands.choices import GROUPS, choices, choices_text

    width = shutil.get_terminal_size((120, 24)).columns
    for group in [options.group] if options.group else GROUPS:
        found = choices(group, config_dir=options.config_dir)
        title = "" if options.group else f"{group}: {GROUPS[group]}=…\n"
        print(f"{title}{choices_text(group, found, long=options.long, width=width)}{'' if options.group else chr(10)}")


def _share(options: argparse.Namespace) -> None:
    from residual_ssl.commands.share import push_to_hub, share
    from residual_ssl.engine.records.trained import load_run

    if (options.out is None) == (options.hub is None):
        raise InvalidInputError("share: expected --out FOLDER or --hub USER/MODEL, one of the two")
    trained = load_run(options.trained, checkpoint_name=options.checkpoint, device="cpu", changes=options.changes)
    print(push_to_hub(trained, options.hub) if options.out is None else share(trained, options.out))


def _doctor(options: argparse.Namespace) -> None:
    from residual_ssl.commands.doctor import diagnose, examination_text, examine, write_examination

    if not options.overrides:
        print(diagnose())
        return
    found = examine(options.overrides, workers=options.workers, config_dir=options.config_dir)
    out = None if options.out is None else Path(options.out)
    if out is not None:
        write_examination(found, out)
    print(examination_text(found, out))
    if found.faults:
        raise IncompleteError(f"{len(found.faults)} faults in this data set")


if __name__ == "__main__":
    sys.exit(main())
