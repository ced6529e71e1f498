"""Supervised, FixMatch, UniMatch, CSL and more as one: pseudo-labels of the plain view teach perturbed views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.algorithms.algorithm import Algorithm, StepOutput
from residual_ssl.algorithms.branches import Branch, frozen_running_statistics
from residual_ssl.algorithms.ema import EMATeacher
from residual_ssl.algorithms.fit_to_pool import FEATURES_COME_FROM, fit_to_pool
from residual_ssl.algorithms.frozen_teacher import FrozenTeacher
from residual_ssl.algorithms.teacher import Teacher
from residual_ssl.algorithms.views.prior import Prior
from residual_ssl.errors import ConfigError
from residual_ssl.models.encoder_decoder import EncoderDecoder
from residual_ssl.selection import Selection, Selector
from residual_ssl.task import Batch, Task


class ConsistencyAlgorithm(Algorithm):
    """Consistency with selected pseudo-labels, from any number of branches.

    The labelled batch and the plain view of the unlabelled batch go through the student together. The teacher's
    logits on the plain view, detached, are judged by the selector; each branch is then taught by the selected labels::

        L = w_x · L_x + Σ_branches w_b · Σ w·CE / #valid

    BatchNorm's running statistics follow the first pass alone and not the perturbed views.

    Args:
        selector: judges the predictions that teach; None only where no branch is taught by pseudo-labels.
        branches: each a :class:`~residual_ssl.algorithms.Branch`, by name; at most one that perturbs features. None or
            empty: supervised training.
        labelled_weight: w_x.
        ema_decay: None: the student teaches itself. A decay: an :class:`EMATeacher` teaches, and is what is evaluated.
        ema_teaches: False: the student teaches itself, and its moving average is only evaluated, as in FixMatch.
        teacher_from: checkpoints of finished runs; the last one teaches, unchanged, and the student is evaluated. The
            earlier ones, where there are some, are evidence for a selector that compares them.
        view_features: perturbation of the features of the input branches, which are then predicted from these alone;
            None: they are predicted from their own.
        domain_batchnorm: normalise the labelled and the unlabelled batch each by its own statistics, where they are of
            two domains, and keep running statistics of the unlabelled one alone, which is then also evaluated by them.
            Scales and shifts stay common to both. Without branches there is no unlabelled batch, and no difference.

        prior: gives logits of dataset inputs, frozen: a network of another library, as a zero-shot classifier; see
            :class:`~residual_ssl.algorithms.Prior`.
        prior_as: ``"teacher"``: it teaches in place of the student or its average. ``"evidence"``: it is the second
            prediction that a selector compares with the one that teaches.

    Published settings are configurations: supervised (no branches), FixMatch (one strong branch), UniMatch (two strong
    branches and feature dropout), CSL (strong, masked, feature dropout), Mean Teacher, self-training in rounds, MCC (a
    prediction branch), ….

    Raises:
        ConfigError: branches without a selector, more than one that perturbs features, two kinds of teacher; a selector
            whose evidence is not there.

    Source: FixMatch, arXiv 2001.07685; UniMatch, arXiv 2208.09910, eq. 6; CSL, arXiv 2509.16704, eq. 9; statistics of
    each domain: AdaBN, arXiv 1603.04779, and DSBN, arXiv 1906.03950, which has scales and shifts of each domain too.
    """

    def __init__(
        self,
        selector: Selector | None = None,
        branches: Mapping[str, Branch] | None = None,
        labelled_weight: float = 1.0,
        ema_decay: float | None = None,
        ema_teaches: bool = True,
        teacher_from: str | Sequence[str] | None = None,
        view_features: nn.Module | None = None,
        domain_batchnorm: bool = False,
        prior: Callable[[Tensor], Tensor] | None = None,
        prior_as: Literal["teacher", "evidence"] = "teacher",
    ) -> None:
        super().__init__()
        branches = dict(branches or {})
        feature = [name for name, branch in branches.items() if branch.perturbation is not None]
        if len(feature) > 1:
            raise ConfigError(f"algorithm.branches: got feature branches {', '.join(feature)}, expected at most one")
        if selector is None and any(branch.needs_selection for branch in branches.values()):
            raise ConfigError("algorithm.selector: got none for an algorithm with branches; choose one, selector=csl")
        if ema_decay is not None and teacher_from is not None:
            raise ConfigError(
                f"algorithm: got ema_decay {ema_decay} and teacher_from {teacher_from}, expected at most one teacher"
            )
        if prior_as not in ("teacher", "evidence"):
            raise ConfigError(f"algorithm.prior_as: got {prior_as!r}, expected 'teacher' or 'evidence'")
        self.prior = None if prior is None else Prior(prior)
        self.prior_teaches = prior_as == "teacher"
        self.selector = selector if branches else None
        self.branches = nn.ModuleDict(branches)
        self.feature = feature[0] if feature else None
        self.labelled_weight = labelled_weight
        self.ema_decay = ema_decay
        self.ema_teaches = ema_teaches
        self.teacher_from = [teacher_from] if isinstance(teacher_from, str) else list(teacher_from or [])
        self.view_features = view_features
        self.domain_batchnorm = domain_batchnorm
        self.teacher: Teacher | None = None
        self.needs_unlabelled = bool(branches)

    def attach(self, model: nn.Module) -> None:
        if self.feature is not None or self.view_features is not None:
            _check_perturbs_features(model)
        if self.ema_decay is not None:
            self.teacher = EMATeacher(model, self.ema_decay)
        elif self.teacher_from:
            self.teacher = FrozenTeacher(model, self.teacher_from)

    def on_train_start(self, total_steps: int) -> None:
        if self.teacher is not None:
            self.teacher.on_train_start()
        if self.selector is not None:
            self.selector.on_train_start(total_steps)

    def fit_selector(self, task: Task, labelled: Dataset[Batch], unlabelled: Dataset[Batch]) -> None:
        if self.selector is not None and self.selector.needs.pool:
            fit_to_pool(self.selector, task, labelled, unlabelled)

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        x = task.view(labelled["input"], "labelled")
        if unlabelled is None or not self.branches:
            loss = task.supervised_loss(model(x), labelled["target"])
            return StepOutput(self.labelled_weight * loss, {"labelled": loss.detach()})

        plain = task.view(unlabelled["input"], "plain")
        start = len(x)
        logits, perturbed = self._plain_logits(model, x, plain)
        selection = None
        if self.selector is not None:
            with torch.no_grad():
                self.selector.update_from_labels(logits[:start].detach(), labelled["target"], task.ignore_index)
                selection = self._select(task, plain, logits[start:].detach(), unlabelled)

        terms = {"labelled": task.supervised_loss(logits[:start], labelled["target"])}
        shown = self._shown(model, task, unlabelled["input"], selection, labelled)
        for name, branch in self._branches():
            of_plain = logits[start:] if perturbed is None or name != self.feature else perturbed
            prediction, chosen = shown.get(name, (of_plain, selection))
            terms[name] = branch.term(prediction, chosen, unlabelled.get("valid"))
        loss = self.labelled_weight * terms["labelled"]
        for name, branch in self._branches():
            loss = loss + branch.weight * terms[name]
        return StepOutput(loss, {name: term.detach() for name, term in terms.items()}, selection)

    def _branches(self) -> list[tuple[str, Branch]]:
        return list(self.branches.items())  # type: ignore[arg-type]

    def _plain_logits(self, model: nn.Module, x: Tensor, plain: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the labelled and the plain view, and of the latter with perturbed features."""
        batch, start = torch.cat([x, plain]), len(x)
        if self.domain_batchnorm:
            with frozen_running_statistics(model):
                of_labelled = model(x)
            batch, start = plain, 0
        if self.feature is None:
            logits, perturbed = model(batch), None
        else:
            both = model(batch, self.branches[self.feature].perturbation, start)
            logits, perturbed = both.split([len(batch), len(batch) - start])
        return (torch.cat([of_labelled, logits]) if self.domain_batchnorm else logits), perturbed

    def _select(self, task: Task, plain: Tensor, students: Tensor, unlabelled: Batch) -> Selection:
        """What teaches, from the plain view and the student's logits of it."""
        assert self.selector is not None
        teacher = self.teacher if self.ema_teaches else None
        teaching = students if teacher is None else teacher(plain)
        evidence: dict[str, Tensor | None] = {name: unlabelled.get(name) for name in ("truth", "stored", "regions")}
        evidence |= {"second": None, "earlier": None}
        if self.prior is not None:
            told = self.prior(unlabelled["input"], students)
            teaching, evidence["second"] = (told, students) if self.prior_teaches else (teaching, told)
        elif teacher is not None:
            evidence["second"] = students
        if teacher is not None and "earlier" in self.selector.needs.evidence:
            evidence["earlier"] = teacher.earlier(plain)
        if "features" in self.selector.needs.evidence:
            evidence["features"] = task.features(unlabelled["input"])
        asked = {name: evidence[name] for name in self.selector.needs.evidence}
        for name, value in asked.items():
            if value is None:
                raise ConfigError(
                    f"algorithm.selector: {type(self.selector).__name__} judges by {_EVIDENCE[name][0]}, of which "
                    f"there is none here; {_EVIDENCE[name][1]}"
                )
        return self.selector(teaching, unlabelled.get("valid"), **asked)  # type: ignore[no-any-return]

    def _shown(
        self, model: nn.Module, task: Task, inputs: Tensor, selection: Selection | None, labelled: Batch
    ) -> dict[str, tuple[Tensor, Selection | None]]:
        """The student's logits of what branches show it beside the plain view, in one pass, and the selection of it."""
        made = {name: branch.shown(task, inputs, selection, labelled) for name, branch in self._branches()}
        views = {name: view for name, view in made.items() if view is not None}
        if not views:
            return {}
        together = torch.cat([x for x, _ in views.values()])
        with frozen_running_statistics(model):
            if self.view_features is None:
                logits = model(together)
            else:
                logits = model(together, self.view_features, perturbed_only=True)
        parts = zip(views.items(), logits.chunk(len(views)), strict=True)
        return {name: (prediction, chosen) for (name, (_, chosen)), prediction in parts}

    def after_step(self, model: nn.Module) -> None:
        if self.teacher is not None:
            self.teacher.update(model)

    def evaluated(self, model: nn.Module) -> nn.Module:
        return model if self.teacher is None else self.teacher.evaluated(model)


def _check_perturbs_features(model: nn.Module) -> None:
    """Refuse a network that maps inputs to logits and offers no way to perturb its features."""
    if not isinstance(model, EncoderDecoder):
        raise ConfigError(
            f"model: {type(model).__name__} maps inputs to logits alone, and this algorithm perturbs features; give an "
            "EncoderDecoder of residual_ssl.models (SegmentationModel and ClassificationModel are), or choose an "
            "algorithm without a feature branch, algorithm=fixmatch"
        )


# What a selector may ask for, and how to have it.
_EVIDENCE = {
    "truth": ("the true labels of unlabelled data", "set dataset.unlabelled_truth=true, and give their labels"),
    "stored": (
        "labels that residual-ssl label stored",
        "say pool=labelled dataset.pool=FOLDER, or dataset=labelled_pool",
    ),
    "regions": ("regions of the samples", "say regions=slic or regions=stored, with a task of segmentation"),
    "second": (
        "a second prediction beside the teacher's",
        "set algorithm.ema_decay, or give an algorithm.prior: teacher and student then differ",
    ),
    "features": ("features of the inputs", FEATURES_COME_FROM),
    "earlier": (
        "earlier states of its teacher",
        "set algorithm.teacher_from to several checkpoints of one run, in order",
    ),
}
