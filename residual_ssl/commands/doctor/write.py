"""What the doctor found: a table to read, JSON to process, a list of samples to leave out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from residual_ssl.commands.doctor.dataset import Examination
from residual_ssl.commands.doctor.findings import FAULTS, REMARKS, Finding
from residual_ssl.runtime.files import write_json, write_text

LEAVE_OUT = "leave_out.txt"
PAIRS = "pairs.tsv"
_EXAMPLES = 3


def examination_text(examination: Examination, out: Path | None = None) -> str:
    """Subsets, then each kind of finding with its number, its meaning and examples, then what to do.

    Args:
        examination: as found.
        out: folder that :func:`write_examination` wrote to, None where it wrote nothing.
    """
    lines = [_subset_line(name, count, examination) for name, count in examination.counts.items()]
    by_kind: dict[str, list[Finding]] = defaultdict(list)
    for finding in examination.findings:
        by_kind[finding.kind].append(finding)
    for title, kinds in (("Faults", FAULTS), ("Remarks", REMARKS)):
        there = [kind for kind in kinds if kind in by_kind]
        lines += ["", title if there else f"{title}: none"]
        for kind in there:
            lines.append(f"{len(by_kind[kind]):>7}  {kind}: {kinds[kind]}")
            lines += [f"           {finding.text}" for finding in by_kind[kind][:_EXAMPLES]]
            if len(by_kind[kind]) > _EXAMPLES:
                lines.append(f"           … and {len(by_kind[kind]) - _EXAMPLES} more")
    if examination.leave_out and out is not None:
        count = len(examination.leave_out)
        lines += ["", f"{count} samples to leave out, or to mend: dataset.leave_out={out / LEAVE_OUT}"]
    return "\n".join(lines)


def examination_values(examination: Examination) -> dict[str, Any]:
    """What was found as plain values, without the list of all files."""
    return {name: value for name, value in asdict(examination).items() if name != "pairs"}


def write_examination(examination: Examination, out: Path) -> None:
    """Write what was found to a folder: ``doctor.json``, ``doctor.txt``, and lists.

    ``pairs.tsv`` has the subset, the image and the mask of each sample of files; ``leave_out.txt`` the samples at
    fault, where there are any.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "doctor.json", examination_values(examination))
    if examination.pairs:
        rows = [("subset", "image", "mask"), *examination.pairs]
        write_text(out / PAIRS, "".join("\t".join(row) + "\n" for row in rows))
    write_text(out / "doctor.txt", examination_text(examination, out) + "\n")
    names = "".join(f"{name}\n" for name in examination.leave_out)
    if names or (out / LEAVE_OUT).exists():
        write_text(out / LEAVE_OUT, names)


def _subset_line(name: str, count: int, examination: Examination) -> str:
    line = f"{name:>10}  {count:,} samples"
    if name in examination.sizes:
        small, large = (f"{width}×{height}" for height, width in examination.sizes[name])
        line += f", {small}" if small == large else f", {small} to {large}"
    if counts := examination.classes.get(name):
        total = max(sum(counts.values()), 1)
        shares = sorted(((count / total, label) for label, count in counts.items()), reverse=True)
        line += ", " + ", ".join(f"{label} {share:.1%}" for share, label in shares[:6])
        line += f", … {len(shares) - 6} more classes" if len(shares) > 6 else ""
    return line
