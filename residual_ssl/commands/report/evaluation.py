"""The metrics of one evaluation as text: a row a class, the means below."""

from __future__ import annotations

from collections.abc import Mapping

from residual_ssl.engine.pages import ABSENT, metric_name


def evaluation_text(metrics: Mapping[str, float]) -> str:
    """Aligned columns of metrics by class, then every metric of the whole data set.

    Args:
        metrics: as of :func:`residual_ssl.evaluate`, in per cent: ``GROUP/CLASS`` is a cell in the column ``GROUP`` and
            the row ``CLASS``; all others stand below, ``step`` as a whole number.

    Example:
        >>> print(evaluation_text({"step": 300, "miou": 60.0, "iou/sky": 80.0, "iou/traffic light": 40.0}))
        class          IoU %
        sky            80.00
        traffic light  40.00
        <BLANKLINE>
        mIoU           60.00
        step             300
    """
    by_class = {key: value for key, value in metrics.items() if "/" in key}
    groups = list(dict.fromkeys(key.split("/", 1)[0] for key in by_class))
    names = list(dict.fromkeys(key.split("/", 1)[1] for key in by_class))
    rows = [["class", *(f"{metric_name(group)} %" for group in groups)]] if names else []
    for name in names:
        cells = (by_class.get(f"{group}/{name}") for group in groups)
        rows.append([name, *(ABSENT if cell is None else f"{cell:.2f}" for cell in cells)])
    means = {key: value for key, value in metrics.items() if key not in by_class and key != "step"}
    below = [[metric_name(key), f"{value:.2f}"] for key, value in means.items()]
    if "step" in metrics:
        below.append(["step", f"{metrics['step']:.0f}"])
    widths = [max(len(row[i]) for row in rows + below if i < len(row)) for i in range(max(map(len, rows + below)))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=False))])
        for row in [*rows, *([[""]] if names else []), *below]
    ]
    return "\n".join(line.rstrip() for line in lines)
