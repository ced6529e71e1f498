"""Images with classes: what labels mean, and sequences of samples."""

import pytest
import torch

from residual_ssl.data import OUTSIDE, ClassifiedSubset, ImageArrays, JoinedSamples, class_ids
from residual_ssl.errors import ConfigError


def arrays(labels: list[int | None], name: str = "mine") -> ImageArrays:
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return ImageArrays(images, labels, name)


@pytest.mark.parametrize(
    ("raw", "names", "expected"),
    [
        ([0, 1, 2, 3], None, [0, 1, OUTSIDE, OUTSIDE]),  # ids are those of the classes
        ([-1, None, 1], None, [None, None, 1]),
        ([0, 1, 2], ["car", "dog", "cat"], [OUTSIDE, 1, 0]),  # ids mean names of the data set
        (["dog", None, "cat", "cow"], None, [1, None, 0, OUTSIDE]),
    ],
)
def test_labels_become_places_in_the_classes(
    raw: list[int | str | None], names: list[str] | None, expected: list[int | None]
) -> None:
    assert list(class_ids(raw, ["cat", "dog"], names, "pets")) == expected


def test_a_class_that_the_data_set_does_not_have_is_named() -> None:
    with pytest.raises(ConfigError, match=r"classes: cow not among those of pets, which are cat, dog"):
        class_ids([0, 1], ["cat", "cow"], ["cat", "dog"], "pets")


def test_numbers_as_names_of_classes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"classes: got 7, expected names, strings; quote it, as '7'"):
        class_ids(["7", "8"], ["6", 7, 8], None, "digits")  # type: ignore[list-item]


def test_a_subset_keeps_images_names_and_if_asked_labels() -> None:
    samples = arrays([3, 4, None, 5])
    some = ClassifiedSubset(samples, [3, 0])
    assert (len(some), some.labels) == (2, (5, 3))
    assert [some[i].name for i in range(2)] == [some.entry(i).image for i in range(2)] == ["mine/000003", "mine/000000"]
    assert some[0].image.unique().tolist() == [3]
    hidden = ClassifiedSubset(samples, [3, 0], labels=False)
    assert hidden.labels == (None, None)
    assert hidden[0].label is None


def test_joined_samples_stand_one_after_the_other() -> None:
    joined = JoinedSamples([arrays([1, 2], "a"), arrays([3], "b")])
    assert (len(joined), joined.labels) == (3, (1, 2, 3))
    assert [joined[i].name for i in range(3)] == ["a/000000", "a/000001", "b/000000"]
    assert [joined[i].label for i in range(3)] == [1, 2, 3]


def test_arrays_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"images: got torch.float32 of shape \(2, 3, 4, 4\) for 2 labels"):
        ImageArrays(torch.zeros(2, 3, 4, 4), [0, 1], "x")
    with pytest.raises(ConfigError, match=r"for 1 labels, expected torch.uint8 \(N, C, H, W\) and N labels"):
        ImageArrays(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [0], "x")
