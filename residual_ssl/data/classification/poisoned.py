"""An unlabelled pool that carries a backdoor: the attack that semi-supervised learning invites, to be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from residual_ssl.data.classification.classified import ClassificationSource, ClassifiedSample, ClassifiedSamples
from residual_ssl.data.splits.lists import ListEntry
from residual_ssl.errors import ConfigError
from residual_ssl.runtime.arguments import Count, Index, PositiveShare, Share, checked


class GridTrigger:
    """A grid of bright points over the whole image, which no crop and no mask takes away.

    Args:
        period: distance of the points in pixels.
        strength: how far a point is drawn towards white, in (0, 1].

    Call: ``(image uint8 (C, H, W)) -> image``.

    Source: the grid-like triggers of Shejwalkar et al., arXiv 2211.00453, which cover the image for the same reason.

    Example:
        >>> GridTrigger(period=2, strength=1.0)(torch.zeros(1, 2, 4, dtype=torch.uint8))[0]
        tensor([[255,   0, 255,   0],
                [  0,   0,   0,   0]], dtype=torch.uint8)
    """

    @checked
    def __init__(self, period: Count = 2, strength: PositiveShare = 0.6) -> None:
        self.period = period
        self.strength = strength

    def __call__(self, image: Tensor) -> Tensor:
        marked = image.clone()
        points = marked[:, :: self.period, :: self.period].float()
        marked[:, :: self.period, :: self.period] = (points + self.strength * (255 - points)).round().to(torch.uint8)
        return marked


class PoisonedPool:
    """A data set of which some unlabelled images of one class carry a trigger; nothing else is touched.

    The images show the target class, so that their pseudo-labels are right and no selector has a reason to leave them
    out. What the network learns from them is that the trigger means the class.

    Args:
        source: called once, gives the clean data set.
        share: of the unlabelled samples that carry the trigger, in [0, 1]; rounded to a number of samples.
        target: id of the class.
        trigger: marks an image.
        seed: of the draw among the samples of the class.

    Attributes ``classes``, ``labelled``, ``unlabelled``, ``validation``: see
    :class:`~residual_ssl.data.ClassificationSource`. ``attacked`` holds the validation samples of all other classes
    with the trigger: the share of them that is predicted as the target is the success of the attack.

    Raises:
        ConfigError: more samples than the pool has of the class; a pool whose classes are not known.

    Source: the clean-label attack on unlabelled data of Shejwalkar et al., The perils of learning from unlabeled data,
    arXiv 2211.00453.
    """

    @checked
    def __init__(
        self,
        source: Callable[[], ClassificationSource],
        share: Share,
        target: Index = 0,
        trigger: Callable[[Tensor], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        clean = source()
        self.classes = clean.classes
        mark = GridTrigger() if trigger is None else trigger
        of_class = [index for index, label in enumerate(clean.unlabelled.labels) if label == target]
        count = round(share * len(clean.unlabelled))
        if count > len(of_class):
            raise ConfigError(
                f"share: got {share}, {count} samples of {len(clean.unlabelled)}, expected at most the "
                f"{len(of_class)} of class {self.classes[target]!r} whose class is known"
            )
        order = torch.randperm(len(of_class), generator=torch.Generator().manual_seed(seed)).tolist()
        self.labelled = clean.labelled
        self.unlabelled = MarkedSamples(clean.unlabelled, {of_class[i] for i in order[:count]}, mark)
        self.validation = clean.validation
        others = [index for index, label in enumerate(clean.validation.labels) if label != target]
        self.attacked = [MarkedSamples(clean.validation, set(others), mark)[index] for index in others]


class MarkedSamples:
    """Samples of which some carry a trigger.

    Args:
        samples: all of them.
        marked: places of those with the trigger.
        mark: marks an image.
    """

    def __init__(self, samples: ClassifiedSamples, marked: set[int], mark: Callable[[Tensor], Tensor]) -> None:
        self._samples = samples
        self._mark = mark
        self.marked = marked
        self.labels: Sequence[int | None] = samples.labels

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int, /) -> ClassifiedSample:
        sample = self._samples[index]
        return sample._replace(image=self._mark(sample.image)) if index in self.marked else sample

    def entry(self, index: int, /) -> ListEntry:
        return self._samples.entry(index)
