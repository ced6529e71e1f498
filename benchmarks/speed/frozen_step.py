"""A training step on cached maps of a frozen network, against one that trains or runs the network itself.

    python benchmarks/speed/frozen_step.py --camvid CAMVID --weights LITE0 --threads 1

FixMatch on CamVid, 4 labelled and 4 unlabelled images of 240×320, loading included: DeepLabV3+ on EfficientNet-Lite0,
all of which learns, the same with a frozen encoder, and a head of two convolutions on maps computed beforehand.
The methods take turns. The head is smaller than the decoder of DeepLabV3+: times are those of what one would run.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import best, machine, rounds, save, surroundings, table, timing_command_line

from residual_ssl import compose
from residual_ssl.config.settings import Settings
from residual_ssl.engine.setup.prepared import prepare
from residual_ssl.engine.setup.unreadable import SkippedSamples
from residual_ssl.runtime.provenance import provenance

ALL, FROZEN, MAPS = "all of it learns", "frozen encoder", "maps computed beforehand"


def main() -> None:
    parser = timing_command_line(__doc__, rounds=5)
    parser.add_argument("--camvid", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="of tf_efficientnet_lite0, .safetensors")
    options = parser.parse_args()
    around = surroundings()
    torch.set_num_threads(options.threads)
    whole = [
        *("dataset=camvid", "dataset.labelled=30", "dataset.geometry.crop=[240,320]", "optimizer=adamw"),
        *("model=deeplabv3plus_mobilenetv2", "model.backbone=tf_efficientnet_lite0"),
        f"model.weights={options.weights}",
    ]
    maps = ["experiment=camvid_frozen", f"task.maps.weights={options.weights}"]
    made = {ALL: whole, FROZEN: [*whole, "model.freeze_encoder=true"], MAPS: maps}
    where = [f"dataset.root={options.camvid}", f"device={options.device}", "run_dir=runs/benchmarks/frozen_step"]
    times = best(rounds({name: stepped([*some, *where]) for name, some in made.items()}, options.rounds))
    record = {**provenance(), **around, "device": options.device, "rounds": options.rounds, "ms": times}
    save(options.out, f"frozen_step_{options.device}", record, report(record))
    print(report(record))


def stepped(overrides: list[str]) -> Callable[[], Any]:
    """Takes the steps of a run, one at each call."""
    common = ["algorithm=fixmatch", "labelled_batch=4", "unlabelled_batch=4", "steps=1000"]
    run = prepare(Settings.from_config(compose([*overrides, *common])))
    labelled, unlabelled = run.batches(0, SkippedSamples())
    steps = iter(range(1000))
    return lambda: run.take_step(next(steps), labelled, unlabelled)


def report(record: dict[str, Any]) -> str:
    times = record["ms"]
    rows = [[name, f"{ms:.0f}", f"{times[ALL] / ms:.1f}×"] for name, ms in times.items()]
    note = f"Best of {record['rounds']} steps, in turns, {machine(record)}. Loading included, 4 + 4 images of 240×320."
    return "\n".join(["# A step on a frozen network", "", note, "", *table(("", "ms a step", "against all"), rows), ""])


if __name__ == "__main__":
    main()
