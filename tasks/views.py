"""The views of a task by their names."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from residual_ssl.errors import InvalidInputError


class Views:
    """Perturbed views of inputs in the task's own range, as the model takes them.

    Args:
        finish: makes any view the model's input, as :class:`~residual_ssl.tasks.normalisation.Normalisation`; None
            leaves views as they are.
        strong, light, labelled: perturbations of the views of those names; None leaves the view plain.

    Raises:
        InvalidInputError: a view of another name.

    Example:
        >>> import torch
        >>> views = Views(lambda x: x - 1, strong=torch.nn.Dropout(1.0))
        >>> views(torch.ones(2), "plain"), views(torch.ones(2), "strong")
        (tensor([0., 0.]), tensor([-1., -1.]))
    """

    def __init__(
        self,
        finish: Callable[[Tensor], Tensor] | None = None,
        *,
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
    ) -> None:
        self._finish = finish
        self._perturbations = {"plain": None, "strong": strong, "light": light, "labelled": labelled}

    def __call__(self, inputs: Tensor, kind: str) -> Tensor:
        if kind not in self._perturbations:
            raise InvalidInputError(f"view: got {kind!r}, expected one of {', '.join(self._perturbations)}")
        perturbation = self._perturbations[kind]
        view: Tensor = inputs if perturbation is None else perturbation(inputs)
        return view if self._finish is None else self._finish(view)
