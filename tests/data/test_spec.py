"""DatasetSpec: what it accepts, how it reads ids, how it says no."""

import pytest
import torch

from residual_ssl.data import OUTSIDE, DatasetSpec, default_palette
from residual_ssl.errors import ConfigError, DataError, InvalidInputError


def test_lists_from_a_configuration_become_tuples() -> None:
    spec = DatasetSpec(["road", "car"], palette=[[0, 0, 0], [255, 0, 10]])
    assert spec.classes == ("road", "car")
    assert spec.palette == ((0, 0, 0), (255, 0, 10))
    assert spec.num_classes == 2
    assert spec == DatasetSpec(("road", "car"), palette=((0, 0, 0), (255, 0, 10)))
    assert hash(spec) == hash(DatasetSpec(("road", "car"), palette=((0, 0, 0), (255, 0, 10))))


def test_default_palette_is_the_published_voc_colour_map() -> None:
    # The first colours as printed with the PASCAL VOC data: aeroplane, bicycle, bird, …, and tv monitor (20).
    colours = default_palette(256)
    assert colours[:8] == (
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
        (0, 128, 128),
        (128, 128, 128),
    )
    assert colours[20] == (0, 64, 128)
    assert colours[255] == (224, 224, 192)
    assert len(set(colours)) == 256
    assert DatasetSpec(["a", "b", "c"]).palette == colours[:3]


def test_without_a_map_ids_are_classes_and_the_ignored_value() -> None:
    mask = torch.tensor([[0, 1], [2, 255]], dtype=torch.uint8)
    encoded = DatasetSpec(["a", "b", "c"]).encode(mask, "m.png")
    assert encoded.dtype == torch.int64
    assert encoded.tolist() == [[0, 1], [2, 255]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_map_is_applied_pixel_by_pixel(dtype: torch.dtype) -> None:
    label_map = {7: 0, 8: 1, 11: 0, 0: 255, 100: 1}
    mask = torch.tensor([7, 8, 11, 0, 100])[torch.randint(0, 5, (13, 9), generator=torch.Generator().manual_seed(0))]
    encoded = DatasetSpec(["a", "b"], label_map=label_map).encode(mask.to(dtype), "m.png")
    assert encoded.tolist() == [[label_map[raw] for raw in row] for row in mask.tolist()]


def test_negative_raw_ids_can_be_mapped() -> None:
    spec = DatasetSpec(["a", "b"], label_map={-1: 255, 0: 0, 70000: 1})
    assert spec.encode(torch.tensor([[-1, 0, 70000]], dtype=torch.int32), "m.tif").tolist() == [[255, 0, 1]]


def test_ignore_index_may_be_another_value() -> None:
    spec = DatasetSpec(["a", "b"], ignore_index=-100, label_map={0: 0, 1: 1, 9: -100})
    assert spec.encode(torch.tensor([[0, 9]]), "m.png").tolist() == [[0, -100]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_a_class_that_is_none_of_the_asked_for_is_ignored_but_in_the_truth_of_the_pool(dtype: torch.dtype) -> None:
    spec = DatasetSpec(["a", "b"], label_map={0: 0, 1: OUTSIDE, 2: 1, 3: 255})
    mask = torch.tensor([[0, 1, 2, 3]], dtype=dtype)
    assert spec.encode(mask, "m.png").tolist() == [[0, 255, 1, 255]]
    assert spec.encode(mask, "m.png", outside=True).tolist() == [[0, -1, 1, 255]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_unknown_ids_are_named_with_the_file_the_known_ids_and_the_fix(dtype: torch.dtype) -> None:
    mask = torch.tensor([[0, 11, 12], [1, 12, 40]], dtype=dtype)
    with pytest.raises(DataError) as error:
        DatasetSpec(["a", "b", "c"]).encode(mask, "masks/0001.png")
    message = str(error.value)
    assert "masks/0001.png" in message
    assert "11–12, 40" in message
    assert "0–2, 255" in message
    assert "label_map" in message


def test_a_map_is_complete_so_an_id_outside_it_is_unknown() -> None:
    with pytest.raises(DataError, match="ids 1 are not"):
        DatasetSpec(["a", "b"], label_map={0: 0, 2: 1}).encode(torch.tensor([[1]]), "m.png")


@pytest.mark.parametrize("mask", [torch.zeros(2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8), torch.ones(2, 2).bool()])
def test_masks_that_are_no_integer_plane_are_refused(mask: torch.Tensor) -> None:
    with pytest.raises(InvalidInputError, match="mask"):
        DatasetSpec(["a", "b"]).encode(mask, "m.png")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"classes": ["a"]}, "at least 2"),
        ({"classes": "ab"}, "list of names"),
        ({"classes": ["a", "b", "a"]}, "a given more than once"),
        ({"classes": ["a", 3]}, "list of names"),
        ({"palette": [[0, 0, 0]]}, "1 colours for 2 classes"),
        ({"palette": [[0, 0, 0], [0, 0, 256]]}, r"\[0, 0, 256\]"),
        ({"palette": [[0, 0, 0], [0, 0]]}, r"\[0, 0\]"),
        ({"palette": [[0, 0, 0], [0.5, 0, 0]]}, "three integers"),
        ({"ignore_index": 1}, "ignore_index: got 1"),
        ({"label_map": {4: 2}}, "4 → 2"),
        ({"label_map": {"4": 1}}, "raw id '4'"),
        ({"label_map": {}}, "empty map"),
    ],
)
def test_faults_of_a_specification(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        DatasetSpec(**{"classes": ["a", "b"], **arguments})  # type: ignore[arg-type]


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        DatasetSpec(["a", "a"], palette=[[0, 0, 0]], ignore_index=0, label_map={9: 7})
    assert all(name in str(error.value) for name in ("classes", "palette", "ignore_index", "label_map"))
