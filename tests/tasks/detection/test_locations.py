"""The places of a detector: where they lie, what they are to find, and how maps of the input and of places relate."""

import pytest
import torch
from torch import Tensor

from residual_ssl.errors import InvalidInputError
from residual_ssl.tasks.detection import Locations
from residual_ssl.tasks.detection.locations import centerness


def expected_object(center: list[float], stride: int, ranges: tuple[float, float], boxes: list[list[float]]) -> int:
    """FCOS's rule for one place, as its paper says it."""
    best, smallest = -1, float("inf")
    x, y = center
    for number, (left, top, right, bottom) in enumerate(boxes):
        sides = (x - left, y - top, right - x, bottom - y)
        middle = ((left + right) / 2, (top + bottom) / 2)
        near = max(abs(x - middle[0]), abs(y - middle[1])) < 1.5 * stride
        area = (right - left) * (bottom - top)
        if min(sides) > 0 and near and ranges[0] < max(sides) <= ranges[1] and area < smallest:
            best, smallest = number, area
    return best


def test_each_place_finds_the_smallest_object_whose_middle_and_size_it_fits() -> None:
    points, size = Locations([4, 8, 16]), (60, 52)
    generator = torch.Generator().manual_seed(0)
    corner = 40 * torch.rand(12, 2, generator=generator)
    boxes = torch.cat([corner, corner + 3 + 60 * torch.rand(12, 2, generator=generator)], 1)
    found = points.objects(boxes, size)
    ranges = {4: (0, 32), 8: (32, 64), 16: (64, float("inf"))}
    centers, strides = points.centers(size).tolist(), points.stride_of_each(size).int().tolist()
    expected = [
        expected_object(center, stride, ranges[stride], boxes.tolist())
        for center, stride in zip(centers, strides, strict=True)
    ]
    assert found.tolist() == expected
    assert len(set(expected)) > 5


def test_no_object_is_found_where_there_is_none() -> None:
    points = Locations([8])
    assert points.objects(torch.zeros(0, 4), (16, 24)).tolist() == [-1] * points.count((16, 24))


def test_what_holds_at_pixels_is_read_at_the_places_and_what_holds_at_places_covers_their_pixels() -> None:
    points, size = Locations([2, 4]), (5, 6)
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(6), indexing="ij")
    read = points.at((10 * rows + columns).unsqueeze(0))[0]
    assert read[:9].tolist() == [11, 13, 15, 31, 33, 35, 41, 43, 45]  # the last row of places reaches beyond the image
    assert read[9:].tolist() == [22, 25, 42, 45]
    places = torch.ones(1, 13, dtype=torch.bool)
    places[0, [1, 9]] = False  # a fine place, and the coarse one of the upper left
    whole = points.over(places, size)[0]
    expected = torch.ones(5, 6, dtype=torch.bool)
    expected[0:2, 2:4] = False
    expected[0:4, 0:4] = False
    assert torch.equal(whole, expected)


def test_centerness_falls_to_nothing_at_the_border() -> None:
    box = torch.tensor([[0.0, 0.0, 8.0, 4.0]])

    def at(x: float, y: float) -> Tensor:
        return centerness(torch.tensor([[x, y]]), box)

    assert at(4, 2) == 1
    assert at(2, 1).item() == pytest.approx((2 / 6 * 1 / 3) ** 0.5)
    assert at(0, 2) == 0
    assert at(9, 2) == 0


@pytest.mark.parametrize("strides", [[], [8, 4], [0, 8], [4, 4], [4.0, 8]])
def test_strides_that_make_no_pyramid_are_refused(strides: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="strides: got"):
        Locations(strides)
