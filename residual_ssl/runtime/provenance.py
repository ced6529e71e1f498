"""Where a result comes from: command, versions, hardware, commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "residual-ssl",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "torchmetrics",
    "cvxpylayers",
    "scikit-learn",
)


def provenance() -> dict[str, Any]:
    """Command, package versions, hardware and commit (None outside a git checkout), ready for JSON.

    Folders of absolute paths in the command are left out: results are shown to people who do not have them.
    """
    gpu = torch.cuda.is_available()
    return {
        "command": " ".join([Path(sys.argv[0]).name, *map(portable, sys.argv[1:])]),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "hardware": {
            "device": torch.cuda.get_device_name() if gpu else _processor(),
            "cpu_count": os.cpu_count(),
            "torch_threads": torch.get_num_threads(),
        },
        "commit": _commit(),
    }


def portable(argument: str) -> str:
    """An argument of the command line without the folders of its absolute paths.

    Example:
        >>> portable("dataset.root=/home/me/data/camvid"), portable("runs/a/last.pt")
        ('dataset.root=…/camvid', 'runs/a/last.pt')
    """
    return re.sub(r"(^|=)/(?:[^/\s]+/)*(?=[^/])", r"\1…/", argument)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
