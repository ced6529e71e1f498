"""Adversarial domain adaptation: features from which a discriminator cannot tell the source from the target."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from residual_ssl.algorithms.algorithm import Algorithm, StepOutput
from residual_ssl.algorithms.domain_network import DomainNetwork
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.task import Batch, Task


class DomainAdversarial(Algorithm):
    """DANN and CDAN: the labelled samples are of one domain, the unlabelled ones of another.

    A discriminator learns to tell the domains of features apart, and the encoder learns, by the reversed gradient, to
    make that hard. With the mean binary cross-entropy ``L_d`` of either domain::

        L = L_x + weight · ½ (L_d(source) + L_d(target)),    strength(t) = 2 / (1 + exp(-10 t/T)) - 1

    where ``strength`` scales the reversed gradient in step t of T. Plain and labelled views go through the classifier
    together. The classifier is evaluated; the discriminator is trained and stored with it.

    Args:
        weight: trade-off of the domain term; 1 as published.
        conditioned: the discriminator sees features conditioned on predictions (CDAN); False: features alone (DANN).
        entropy_weighted: samples count ``1 + exp(-H(p))`` in their domain's mean: sure ones first (CDAN+E).
        hidden: width of the discriminator.

    Raises:
        ConfigError: a weight that is not positive; at the start of a run a model that is no classifier.

    Source: DANN, arXiv 1505.07818, §4 and eq. 10; CDAN, arXiv 1705.10667, eq. 8.
    """

    def __init__(
        self, weight: float = 1.0, conditioned: bool = False, entropy_weighted: bool = False, hidden: int = 1024
    ) -> None:
        super().__init__()
        if not 0 < weight < math.inf:
            raise ConfigError(f"algorithm.weight: got {weight}, expected a positive number")
        self.weight = weight
        self.conditioned = conditioned
        self.entropy_weighted = entropy_weighted
        self.hidden = hidden
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.ones((), dtype=torch.int64))
        self.done: Tensor
        self.steps: Tensor

    def on_train_start(self, total_steps: int) -> None:
        self.done.zero_()
        self.steps.fill_(total_steps)

    def build_model(self, task: Task) -> nn.Module:
        return DomainNetwork(task.build_model(), task.num_classes, self.hidden, self.conditioned)

    def evaluated(self, model: nn.Module) -> nn.Module:
        return model.network  # type: ignore[return-value]

    @property
    def strength(self) -> Tensor:
        """Factor of the reversed gradient at this step, in [0, 1): scalar."""
        return 2 / (1 + (-10 * self.done / self.steps).exp()) - 1

    def step(self, model: nn.Module, task: Task, labelled: Batch, unlabelled: Batch | None) -> StepOutput:
        assert unlabelled is not None
        source = task.view(labelled["input"], "labelled")
        target = task.view(unlabelled["input"], "plain")
        logits, domain = model(torch.cat([source, target]), self.strength)
        start = len(source)
        of_source = torch.ones_like(domain[:start])
        terms = {
            "labelled": task.labelled_loss(logits[:start], labelled),
            "domain": (
                self._domain_loss(domain[:start], of_source, logits[:start])
                + self._domain_loss(domain[start:], torch.zeros_like(domain[start:]), logits[start:])
            )
            / 2,
        }
        loss = terms["labelled"] + self.weight * terms["domain"]
        return StepOutput(loss, {name: term.detach() for name, term in terms.items()})

    def _domain_loss(self, domain: Tensor, truth: Tensor, logits: Tensor) -> Tensor:
        """Mean over the samples of one domain, with the weights of all processes."""
        with torch.autocast(domain.device.type, enabled=False):
            loss = F.binary_cross_entropy_with_logits(domain.float(), truth.float(), reduction="none")
            weight = torch.ones_like(loss)
            if self.entropy_weighted:
                entropy = torch.special.entr(logits.detach().float().softmax(1)).sum(1)
                weight = 1 + (-entropy).exp()
            return (weight * loss).sum() / mean_count(weight.sum())

    def after_step(self, model: nn.Module) -> None:
        self.done.add_(1)
