"""A report on finished runs: the table as text, and one HTML page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from residual_ssl.commands.report.pictures import NOT_JUDGED
from residual_ssl.commands.report.runs import FinishedRun, read_runs
from residual_ssl.commands.report.samples import judged_samples, shown_run
from residual_ssl.commands.report.sections import pictured_plane, pictured_predictions, pictured_samples
from residual_ssl.commands.report.seeds import over_seeds
from residual_ssl.commands.report.table import comparison
from residual_ssl.engine.pages import rendered, training_charts
from residual_ssl.engine.pages.run_page import origin
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.runtime.files import write_text


def write_report(runs: Sequence[Path], out: Path, *, changes: Sequence[str] = ()) -> str:
    """Compare finished runs of one task: a table, and a page with curves, pseudo-labels and predictions.

    The page is a single HTML file that asks for nothing outside it; all pictures are in it. It is written whole or not
    at all. Where the runs' data are not there, it says so in the place of pictures of samples; networks are those of
    ``last.pt``.

    Args:
        runs: run directories, in the order of the rows.
        out: HTML file to write; its folder is made if needed.
        changes: settings of the runs that are others now, ``["dataset.root=/moved"]``.

    Returns:
        The table as aligned plain text; below it one over seeds, where runs differ in their seed alone.

    Raises:
        MissingDataError: a run that is not finished.
        ConfigError: no run, a run given twice, runs of different tasks or classes; ``out`` is a folder; changes of
            what a run does not have.
        CheckpointError: a result or a checkpoint that cannot be read.
        ResidualSSLError: ``out`` cannot be written.
    """
    if out.is_dir():
        raise ConfigError(f"out: got the folder {out}, expected an HTML file to write; give {out / 'report.html'}")
    finished = read_runs(runs, changes)
    table, seeds = comparison(finished), over_seeds(finished)
    page = rendered(
        "report.html",
        title=f"Report on {len(finished)} run{'s' if len(finished) > 1 else ''}",
        refresh=None,
        table=table,
        seeds=seeds,
        origins=_origins(finished),
        charts=training_charts([(run.name, run.log) for run in finished], finished[0].task.main_metric),
        not_judged=NOT_JUDGED,
        **_pictures(finished),
    )
    write_text(out, page, "report")
    return table.text() if seeds is None else f"{table.text()}\n\n{seeds.text()}"


def _pictures(runs: Sequence[FinishedRun]) -> dict[str, Any]:
    shown = shown_run(runs)
    found: dict[str, Any] = {"shown": shown.name, "absent": "", "samples": None, "plane": None, "predictions": None}
    try:
        judged = judged_samples(shown)
        if judged is not None:
            found |= {"samples": pictured_samples(shown, judged), "plane": pictured_plane(shown, judged)}
        return found | {"predictions": pictured_predictions(runs)}
    except (MissingDataError, DataError) as error:
        return found | {"absent": str(error)}


def _origins(runs: Sequence[FinishedRun]) -> list[str]:
    """Where the runs were made, with their names where that differs."""
    names: dict[str, list[str]] = {}
    for run in runs:
        names.setdefault(origin(run.result), []).append(run.name)
    return [place if len(names) == 1 else f"{', '.join(of_place)}: {place}" for place, of_place in names.items()]
