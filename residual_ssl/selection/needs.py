"""What a selector needs beside a prediction, declared of the instance."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Needs:
    """What a loop has to give a selector beside logits and ``valid``.

    Attributes:
        evidence: keyword arguments of its call, as :attr:`Selector.evidence`.
        labels: whether it learns from labelled predictions: call ``update_from_labels``.
        fit: whether it must be fitted before it judges: call ``fit``.
        pool: whether it must see features of the labelled and the unlabelled samples: call ``fit_pool``.
        schedule: whether it must know the number of training steps: call ``on_train_start``.
    """

    evidence: tuple[str, ...] = ()
    labels: bool = False
    fit: bool = False
    pool: bool = False
    schedule: bool = False
