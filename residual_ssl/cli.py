"""The command `residual-ssl`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from residual_ssl.errors import ResidualSSLError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a fault of the user's gives one clear message on standard error and exit status 2."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse takes positional arguments in one stretch only; overrides may stand before and after options.
    if rest and (not hasattr(options, "overrides") or any(argument.startswith("-") for argument in rest)):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if rest:
        options.overrides += rest
    try:
        options.run(options)
    except ResidualSSLError as error:
        print(f"residual-ssl: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # no permission, no space
        print(f"residual-ssl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="residual-ssl", description="Semi-supervised learning that knows which pseudo-labels to trust."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train from a configuration; a run that was stopped is continued")
    _add_overrides(train, "experiment=digits algorithm=csl steps=600 …")
    train.add_argument("--print-config", action="store_true", help="print the composed configuration and stop")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="figures of a trained run on its validation set")
    _add_run(evaluate)
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser("predict", help="labels, overlays, confidence and trust maps for your own files")
    _add_run(predict)
    predict.add_argument("inputs", nargs="+", help="files or folders")
    predict.add_argument("--out", required=True, help="folder for the results")
    predict.set_defaults(run=_predict)

    splits = commands.add_parser("splits", help="draw labelled images such that every class has some; write the lists")
    _add_overrides(splits, "dataset=pascal dataset.root=FOLDER seed=1 …")
    splits.add_argument("--labelled", required=True, type=int, metavar="N", help="images to label")
    splits.add_argument("--out", required=True, help="folder for labeled.txt and unlabeled.txt")
    splits.set_defaults(run=_splits)

    report = commands.add_parser("report", help="compare runs: one table, and one HTML page with pictures")
    report.add_argument("runs", nargs="+", help="run directories")
    report.add_argument("--out", required=True, help="HTML file to write")
    report.set_defaults(run=_report)

    doctor = commands.add_parser("doctor", help="check this installation")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_overrides(parser: argparse.ArgumentParser, example: str) -> None:
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=example)
    parser.add_argument("--config-dir", help="folder with further choices, laid out as the library's configs")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trained", metavar="RUN", help="run directory or checkpoint file")
    parser.add_argument("--checkpoint", default="best.pt", help="file in the run directory (best.pt, last.pt)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")


def _train(options: argparse.Namespace) -> None:
    from residual_ssl.composition import compose
    from residual_ssl.engine import train
    from residual_ssl.engine.console import summary

    config = compose(options.overrides, config_dir=options.config_dir)
    if options.print_config:
        print(json.dumps(config, indent=2))
        return
    result = train(config)
    # The launchers of several processes number them.
    if result.last and os.environ.get("RANK", "0") == "0":
        print(summary(result))


def _evaluate(options: argparse.Namespace) -> None:
    from residual_ssl.api import evaluate

    figures = evaluate(options.trained, checkpoint_name=options.checkpoint, device=options.device)
    for name, value in figures.items():
        print(f"{name:>24}  {value:.2f}" if name != "step" else f"{name:>24}  {value:.0f}")


def _predict(options: argparse.Namespace) -> None:
    from residual_ssl.api import predict

    written = predict(
        options.trained, options.inputs, options.out, checkpoint_name=options.checkpoint, device=options.device
    )
    print(f"{len(written)} files in {options.out}")


def _splits(options: argparse.Namespace) -> None:
    from residual_ssl.api import split

    print(split(options.overrides, options.labelled, options.out, config_dir=options.config_dir))


def _report(options: argparse.Namespace) -> None:
    from residual_ssl.report import write_report

    print(write_report([Path(run) for run in options.runs], Path(options.out)))
    print(f"\n{options.out}")


def _doctor(_: argparse.Namespace) -> None:
    from residual_ssl.doctor import diagnose

    print(diagnose())


if __name__ == "__main__":
    sys.exit(main())
