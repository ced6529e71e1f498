"""A domain of images with classes, as a source and as a target of adaptation."""

from functools import partial

import pytest
import torch

from residual_ssl.data import OUTSIDE, ImageArrays
from residual_ssl.errors import ConfigError
from residual_ssl.tasks.adaptation import ClassifiedDomain, DomainPair

CLASSES = ["cat", "dog"]


def images(labels: list[int | None], name: str) -> ImageArrays:
    return ImageArrays(torch.zeros(len(labels), 3, 4, 4, dtype=torch.uint8), labels, name)


def names(samples: object) -> list[str]:
    return [samples[i].name for i in range(len(samples))]  # type: ignore[index, arg-type]


def test_a_pair_has_the_labels_of_the_source_and_the_images_of_the_target() -> None:
    pair = DomainPair(
        source=partial(ClassifiedDomain, CLASSES, partial(images, [0, None, 1, OUTSIDE], "photo")),
        target=partial(ClassifiedDomain, CLASSES, partial(images, [1, OUTSIDE, 0, None], "sketch")),
    )
    assert names(pair.labelled) == ["photo/000000", "photo/000002"]
    assert list(pair.labelled.labels) == [0, 1]
    assert names(pair.unlabelled) == ["sketch/000000", "sketch/000002", "sketch/000003"]
    assert list(pair.unlabelled.labels) == [1, 0, None]
    assert names(pair.validation) == ["sketch/000000", "sketch/000002"]


def test_a_target_may_have_a_test_set_and_hide_its_classes() -> None:
    target = ClassifiedDomain(
        CLASSES, partial(images, [1, 0], "train"), partial(images, [0, OUTSIDE], "test"), truth=False
    )
    assert list(target.unlabelled.labels) == [None, None]
    assert target.unlabelled[0].label is None
    assert names(target.validation) == ["test/000000"]
    assert target.validation[0].label == 0


def test_domains_of_other_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="first to differ being 'dog' and 'cow'"):
        DomainPair(
            source=partial(ClassifiedDomain, CLASSES, partial(images, [0], "photo")),
            target=partial(ClassifiedDomain, ["cat", "cow"], partial(images, [0], "sketch")),
        )
