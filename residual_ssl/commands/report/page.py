"""A report on finished runs: the table as text, and one HTML page that needs nothing but itself."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from residual_ssl.commands.report.runs import FinishedRun, read_runs
from residual_ssl.commands.report.samples import judged_samples, shown_run
from residual_ssl.commands.report.sections import (
    absent_section,
    curves_section,
    plane_section,
    predictions_section,
    samples_section,
)
from residual_ssl.commands.report.table import Table, comparison
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.runtime.files import write_text


def write_report(runs: Sequence[Path], out: Path, *, changes: Sequence[str] = ()) -> str:
    """Compare finished runs of one task: a table, and a page with curves, pseudo-labels and predictions.

    The page is a single HTML file without scripts; all pictures are in it. It is written whole or not at all. Where the
    runs' data are not there, it says so in the place of pictures of samples; networks are those of ``last.pt``.

    Args:
        runs: run directories, in the order of the rows.
        out: HTML file to write; its folder is made if needed.
        changes: settings of the runs that are others now, ``["dataset.root=/moved"]``.

    Returns:
        The table as aligned plain text.

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
    table = comparison(finished)
    shown = shown_run(finished)
    try:
        judged = judged_samples(shown)
        pictures = [
            samples_section(shown, judged),
            plane_section(shown, judged),
            predictions_section(finished),
        ]
    except (MissingDataError, DataError) as error:
        pictures = [absent_section(error)]
    page = _page(
        f"Report on {len(finished)} run{'s' if len(finished) > 1 else ''}",
        _summary(table, finished),
        curves_section(finished),
        *pictures,
    )
    write_text(out, page, "report")
    return table.text()


def _summary(table: Table, runs: Sequence[FinishedRun]) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    origins: dict[str, list[str]] = {}
    for run in runs:
        origins.setdefault(_origin(run), []).append(run.name)
    lines = [
        html.escape(origin if len(origins) == 1 else f"{', '.join(names)}: {origin}")
        for origin, names in origins.items()
    ]
    return (
        f'<div class=scrolled tabindex="0">{table.html()}</div>\n<ul class=notes>{notes}</ul>\n'
        f"<p class=origin>{'<br>'.join(lines)}</p>"
    )


def _origin(run: FinishedRun) -> str:
    """Versions, hardware and commit of a run in one line."""
    result = run.result
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if version)
    hardware = result["hardware"]
    commit = result["commit"] or "unknown"
    return (
        f"Python {result['python']}, {versions} · {hardware['device']}, {hardware['torch_threads']} of "
        f"{hardware['cpu_count']} CPU threads · commit {commit}"
    )


def _page(title: str, *sections: str) -> str:
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{html.escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


_STYLE = """
:root { color-scheme: light dark;
  --ground: #fff; --ink: #1c1e21; --quiet: #5b6168; --line: #d9dde2; --stripe: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16181b; --ink: #e6e8ea; --quiet: #a3a9b0; --line: #3a3f45; --stripe: #1f2226; }
}
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.7rem; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; }
p { max-width: 78ch; margin: .5rem 0 1rem; }
table { border-collapse: collapse; }
.scrolled { overflow-x: auto; max-width: 100%; }
.figures { font-variant-numeric: tabular-nums; white-space: nowrap; }
.figures th, .figures td { padding: 6px 14px; text-align: right; border-bottom: 1px solid var(--line); }
.figures thead th { color: var(--quiet); font-weight: 600; font-size: .9rem; }
.figures th:first-child { text-align: left; padding-left: 4px; }
.figures tbody th { font-weight: 500; }
.figures tbody tr:nth-child(odd) { background: var(--stripe); }
.notes { max-width: 90ch; padding-left: 1.2em; color: var(--quiet); font-size: .92rem; }
.origin { max-width: none; color: var(--quiet); font-size: .82rem; overflow-wrap: anywhere; }
.plot { display: block; width: 100%; min-width: 760px; height: auto; background: #fff; border-radius: 6px; }
.pictures th { font-weight: 500; font-size: .9rem; padding: 4px 8px; color: var(--quiet); }
.pictures td { padding: 4px; }
.pictures img { display: block; image-rendering: pixelated; border: 1px solid var(--line); }
.sheet { display: flex; flex-wrap: wrap; gap: 12px; margin: .8rem 0; }
.sheet figure { margin: 0; border-bottom: 6px solid; }
.sheet img { display: block; image-rendering: pixelated; }
.sheet figcaption { font-size: .82rem; line-height: 1.35; padding: 4px 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; max-width: none; margin: .4rem 0; font-size: .88rem; }
.legend b { font-weight: 500; color: var(--quiet); min-width: 7.5em; }
.legend i { display: inline-block; width: 14px; height: 14px; margin-right: 6px; vertical-align: -2px;
  border: 1px solid var(--line); }
.legend .ramp { width: 110px; margin: 0 6px;
  background: linear-gradient(90deg, #440154, #3b528b, #21918c, #5ec962, #fde725); }
"""
