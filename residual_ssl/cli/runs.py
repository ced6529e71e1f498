"""Commands that make runs, and those that use them: train, evaluate, predict, report, watch, share."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from residual_ssl.cli.answer import Answer
from residual_ssl.cli.arguments import add_allow, add_changes, add_output, add_overrides, add_own_data, add_run, chosen
from residual_ssl.errors import InvalidInputError


def add_commands(commands: Any) -> None:
    """Add the commands with their arguments and actions."""
    train = commands.add_parser("train", help="train from a configuration; a run that was stopped is continued")
    add_overrides(train, "experiment=digits algorithm=csl steps=600 …")
    train.add_argument("--print-config", action="store_true", help="print the composed configuration and stop")
    add_own_data(train)
    add_output(train)
    train.set_defaults(run=_train)

    evaluate = commands.add_parser("evaluate", help="metrics of a trained run on its validation set")
    add_run(evaluate)
    add_output(evaluate)
    evaluate.set_defaults(run=_evaluate)

    predict = commands.add_parser(
        "predict", help="labels, overlays, confidence and trust maps for your own files; or the network as ONNX"
    )
    add_run(predict)
    predict.add_argument("inputs", nargs="*", metavar="INPUT", help="file, folder or quoted pattern: 'photos/**/*.jpg'")
    predict.add_argument(
        "--out", required=True, help="folder for the results, or with another format the file to write"
    )
    predict.add_argument(
        "--format",
        choices=("png", "onnx", "pt2"),
        default="png",
        help="png: pictures of the inputs; onnx, pt2 (torch.export): no inputs, the network, compared with torch",
    )
    predict.add_argument(
        "--tile", default="auto", metavar="SIDE", help="predict images in tiles of so many pixels; auto, none"
    )
    add_output(predict)
    predict.set_defaults(run=_predict, several="inputs")

    report = commands.add_parser("report", help="compare runs: one table, and one HTML page with pictures")
    report.add_argument("runs", nargs="+", help="run directories")
    report.add_argument("--out", required=True, help="HTML file to write")
    add_changes(report)
    add_allow(report)
    add_output(report, json=False)
    report.set_defaults(run=_report)

    watch = commands.add_parser("watch", help="a page on runs while they train, on this machine alone")
    watch.add_argument("runs", nargs="+", help="run directories")
    watch.add_argument("--port", type=int, default=0, help="of 127.0.0.1; 0 for one that is free (0)")
    watch.set_defaults(run=_watch)

    share = commands.add_parser("share", help="a trained run as safetensors, JSON and a model card, to give away")
    add_run(share)
    share.add_argument("--out", metavar="FOLDER", help="folder to write")
    share.add_argument("--hub", metavar="USER/MODEL", help="repository on the Hugging Face hub to write to")
    share.set_defaults(run=_share)


def _train(options: argparse.Namespace) -> Answer | None:
    from residual_ssl.config.composition import compose
    from residual_ssl.engine import train
    from residual_ssl.engine.records.console import summary

    overrides, config_dir = chosen(options)
    config = compose(overrides, config_dir=config_dir)
    if options.print_config:
        return Answer(json.dumps(config, indent=2), config)
    result = train(config)
    # The launchers of several processes number them.
    if os.environ.get("RANK", "0") != "0":
        return None
    return Answer(summary(result) if result.last else "", result.record())


def _evaluate(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.api import evaluate
    from residual_ssl.commands.report.evaluation import evaluation_text

    chosen = {"checkpoint_name": options.checkpoint, "device": options.device, "changes": options.changes}
    metrics = evaluate(options.trained, **chosen)
    return Answer(evaluation_text(metrics), metrics)


def _predict(options: argparse.Namespace) -> Answer:
    from dataclasses import asdict

    from residual_ssl.commands.api import export, predict

    if options.format != "png":
        if options.inputs:
            raise InvalidInputError(
                f"inputs: got {' '.join(options.inputs)}, expected none with --format {options.format}"
            )
        exported = export(
            options.trained,
            options.out,
            format=options.format,
            checkpoint_name=options.checkpoint,
            changes=options.changes,
        )
        return Answer(str(exported), asdict(exported))
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
    return Answer(f"{len(written)} files in {options.out}", {"files": [str(path) for path in written]})


def _report(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.report import write_report

    text = write_report([Path(run) for run in options.runs], Path(options.out), changes=options.changes)
    return Answer(f"{text}\n\n{options.out}")


def _watch(options: argparse.Namespace) -> None:
    from residual_ssl.commands.report.watch import watch_server

    with watch_server([Path(run) for run in options.runs], options.port) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/  until Ctrl-C", flush=True)
        server.serve_forever()


def _share(options: argparse.Namespace) -> Answer:
    from residual_ssl.commands.share import push_to_hub, share
    from residual_ssl.engine.records.trained import load_run

    if (options.out is None) == (options.hub is None):
        raise InvalidInputError("share: expected --out FOLDER or --hub USER/MODEL, one of the two")
    trained = load_run(options.trained, checkpoint_name=options.checkpoint, device="cpu", changes=options.changes)
    place = push_to_hub(trained, options.hub) if options.out is None else share(trained, options.out)
    return Answer(str(place))
