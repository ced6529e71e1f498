"""What a run sees: unlabelled samples with pseudo-labels, trust and masked view, as its algorithm would use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from residual_ssl.algorithms import InputBranch
from residual_ssl.commands.report.runs import FinishedRun
from residual_ssl.engine.setup.loading import to_device
from residual_ssl.selection import ConvexSelector, Selection, Selector

# With one point a sample, a group is the whole batch, and four points make none.
_SPATIAL_SAMPLES, _POINT_SAMPLES = 4, 256


@dataclass(frozen=True)
class JudgedSamples:
    """Unlabelled samples in weak augmentation, on the CPU, batch first.

    Attributes:
        inputs: dataset inputs ``(B, …)``.
        logits: of the run's network on the plain view, ``(B, K, *S)``.
        selection: what ``selector`` makes of them.
        truth: class ids ``(B, *S)``, ``ignore_index`` where unknown; None where no labels exist.
        masked: model input of the algorithm's masked branch with every sample masked; None without such a branch.
        selector: the run's own, or CSL's.
        of_run: whether ``selector`` is the run's own.
    """

    inputs: Tensor
    logits: Tensor
    selection: Selection
    truth: Tensor | None
    masked: Tensor | None
    selector: Selector
    of_run: bool

    def known(self, ignore_index: int) -> Tensor:
        """bool ``(B, *S)``: points that are valid and have a known label."""
        if self.truth is None:
            return torch.zeros_like(self.selection.valid)
        return self.selection.valid & (self.truth != ignore_index)


def shown_run(runs: Sequence[FinishedRun]) -> FinishedRun:
    """The run to look into: the first with a masked branch, else the first with a selector, else the first."""
    with_selector = [run for run in runs if _selector(run) is not None]
    return next((run for run in runs if _masked_branch(run) is not None), (with_selector or list(runs))[0])


@torch.no_grad()
def judged_samples(run: FinishedRun, selector: Selector | None = None) -> JudgedSamples | None:
    """The first unlabelled samples, judged as in training but with the network in evaluation mode.

    Four samples where predictions have spatial dimensions, else as many as make a group.

    Args:
        run: gives samples and network.
        selector: None for the run's own, or ``ConvexSelector()`` where it has none that judges by a prediction alone.

    Returns:
        None where the run's task has no unlabelled samples.
    """
    device = next(run.network.parameters()).device
    samples = run.task.unlabelled(run.config["seed"])
    length = len(samples)  # type: ignore[arg-type]
    if length == 0:
        return None
    batch = to_device(_collate(samples, min(_SPATIAL_SAMPLES, length)), device)
    shown = run.task.view(batch["input"], "plain")
    output = run.network(shown)
    if output.dim() == 2:
        batch = to_device(_collate(samples, min(_POINT_SAMPLES, length)), device)
        shown = run.task.view(batch["input"], "plain")
        output = run.network(shown)
    chosen = selector or _selector(run) or ConvexSelector()
    selection = run.task.judged(chosen, output, shown, batch.get("valid")).map(Tensor.cpu)
    logits, _ = run.task.parted(output)
    truth = batch.get("truth")
    inputs = batch["input"].cpu()
    return JudgedSamples(
        inputs,
        logits.float().cpu(),
        selection,
        None if truth is None else truth.cpu(),
        _masked(run, inputs, selection.trusted),
        chosen,
        chosen is _selector(run),
    )


@torch.no_grad()
def judged_input(run: FinishedRun, sample: Tensor) -> Selection:
    """The selection of one dataset input as a run predicts it, of batch size 1, on the CPU."""
    inputs = sample.unsqueeze(0).to(next(run.network.parameters()).device)
    selector = _selector(run) or ConvexSelector()
    return run.task.judged(selector, run.task.predict(run.network, inputs), inputs).map(Tensor.cpu)


def _collate(samples: Any, count: int) -> dict[str, Tensor]:
    return default_collate([samples[(i, i)] for i in range(count)])  # type: ignore[no-any-return]


def _masked(run: FinishedRun, inputs: Tensor, trusted: Tensor) -> Tensor | None:
    branch = _masked_branch(run)
    if branch is None or branch.mask is None:
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.config["seed"])
        light = run.task.view(inputs, branch.masked_view)
        masked, _ = branch.mask(light, run.task.trusted_places(trusted), torch.ones(len(light), dtype=torch.bool))
    return masked  # type: ignore[no-any-return]


def _masked_branch(run: FinishedRun) -> InputBranch | None:
    branches = [module for module in run.algorithm.modules() if isinstance(module, InputBranch)]
    return next((branch for branch in branches if branch.mask is not None), None)


def _selector(run: FinishedRun) -> Selector | None:
    selector = getattr(run.algorithm, "selector", None)
    return selector if isinstance(selector, Selector) and not selector.needs.evidence else None
