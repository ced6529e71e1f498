"""A check of the installation: what is there, and whether selection, masking and training work on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version

import torch

from residual_ssl.errors import ResidualSSLError
from residual_ssl.runtime.provenance import provenance


def diagnose() -> str:
    """Versions, devices and the outcome of a few small computations, as lines of text.

    Raises:
        ResidualSSLError: with the same lines, where a check failed.
    """
    facts = provenance()
    lines = [f"{'python':>14}  {facts['python']}"]
    lines += [f"{name:>14}  {number or 'MISSING'}" for name, number in facts["versions"].items()]
    lines += [f"{'hydra-core':>14}  {version('hydra-core')}", f"{'device':>14}  {facts['hardware']['device']}"]
    devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    failed = False
    for name, check in (("selection", _selection), ("masking", _masking)):
        for device in devices:
            line, good = _outcome(lambda check=check, device=device: check(device))  # type: ignore[misc]
            lines.append(f"{name:>14}  {line} on {device}")
            failed |= not good
    line, good = _outcome(_training)
    lines.append(f"{'training':>14}  {line}")
    if failed or not good:
        raise ResidualSSLError("installation: a check failed\n" + "\n".join(lines))
    return "\n".join(lines)


def _outcome(check: Callable[[], str]) -> tuple[str, bool]:
    try:
        return check(), True
    except Exception as error:  # whatever is wrong with an installation is what this command reports
        return f"FAILED: {type(error).__name__}: {error}", False


def _selection(device: str) -> str:
    from residual_ssl.selection import ConvexSelector

    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 5, 32, 32, generator=generator, dtype=torch.float64)
    expected, got = ConvexSelector()(logits), ConvexSelector()(logits.to(device))
    difference = (expected.weight - got.weight.cpu()).abs().max().item()
    if not difference < 1e-9:
        raise ResidualSSLError(f"weights differ from the CPU's by {difference:.1e}")
    return "ok"


def _masking(device: str) -> str:
    from residual_ssl.perturbations.trusted_mask import TrustedMask

    x = torch.ones(2, 3, 32, 32, device=device)
    masked, mask = TrustedMask(ratio=1, block=8, probability=1)(x, torch.ones_like(x[:, 0], dtype=torch.bool))
    if masked.any() or not mask.all():
        raise ResidualSSLError("a full mask left something")
    return "ok"


def _training() -> str:
    from residual_ssl.config.composition import compose
    from residual_ssl.engine import train

    with tempfile.TemporaryDirectory() as folder:
        small = ["dataset.source.labelled=8", "dataset.source.unlabelled=8", "dataset.source.validation=8"]
        train(compose(["experiment=digits", "algorithm=csl", "steps=2", f"run_dir={folder}/run", *small]))
    return "ok, two steps of CSL on the embedded scenes"
