"""Corrupted images: same shape and range, and less of the image in them."""

import numpy as np
import pytest

from residual_ssl.tasks.segmentation.corruption import corrupted


@pytest.fixture
def edge() -> np.ndarray:
    image = np.full((48, 48, 3), 0.3, dtype=np.float32)
    image[:, 24:] = 0.7
    return image


def corruptions(image: np.ndarray) -> list[np.ndarray]:
    return [corrupted(image, np.random.default_rng(seed)) for seed in range(30)]


def test_shape_type_and_range_stay(edge: np.ndarray) -> None:
    for image in corruptions(edge):
        assert (image.shape, image.dtype) == (edge.shape, np.float32)
        assert 0 <= image.min() <= image.max() <= 1


def test_each_kind_hides_the_edge_in_its_own_way(edge: np.ndarray) -> None:
    kinds = {"noise": 0, "blur": 0, "contrast": 0}
    for image in corruptions(edge):
        step = image[:, 24:].mean() - image[:, :24].mean()  # 0.4 at first
        at_edge = (image[:, 24] - image[:, 23]).mean()
        noise = image[:, :12].std()
        if noise > 0.2:
            kinds["noise"] += 1
            assert step > 0.2
        elif step > 0.2:
            kinds["blur"] += 1
            assert noise < 0.02
            assert at_edge < 0.15
        else:
            kinds["contrast"] += 1
            assert step == pytest.approx(0.15 * 0.4, abs=0.02)
            assert noise == pytest.approx(0.05, abs=0.01)
    assert min(kinds.values()) >= 4


def test_the_same_generator_gives_the_same_image(edge: np.ndarray) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(corruptions(edge), corruptions(edge), strict=True))
