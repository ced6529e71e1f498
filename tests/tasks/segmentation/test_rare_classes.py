"""Rare-class sampling: the published probabilities, images that show the class, crops that show it too."""

import json
import math
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch

from residual_ssl.data import Sample
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.tasks.samples import TrainingSamples
from residual_ssl.tasks.segmentation import RareClassSampling, WeakGeometry
from residual_ssl.tasks.segmentation.rare_classes import class_probabilities, count_points
from residual_ssl.tasks.segmentation.samples import labelled_entries


def sample(index: int, points: dict[int, int], size: int = 8) -> Sample:
    """An image with so many points of each class, the rest not labelled; its first pixel is its number."""
    mask = torch.full((size * size,), 255)
    ids = [k for k, count in points.items() for _ in range(count)]
    mask[: len(ids)] = torch.tensor(ids)
    return Sample(torch.full((3, size, size), index, dtype=torch.uint8), mask.view(size, size), f"{index}")


SAMPLES = [sample(0, {0: 60}), sample(1, {0: 50, 1: 10}), sample(2, {0: 40, 1: 8, 2: 4}), sample(3, {0: 30, 2: 1})]
COUNTS = [[60, 0, 0, 0], [50, 10, 0, 0], [40, 8, 4, 0], [30, 0, 1, 0]]


def labelled(samples: list[Sample], crop: int) -> TrainingSamples:
    entries = partial(labelled_entries, geometry=WeakGeometry(crop, (1.0, 1.0), 0.0), ignore_index=255)
    return TrainingSamples(samples, entries, 0, labelled=True)


def sampling(**options: object) -> RareClassSampling:
    data = labelled(SAMPLES, 8)
    return RareClassSampling(data, SAMPLES, 4, **{"seed": 0, "temperature": 0.2, "min_points": 4, **options})  # type: ignore[arg-type]


def test_points_are_counted_by_image_and_class() -> None:
    assert count_points(SAMPLES, 4).tolist() == COUNTS


def test_probabilities_are_those_of_the_paper_over_the_classes_that_are_shown() -> None:
    shares = [180 / 203, 18 / 203, 5 / 203]
    raw = [math.exp((1 - share) / 0.2) for share in shares]
    expected = [value / sum(raw) for value in raw]
    got = class_probabilities(torch.tensor(COUNTS), 0.2, min_points=4).tolist()
    assert got == pytest.approx([*expected, 0.0])
    assert class_probabilities(torch.tensor(COUNTS), 0.2, min_points=5)[2] == 0
    # At the published temperature nearly all draws are of the rarest class.
    assert class_probabilities(torch.tensor(COUNTS), 0.01)[2] > 0.99


def test_images_are_drawn_by_class_and_then_among_those_that_show_it() -> None:
    data = sampling()
    draws = 3000
    seen = Counter(round(data[0, draw]["input"][0, 0, 0].item() * 255) for draw in range(draws))
    zero, one, two, _ = data.probabilities.tolist()
    expected = [zero / 4, zero / 4 + one / 2, zero / 4 + one / 2 + two, zero / 4]
    assert [seen[i] / draws for i in range(4)] == pytest.approx(expected, abs=0.03)


def test_a_draw_fixes_the_sample_whatever_the_index() -> None:
    first, second = sampling()[0, 17], sampling()[3, 17]
    assert torch.equal(first["input"], second["input"])
    assert len({round(sampling()[0, draw]["input"].mean().item() * 255) for draw in range(20)}) > 1
    other = [round(sampling(seed=1)[0, draw]["input"].mean().item() * 255) for draw in range(20)]
    assert other != [round(sampling()[0, draw]["input"].mean().item() * 255) for draw in range(20)]


def test_crops_are_drawn_again_until_they_show_half_of_the_points() -> None:
    # Class 1 in the last two columns of 20: a random crop of 4 columns seldom shows them.
    mask = torch.zeros(4, 20, dtype=torch.int64)
    mask[:, 18:] = 1
    samples = [Sample(torch.zeros(3, 4, 20, dtype=torch.uint8), mask, "a")]
    data = labelled(samples, 4)
    drawn = RareClassSampling(data, samples, 2, seed=0, temperature=1e-3, min_points=8)
    with_class = sum(int((drawn[0, draw]["target"] == 1).sum()) >= 4 for draw in range(200)) / 200
    plain = sum(int((data[0, draw]["target"] == 1).sum()) >= 4 for draw in range(200)) / 200
    assert plain < 0.2
    assert with_class == pytest.approx(1 - (1 - 2 / 17) ** 10, abs=0.1)


def test_counts_are_kept_in_a_file_and_those_of_other_images_refused(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    first = sampling(counts_file=str(path))
    assert json.loads(path.read_text()) == COUNTS
    changed = [[row[0], row[1], 0, 0] for row in COUNTS]
    path.write_text(json.dumps(changed))
    assert first.probabilities[2] > 0
    assert sampling(counts_file=str(path)).probabilities[2] == 0
    path.write_text(json.dumps(COUNTS[:3]))
    with pytest.raises(ConfigError, match=r"counts_file: .* shape \(3, 4\), expected 4 images and 4 classes"):
        sampling(counts_file=str(path))
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"counts_file: .* cannot be read"):
        sampling(counts_file=str(path))


def test_faults_are_named() -> None:
    with pytest.raises(ConfigError, match="temperature: got 0"):
        sampling(temperature=0)
    with pytest.raises(ConfigError, match="min_points: got 0"):
        sampling(min_points=0)
    with pytest.raises(DataError, match="no labelled image has 61 points of one class, at most 60; lower it"):
        sampling(min_points=61)
    bare = [SAMPLES[0]._replace(mask=None)]
    with pytest.raises(DataError, match="0: is in the labelled set and has no mask"):
        count_points(bare, 4)
