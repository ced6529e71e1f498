"""What the console shows of a finished run: its metrics, and a table of the metrics of each class."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from residual_ssl.engine.records.result import RunResult

_GAP = "    "


def summary(result: RunResult) -> str:
    """Metrics of the last and of the best evaluation with their steps, a table by class, time and place."""
    width = shutil.get_terminal_size((120, 24)).columns
    lines = [
        f"{name}  {_headline(metrics, result.epoch_steps)}"
        for name, metrics in (("last", result.last), ("best", result.best))
    ]
    table = class_table(result.last, result.best, width)
    if result.skipped_samples:
        lines.append(f"{result.skipped_samples} training samples could not be read; result.json names them")
    return "\n".join([*([table, ""] if table else []), *lines, f"{result.seconds:.0f} s, {result.run_dir}"])


def _headline(metrics: Mapping[str, float], epoch_steps: float | None) -> str:
    shown = [f"step {metrics['step']:.0f}"]
    if epoch_steps:
        shown[0] += f" (epoch {metrics['step'] / epoch_steps:.1f})"
    shown += [f"{name} {value:.2f}" for name, value in metrics.items() if name != "step" and "/" not in name]
    return "  ".join(shown)


def class_table(last: Mapping[str, float], best: Mapping[str, float], width: int) -> str:
    """Metrics named ``kind/class`` of the last and the best evaluation, in as many columns as fit, read downwards.

    A class that one of them did not see shows a dash.

    Args:
        last, best: metrics of two evaluations; others than ``kind/class`` are left out.
        width: of the console, in characters.

    Returns:
        Lines, or nothing where no metric belongs to a class.

    Example:
        >>> print(class_table({"miou": 61.0, "iou/sky": 92.0, "iou/cat": 30.0}, {"iou/sky": 93.5}, 60))
        iou  last  best    iou  last  best
        sky  92.0  93.5    cat  30.0     -
    """
    tables = []
    names = list(dict.fromkeys(name for name in (*last, *best) if "/" in name))
    for kind in dict.fromkeys(name.split("/", 1)[0] for name in names):
        of_kind = [name for name in names if name.startswith(f"{kind}/")]
        label = max(len(kind), *(len(name) - len(kind) - 1 for name in of_kind))
        cells = [
            f"{name.removeprefix(f'{kind}/'):<{label}} {_value(last, name)} {_value(best, name)}" for name in of_kind
        ]
        header = f"{kind:<{label}}  last  best"
        columns = max(1, min(len(cells), (width + len(_GAP)) // (len(header) + len(_GAP))))
        rows = -(-len(cells) // columns)
        columns = -(-len(cells) // rows)
        tables += [_GAP.join([header] * columns), *(_GAP.join(cells[row::rows]) for row in range(rows))]
    return "\n".join(tables)


def _value(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:5.1f}" if name in metrics else f"{'-':>5}"
