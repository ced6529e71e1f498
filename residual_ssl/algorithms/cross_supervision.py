"""Cross pseudo supervision: two networks, each taught by the pseudo-labels of the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.algorithms.algorithm import Algorithm, StepOutput
from residual_ssl.algorithms.branches import InputBranch, frozen_running_statistics
from residual_ssl.errors import ConfigError
from residual_ssl.losses import selected_cross_entropy
from residual_ssl.models import built_network
from residual_ssl.selection import Selection, Selector, TrustAll
from residual_ssl.task import Batch, Task


class NetworkPair(nn.Module):
    """Two networks, of one architecture or of two, that see the same input.

    Args:
        first, second: networks with logits of the same shape.

    ``forward`` gives the logits of both, stacked: ``(2, B, K, *S)``.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    @property
    def encoder(self) -> nn.Module:
        """The pretrained parts of both, for learning rates."""
        parts = [getattr(network, "encoder", None) for network in (self.first, self.second)]
        return nn.ModuleList(part for part in parts if part is not None)

    def parameter_layers(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer of both, where the networks name theirs; counted from the last."""
        first, second = (network.parameter_layers() for network in (self.first, self.second))  # type: ignore[operator]
        pairs: Any = zip_longest(reversed(first), reversed(second), fillvalue=[])
        return [[*one, *other] for one, other in pairs][::-1]

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.first(x), self.second(x)])


class CrossSupervision(Algorithm):
    """Cross pseudo supervision: the pseudo-labels of each network teach the other one.

    With logits ``a`` and ``b`` of the two networks::

        L = L_x(a) + L_x(b) + weight · (L_u(a, b) + L_u(b, a)),    L_u(a, b) = Σ w(b)·CE(a, y(b)) / #valid

    Without a branch, L_u is taken over the plain views of the unlabelled and over the labelled batch, as published.
    With a branch, both networks predict its view (CutMix, strong augmentation) of the unlabelled batch, and the
    pseudo-labels are those of the plain view. The first network is evaluated. Two architectures err differently, a
    convolutional network by what is near, a transformer by what is alike, so that each corrects the other more.

    Args:
        weight: λ of the unlabelled terms: 1.5 on Pascal, 6 on Cityscapes.
        selector: which pseudo-labels count; None for all, as published. A selector that asks for a second prediction is
            given the one of the network that is taught.
        branch: perturbed view that is taught, or None. Its own weight is not used.
        second: ``second(num_classes=K)`` gives the second network, with logits of the first one's shape; None for
            another one of the task.

    Raises:
        ConfigError: a selector that needs the truth; a second network that does not fit.

    Source: CPS, arXiv 2106.01226, §3; with agreement weights DMT, arXiv 2004.08514; of a convolutional network and a
    transformer, cross teaching, arXiv 2112.04894.
    """

    def __init__(
        self,
        weight: float = 1.5,
        selector: Selector | None = None,
        branch: InputBranch | None = None,
        second: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.selector = TrustAll() if selector is None else selector
        evidence = self.selector.needs.evidence
        if set(evidence) - {"second"}:
            raise ConfigError(
                f"algorithm.selector: {type(self.selector).__name__} judges by {', '.join(evidence)}; "
                "cross supervision has two predictions and nothing else"
            )
        self.branch = branch
        self.second = second

    def on_train_start(self, total_steps: int) -> None:
        self.selector.on_train_start(total_steps)

    def build_model(self, task: Task) -> nn.Module:
        first = task.build_model()
        if self.second is None:
            return NetworkPair(first, task.build_model())
        return NetworkPair(first, built_network(self.second, task.num_classes, task.example()))

    def evaluated(self, model: nn.Module) -> nn.Module:
        return model.first  # type: ignore[return-value]

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        assert unlabelled is not None
        target = labelled["target"]
        x = task.view(labelled["input"], "labelled")
        plain = task.view(unlabelled["input"], "plain")
        both = model(torch.cat([x, plain]))
        supervised, of_unlabelled = both[:, : len(x)], both[:, len(x) :]
        with torch.no_grad():
            of_labelled, _ = task.parted(supervised[0].detach())
            self.selector.update_from_labels(of_labelled, target, task.ignore_index)
        valid = unlabelled.get("valid")
        if valid is None:
            valid = torch.ones((len(plain), *of_unlabelled.shape[3:]), dtype=torch.bool, device=of_unlabelled.device)
        if self.branch is None:
            valid = torch.cat([target != task.ignore_index, valid])
            crossed, shown = self._cross(task, both, torch.cat([x, plain]), valid), len(x)
            taught = zip(both, crossed, strict=True)
            terms = [_term(task, selected_cross_entropy, output, chosen) for output, chosen in taught]
            selection = crossed[0].map(lambda points: points[shown:])
        else:
            crossed = self._cross(task, of_unlabelled, plain, valid)
            selection = crossed[0]
            terms = self._perturbed_terms(model, task, unlabelled["input"], crossed, labelled)
        losses = [task.labelled_loss(output, labelled) for output in supervised]
        loss = losses[0] + losses[1] + self.weight * (terms[0] + terms[1])
        named = {"labelled": losses[0] + losses[1], "crossed": terms[0] + terms[1]}
        return StepOutput(loss, {name: term.detach() for name, term in named.items()}, selection)

    @torch.no_grad()
    def _cross(self, task: Task, outputs: Tensor, shown: Tensor, valid: Tensor) -> list[Selection]:
        """What teaches the first network, from the second, and the other way round."""
        first, second = outputs.detach()
        chosen = []
        for taught, other in ((first, second), (second, first)):
            evidence = {"second": task.parted(taught)[0]} if self.selector.needs.evidence else {}
            chosen.append(task.judged(self.selector, other, shown, valid, **evidence))
        return chosen

    def _perturbed_terms(
        self, model: nn.Module, task: Task, inputs: Tensor, crossed: Sequence[Selection], labelled: Batch
    ) -> list[Tensor]:
        assert self.branch is not None
        # One view for both networks: what is hidden, both trust.
        inputs, crossed = self.branch.pasted(task, inputs, crossed, labelled)
        x, box = self.branch.show(task, inputs, task.trusted_places(crossed[0].trusted & crossed[1].trusted))
        with frozen_running_statistics(model):
            predictions = model(x)
        mixed = [self.branch.mixed(chosen, box, task.num_classes) for chosen in crossed]
        taught = zip(predictions, mixed, strict=True)
        return [_term(task, self.branch.loss, output, chosen) for output, chosen in taught]


def _term(task: Task, loss: Callable[[Tensor, Selection], Tensor], output: Tensor, chosen: Selection) -> Tensor:
    logits, values = task.parted(output)
    term = loss(logits, chosen)
    if values is None or chosen.values is None:
        return term
    return term + task.value_loss(values, chosen.values, chosen.label, chosen.weight)
