"""Supervised, FixMatch, UniMatch, CSL and more as one: pseudo-labels of the plain view teach perturbed views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from residual_ssl.algorithms.algorithm import Algorithm, StepOutput
from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss
from residual_ssl.algorithms.auxiliary.losses import AuxiliaryLosses
from residual_ssl.algorithms.auxiliary.network import NetworkWithHeads
from residual_ssl.algorithms.branches import Branch, frozen_running_statistics
from residual_ssl.algorithms.ema import EMATeacher
from residual_ssl.algorithms.fit_to_pool import FEATURES_COME_FROM, fit_to_pool
from residual_ssl.algorithms.frozen_teacher import FrozenTeacher
from residual_ssl.algorithms.teacher import Teacher
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
        auxiliary: further terms, each an :class:`~residual_ssl.algorithms.AuxiliaryLoss`, by name: their heads stand
            beside the classifier in training and are not evaluated; they may change the selection.

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
        auxiliary: Mapping[str, AuxiliaryLoss] | None = None,
    ) -> None:
        super().__init__()
        branches = dict(branches or {})
        feature = [name for name, branch in branches.items() if branch.perturbation is not None]
        if len(feature) > 1:
            raise ConfigError(f"algorithm.branches: got feature branches {', '.join(feature)}, expected at most one")
        both = sorted(branches.keys() & dict(auxiliary or {}).keys())
        if both:
            raise ConfigError(f"algorithm.auxiliary: got {', '.join(both)}, which branches are named too; rename one")
        if selector is None and any(branch.needs_selection for branch in branches.values()):
            raise ConfigError("algorithm.selector: got none for an algorithm with branches; choose one, selector=csl")
        if ema_decay is not None and teacher_from is not None:
            raise ConfigError(
                f"algorithm: got ema_decay {ema_decay} and teacher_from {teacher_from}, expected at most one teacher"
            )
        self.auxiliary = AuxiliaryLosses(auxiliary)
        self.needs_unlabelled = bool(branches) or self.auxiliary.needs_unlabelled
        self.needs_index = self.auxiliary.needs_index
        self.selector = selector if self.needs_unlabelled else None
        self.branches = nn.ModuleDict(branches)
        self.feature = feature[0] if feature else None
        self.labelled_weight = labelled_weight
        self.ema_decay = ema_decay
        self.ema_teaches = ema_teaches
        self.teacher_from = [teacher_from] if isinstance(teacher_from, str) else list(teacher_from or [])
        self.view_features = view_features
        self.domain_batchnorm = domain_batchnorm
        self.teacher: Teacher | None = None

    def build_model(self, task: Task) -> nn.Module:
        if self.auxiliary and task.num_values:
            raise ConfigError(
                f"algorithm.auxiliary: got {', '.join(self.auxiliary)} for {type(task).__name__}, whose network "
                "predicts values beside classes; expected a task of classes; choose an algorithm without such losses"
            )
        return self.auxiliary.network(task.build_model(), task.num_classes)

    def attach(self, model: nn.Module) -> None:
        if self.feature is not None or self.view_features is not None:
            _check_perturbs_features(_without_heads(model))
        if self.ema_decay is not None:
            self.teacher = EMATeacher(model, self.ema_decay)
        elif self.teacher_from:
            self.teacher = FrozenTeacher(model, self.teacher_from)

    def on_train_start(self, total_steps: int) -> None:
        if self.teacher is not None:
            self.teacher.on_train_start()
        if self.selector is not None:
            self.selector.on_train_start(total_steps)
        self.auxiliary.on_train_start(total_steps)

    def see_data(self, task: Task, labelled: Dataset[Batch], unlabelled: Dataset[Batch] | None) -> None:
        if self.selector is not None and self.selector.needs.pool and unlabelled is not None:
            fit_to_pool(self.selector, task, labelled, unlabelled)
        self.auxiliary.prepare(task, labelled, unlabelled)

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        x = task.view(labelled["input"], "labelled")
        if unlabelled is None or not self.needs_unlabelled:
            outputs = model(x)
            terms = {"labelled": self._supervised(task, outputs, labelled)}
            return self._sum(terms, self.auxiliary.terms((outputs, labelled), None, {}, task.ignore_index))

        plain = task.view(unlabelled["input"], "plain")
        start = len(x)
        outputs, perturbed = self._plain_outputs(model, x, plain)
        selection = teaching = None
        if self.selector is not None:
            with torch.no_grad():
                of_labelled, _ = task.parted(self.auxiliary.logits(outputs[:start]).detach())
                self.selector.update_from_labels(of_labelled, labelled["target"], task.ignore_index)
                selection, teaching = self._select(task, plain, outputs[start:].detach(), unlabelled)

        terms = {"labelled": self._supervised(task, outputs[:start], labelled)}
        shown = self._shown(model, task, unlabelled["input"], selection, labelled)
        for name, branch in self._branches():
            of_plain = outputs[start:] if perturbed is None or name != self.feature else perturbed
            prediction, chosen = shown.get(name, (of_plain, selection))
            logits, values = task.parted(self.auxiliary.taught(prediction))
            terms[name] = branch.term(logits, chosen, unlabelled.get("valid"))
            if values is not None and chosen is not None and chosen.values is not None:
                terms[name] = terms[name] + task.value_loss(values, chosen.values, chosen.label, chosen.weight)
        further = self.auxiliary.terms(
            (outputs[:start], labelled),
            (outputs[start:], unlabelled),
            {name: prediction for name, (prediction, _) in shown.items()},
            task.ignore_index,
            teaching=teaching,
            selection=selection,
        )
        return self._sum(terms, further, selection)

    def _supervised(self, task: Task, outputs: Tensor, labelled: Batch) -> Tensor:
        return task.labelled_loss(self.auxiliary.logits(outputs), labelled)

    def _sum(
        self,
        terms: dict[str, Tensor],
        further: Mapping[str, tuple[float, Tensor]],
        selection: Selection | None = None,
    ) -> StepOutput:
        loss = self.labelled_weight * terms["labelled"]
        for name, branch in self._branches():
            loss = loss + branch.weight * terms[name] if name in terms else loss
        for weight, value in further.values():
            loss = loss + weight * value
        named = {**terms, **{name: value for name, (_, value) in further.items()}}
        return StepOutput(loss, {name: value.detach() for name, value in named.items()}, selection)

    def _branches(self) -> list[tuple[str, Branch]]:
        return list(self.branches.items())  # type: ignore[arg-type]

    def _plain_outputs(self, model: nn.Module, x: Tensor, plain: Tensor) -> tuple[Tensor, Tensor | None]:
        """Outputs for the labelled and the plain view, and for the latter with perturbed features."""
        batch, start = torch.cat([x, plain]), len(x)
        if self.domain_batchnorm:
            with frozen_running_statistics(model):
                of_labelled = model(x)
            batch, start = plain, 0
        if self.feature is None:
            output, perturbed = model(batch), None
        else:
            both = model(batch, self.branches[self.feature].perturbation, start)
            output, perturbed = both.split([len(batch), len(batch) - start])
        return (torch.cat([of_labelled, output]) if self.domain_batchnorm else output), perturbed

    def _select(self, task: Task, plain: Tensor, students: Tensor, unlabelled: Batch) -> tuple[Selection, Tensor]:
        """What teaches, and the logits that it comes from: of the plain view and the student's outputs for it."""
        assert self.selector is not None
        teacher = self.teacher if self.ema_teaches else None
        outputs = students if teacher is None else teacher(plain)
        teaching = self.auxiliary.logits(outputs)
        evidence: dict[str, Tensor | None] = {name: unlabelled.get(name) for name in ("truth", "stored", "regions")}
        evidence |= {"second": None, "earlier": None}
        if teacher is not None:
            evidence["second"], _ = task.parted(self.auxiliary.logits(students))
            if "earlier" in self.selector.needs.evidence and (states := teacher.earlier(plain)) is not None:
                evidence["earlier"] = torch.stack([task.parted(state)[0] for state in states])
        if "features" in self.selector.needs.evidence:
            evidence["features"] = task.features(unlabelled["input"])
        asked = {name: evidence[name] for name in self.selector.needs.evidence}
        for name, value in asked.items():
            if value is None:
                raise ConfigError(
                    f"algorithm.selector: {type(self.selector).__name__} judges by {_EVIDENCE[name][0]}, of which "
                    f"there is none here; {_EVIDENCE[name][1]}"
                )
        selection = task.judged(self.selector, teaching, plain, unlabelled.get("valid"), **asked)
        return self.auxiliary.select(selection, outputs), task.parted(teaching)[0]

    def _shown(
        self, model: nn.Module, task: Task, inputs: Tensor, selection: Selection | None, labelled: Batch
    ) -> dict[str, tuple[Tensor, Selection | None]]:
        """The student's outputs for what it is shown beside the plain view, in one pass, and the selection of it.

        Branches are named as they are, the views of auxiliary losses as ``LOSS.VIEW``.
        """
        made = {name: branch.shown(task, inputs, selection, labelled) for name, branch in self._branches()}
        made |= {name: (view, selection) for name, view in self.auxiliary.views(task, inputs).items()}
        views = {name: view for name, view in made.items() if view is not None}
        if not views:
            return {}
        together = torch.cat([x for x, _ in views.values()])
        with frozen_running_statistics(model):
            if self.view_features is None:
                outputs = model(together)
            else:
                outputs = model(together, self.view_features, perturbed_only=True)
        parts = zip(views.items(), outputs.chunk(len(views)), strict=True)
        return {name: (prediction, chosen) for (name, (_, chosen)), prediction in parts}

    def after_step(self, model: nn.Module) -> None:
        self.auxiliary.after_step(model)
        if self.teacher is not None:
            self.teacher.update(model)

    def evaluated(self, model: nn.Module) -> nn.Module:
        return _without_heads(model if self.teacher is None else self.teacher.evaluated(model))


def _without_heads(model: nn.Module) -> nn.Module:
    return model.network if isinstance(model, NetworkWithHeads) else model


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
        "set algorithm.ema_decay: teacher and student then differ",
    ),
    "features": ("features of the inputs", FEATURES_COME_FROM),
    "earlier": (
        "earlier states of its teacher",
        "set algorithm.teacher_from to several checkpoints of one run, in order",
    ),
}
