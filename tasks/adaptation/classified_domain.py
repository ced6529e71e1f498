"""One domain of classified images, as the source or the target of a DomainPair."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from residual_ssl.data import ClassifiedSamples, ClassifiedSubset, DatasetSpec


class ClassifiedDomain:
    """Images of one domain: its labelled ones as a source, all of them without labels as a target.

    Images known to be of none of the classes are left out, so that two domains adapt on the classes that they share.

    Args:
        classes: names of the K classes.
        samples: reads the images of the domain, called once.
        test: reads the images to evaluate on, as a target. None: the images to adapt to, as in most published tables:
            training sees these images and not their classes.
        truth: keep known classes of the unlabelled samples, *for diagnostics only*.

    Attributes ``labelled``, ``unlabelled``, ``validation``: see :class:`~residual_ssl.data.ClassificationSource`.

    Example:
        >>> from functools import partial
        >>> from residual_ssl.data import HandwrittenDigits
        >>> small = ClassifiedDomain([str(i) for i in range(10)], partial(HandwrittenDigits, "validation"))
        >>> len(small.labelled), len(small.unlabelled), len(small.validation)
        (397, 397, 397)
    """

    def __init__(
        self,
        classes: Sequence[str],
        samples: Callable[[], ClassifiedSamples],
        test: Callable[[], ClassifiedSamples] | None = None,
        truth: bool = True,
    ) -> None:
        self.spec = DatasetSpec(classes, ignore_index=-100)  # beyond any number of classes
        read = samples()
        # Of none of the classes is below 0, of no known class None.
        known = [i for i, label in enumerate(read.labels) if label is not None and label >= 0]
        possible = [i for i, label in enumerate(read.labels) if label is None or label >= 0]
        self.labelled = ClassifiedSubset(read, known)
        self.unlabelled = ClassifiedSubset(read, possible, labels=truth)
        self.validation = self.labelled
        if test is not None:
            held_out = test()
            labelled = [i for i, label in enumerate(held_out.labels) if label is not None and label >= 0]
            self.validation = ClassifiedSubset(held_out, labelled)
