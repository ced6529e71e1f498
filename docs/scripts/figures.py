"""Draws the figures of the guides from a finished run: python docs/scripts/figures.py runs/demo/csl"""

import sys
from pathlib import Path

from residual_ssl.commands.report.plane import plane
from residual_ssl.commands.report.runs import read_runs
from residual_ssl.commands.report.samples import judged_samples
from residual_ssl.selection import ConvexSelector


def main(run: Path) -> None:
    (finished,) = read_runs([run])
    selector = ConvexSelector()
    judged = judged_samples(finished, selector)
    assert judged is not None
    figure = plane(judged, selector.partition(judged.logits, judged.selection.valid), finished.task.ignore_index)
    figure.savefig(Path(__file__).parents[1] / "images" / "plane.png", dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
