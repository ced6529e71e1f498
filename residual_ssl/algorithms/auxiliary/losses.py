"""The auxiliary losses of an algorithm together: their network, what they select, what they add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from residual_ssl.algorithms.auxiliary.loss import AuxiliaryLoss, Prediction, Seen
from residual_ssl.algorithms.auxiliary.network import NetworkWithHeads
from residual_ssl.errors import ConfigError
from residual_ssl.selection import Selection
from residual_ssl.task import Batch, Task


class AuxiliaryLosses(nn.ModuleDict):
    """Auxiliary losses by name. Without any, networks and tensors pass through as they are.

    Args:
        losses: by name.
    """

    def __init__(self, losses: Mapping[str, AuxiliaryLoss] | None = None) -> None:
        super().__init__(losses)
        self._channels: dict[str, int] = {}

    @property
    def needs_unlabelled(self) -> bool:
        return any(loss.needs_unlabelled for loss in self.by_name.values())

    @property
    def needs_index(self) -> bool:
        return any(loss.needs_index for loss in self.by_name.values())

    @property
    def by_name(self) -> dict[str, AuxiliaryLoss]:
        """The losses by name."""
        return dict(self.items())  # type: ignore[arg-type]

    def network(self, network: nn.Module, num_classes: int) -> nn.Module:
        """The network with the heads of the losses, or the network itself where none has one."""
        if all(type(loss).make_head is AuxiliaryLoss.make_head for loss in self.by_name.values()):
            return network
        wrapped = NetworkWithHeads(network, num_classes, {name: loss.make_head for name, loss in self.by_name.items()})
        self._channels = {name: size for name, size in wrapped.channels.items() if name != "logits"}
        return wrapped if self._channels else network

    def on_train_start(self, total_steps: int) -> None:
        """Called once before a new run."""
        for loss in self.by_name.values():
            loss.on_train_start(total_steps)

    def prepare(self, task: Task, labelled: Any, unlabelled: Any) -> None:
        """Called once before a new run with its training sets; None for one that it does not read."""
        for loss in self.by_name.values():
            loss.prepare(task.num_classes, len(labelled), 0 if unlabelled is None else len(unlabelled))

    def predictions(self, outputs: Tensor) -> dict[str, Prediction]:
        """What each loss sees of the student's outputs."""
        logits = self.logits(outputs)
        sizes = [logits.shape[1], *(self._channels.get(name, 0) for name in self.by_name)]
        return {
            name: Prediction(logits, part)
            for name, part in zip(self.by_name, torch.split(outputs, sizes, dim=1)[1:], strict=True)
        }

    def logits(self, outputs: Tensor) -> Tensor:
        """The classifier's logits of the student's outputs."""
        extra = sum(self._channels.values())
        return outputs[:, : outputs.shape[1] - extra] if extra else outputs

    def taught(self, outputs: Tensor) -> Tensor:
        """The logits that branches teach: the classifier's, unless one loss has others."""
        for name, prediction in self.predictions(outputs).items():
            logits = self.by_name[name].taught(prediction)
            if logits is not prediction.logits:
                return logits
        return self.logits(outputs)

    def select(self, selection: Selection, outputs: Tensor) -> Selection:
        """The selection after all losses have looked at the outputs that it comes from."""
        for name, prediction in self.predictions(outputs).items():
            selection = self.by_name[name].select(selection, prediction)
        return selection

    def views(self, task: Task, inputs: Tensor) -> dict[str, Tensor]:
        """The views that losses ask for, as ``LOSS.VIEW``, which no branch is named."""
        return {f"{name}.{view}": task.view(inputs, view) for name, loss in self.by_name.items() for view in loss.views}

    def terms(
        self,
        labelled: tuple[Tensor, Batch],
        plain: tuple[Tensor, Batch] | None,
        shown: Mapping[str, Tensor],
        ignore_index: int,
        *,
        teaching: Tensor | None = None,
        selection: Selection | None = None,
    ) -> dict[str, tuple[float, Tensor]]:
        """Factor and value of each term, named ``LOSS_TERM``.

        Args:
            labelled: the student's outputs and the labelled batch.
            plain: of the unlabelled one; None where there is none.
            shown: the student's outputs of what it was shown, those of :meth:`views` among them.
            ignore_index, teaching, selection: see :class:`Seen`.
        """
        found: dict[str, tuple[float, Tensor]] = {}
        of_labelled = self.predictions(labelled[0])
        of_plain = {} if plain is None else self.predictions(plain[0])
        for name, loss in self.by_name.items():
            if loss.needs_unlabelled and plain is None:
                raise ConfigError(
                    f"algorithm.auxiliary.{name}: learns from the unlabelled batch, of which there is none"
                )
            seen = Seen(
                target=labelled[1]["target"],
                ignore_index=ignore_index,
                labelled=of_labelled[name],
                plain=of_plain.get(name),
                shown=tuple(self.predictions(shown[f"{name}.{view}"])[name] for view in loss.views),
                teaching=teaching,
                selection=selection,
                valid=None if plain is None else plain[1].get("valid"),
                index=(labelled[1].get("index"), None if plain is None else plain[1].get("index")),
            )
            terms = loss.terms(seen)
            found |= {f"{name}_{term}": (loss.weights[term], value) for term, value in terms.items()}
        return found

    def after_step(self, model: nn.Module) -> None:
        """Called with the student after each optimiser step."""
        heads = dict(model.heads.items()) if isinstance(model, NetworkWithHeads) else {}
        for name, loss in self.by_name.items():
            loss.after_step(heads.get(name))
