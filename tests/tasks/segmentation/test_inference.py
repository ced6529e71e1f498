"""Inference: every mode against a slow version of its definition, at odd sizes; what is judged with a centre crop."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_config
from PIL import Image
from torch import Tensor, nn

from residual_ssl import compose
from residual_ssl.config.components import build
from residual_ssl.engine.evaluation import evaluate_model
from residual_ssl.errors import InvalidInputError
from residual_ssl.tasks.segmentation import Inference
from residual_ssl.tasks.segmentation.inference import augmented, sliding_window, whole

CLASSES = 3


@pytest.fixture
def network() -> nn.Module:
    """Float64, blind to nothing: the kernels have no symmetry, and padding shows where a window ends."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, CLASSES, 5, padding=2)).double()


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def softmax(logits: Sequence[float]) -> list[float]:
    powers = [math.exp(x) for x in logits]
    return [power / sum(powers) for power in powers]


@torch.no_grad()
def windows_by_definition(network: nn.Module, image: Tensor, window: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Mean probabilities ``(K, H, W)``, pixel by pixel over all windows that contain it."""
    height, width = image.shape[1:]

    def starts(side: int, size: int, step: int) -> list[int]:
        if size >= side:
            return [0]
        return sorted({min(start, side - size) for start in range(0, side, step)})

    answers = {
        (top, left): network(image[None, :, top : top + window[0], left : left + window[1]])[0]
        for top in starts(height, window[0], stride[0])
        for left in starts(width, window[1], stride[1])
    }
    result = torch.zeros(CLASSES, height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            seen = [
                softmax(answer[:, y - top, x - left].tolist())
                for (top, left), answer in answers.items()
                if 0 <= y - top < window[0] and 0 <= x - left < window[1]
            ]
            for k in range(CLASSES):
                result[k, y, x] = sum(probabilities[k] for probabilities in seen) / len(seen)
    return result


@pytest.mark.parametrize(
    ("size", "window", "stride"),
    [
        ((13, 17), (6, 6), (4, 4)),
        ((13, 17), (5, 8), (5, 3)),
        ((12, 18), (6, 6), (6, 6)),  # windows that meet exactly
        ((7, 19), (9, 8), (6, 5)),  # lower than the window
        ((5, 4), (9, 9), (6, 6)),  # smaller on both sides: one window, the image
        ((11, 11), (4, 4), (1, 1)),
    ],
)
def test_sliding_windows_average_the_probabilities_of_all_windows_that_see_a_pixel(
    network: nn.Module, size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> None:
    x = images(2, 3, *size)
    with torch.no_grad():
        found = sliding_window(network, x, window, stride)
    for image, logits in zip(x, found, strict=True):
        expected = windows_by_definition(network, image, window, stride)
        torch.testing.assert_close(logits.exp(), expected)
        torch.testing.assert_close(logits.softmax(0), expected)  # log-probabilities are logits of their probabilities


def test_the_stride_is_two_thirds_of_the_window_where_none_is_given(network: nn.Module) -> None:
    x = images(1, 3, 14, 11)
    assert torch.equal(sliding_window(network, x, (7, 6)), sliding_window(network, x, (7, 6), (4, 4)))
    assert Inference(window=801).stride == (534, 534)


def test_a_cityscapes_image_is_seen_by_eight_windows_of_801_a_few_at_a_time() -> None:
    shapes, corners = [], []

    def network(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        corners.extend((int(pixels[0, 0, 0]), int(pixels[1, 0, 0])) for pixels in x)
        return x[:, :2]

    rows, columns = torch.meshgrid(torch.arange(1024.0), torch.arange(2048.0), indexing="ij")
    inference = build(compose(["dataset=cityscapes", "dataset.root=/x"])["task"]["inference"])
    found = inference(network, torch.stack([rows, columns, rows])[None])
    assert found.shape == (1, 2, 1024, 2048)
    assert shapes == [(4, 3, 801, 801)] * 2
    assert corners == [(top, left) for top in (0, 223) for left in (0, 534, 1068, 1247)]


@pytest.mark.parametrize("window_batch", [1, 2, 5, 100])
def test_windows_together_are_as_windows_one_by_one(network: nn.Module, window_batch: int) -> None:
    x = images(2, 3, 13, 17)
    one_by_one = torch.cat([sliding_window(network, image[None], (6, 7), (4, 5), window_batch=1) for image in x])
    torch.testing.assert_close(sliding_window(network, x, (6, 7), (4, 5), window_batch=window_batch), one_by_one)


def test_whole_images_give_the_networks_own_logits(network: nn.Module) -> None:
    x = images(2, 3, 9, 14)
    assert torch.equal(whole(network, x), network(x))
    assert torch.equal(Inference()(network, x), network(x))


def test_logits_of_a_smaller_size_are_resized_to_the_image() -> None:
    found = whole(lambda x: x[:, :1, :1, ::2], torch.tensor([0.0, 9, 4, 9]).expand(1, 3, 2, 4))
    torch.testing.assert_close(found, torch.tensor([0.0, 1, 3, 4]).expand(1, 1, 2, 4))  # pixel centres at ¼, ¾ …


def test_a_flip_averages_with_the_mirrored_prediction_of_the_mirrored_image(network: nn.Module) -> None:
    x = images(2, 3, 8, 11)
    columns = list(reversed(range(11)))
    mirrored = network(x[..., columns])[..., columns]
    assert not torch.allclose(mirrored, network(x), atol=0.01)  # or this test would see no difference
    expected = (network(x).softmax(1) + mirrored.softmax(1)) / 2
    torch.testing.assert_close(Inference(flip=True)(network, x).exp(), expected)


def test_a_flip_reaches_every_window(network: nn.Module) -> None:
    x = images(1, 3, 10, 13)
    columns = list(reversed(range(13)))
    plain = windows_by_definition(network, x[0], (6, 6), (4, 4))
    mirrored = windows_by_definition(network, x[0][..., columns], (6, 6), (4, 4))[..., columns]
    with torch.no_grad():
        found = Inference(window=6, flip=True)(network, x)[0]
    torch.testing.assert_close(found.exp(), (plain + mirrored) / 2)


def test_scales_average_probabilities_at_the_size_of_the_image(network: nn.Module) -> None:
    x = images(1, 3, 10, 15)
    smaller = nn.functional.interpolate(x, (5, 8), mode="bilinear", antialias=True)  # round(7.5) is 8
    logits = nn.functional.interpolate(network(smaller), (10, 15), mode="bilinear")
    torch.testing.assert_close(Inference(scales=[0.5])(network, x), logits)
    expected = (network(x).softmax(1) + logits.softmax(1)) / 2
    torch.testing.assert_close(Inference(scales=[1.0, 0.5])(network, x).exp(), expected)


def test_averages_keep_classes_without_probability_finite_and_broken_logits_broken() -> None:
    def network(x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), 2, *x.shape[2:])
        logits[:, 1] = -1000
        logits[:, :, 0, 0] = float("nan")
        return logits

    found = augmented(network, torch.zeros(1, 3, 4, 4), flip=True)
    broken = torch.zeros(4, 4, dtype=torch.bool)
    broken[0, [0, 3]] = True
    assert torch.equal(found.isfinite().all(dim=1)[0], ~broken)
    assert torch.equal(found.softmax(1)[0, 0][~broken], torch.ones(14))


def test_half_precision_logits_are_averaged_in_single_precision() -> None:
    found = sliding_window(lambda x: x[:, :2].bfloat16(), torch.zeros(1, 3, 5, 5), (3, 3))
    assert found.dtype == torch.float32


@pytest.mark.parametrize(("size", "crop", "expected"), [((9, 12), 5, (2, 3, 5, 5)), ((9, 4), (4, 7), (2, 0, 4, 4))])
def test_with_a_centre_crop_nothing_else_is_judged_or_seen(
    tmp_path: Path, size: tuple[int, int], crop: int | tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for kind, shape, high in (("images", (*size, 3), 256), ("masks", size, 2)):
            (tmp_path / part / kind).mkdir(parents=True)
            pixels = rng.integers(0, high, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / part / kind / "0.png")
    overrides = ["dataset=folders", f"dataset.root={tmp_path}", "dataset.classes=[a,b]", "dataset.labelled=1"]
    crops = f"dataset.inference.center_crop={list(crop) if isinstance(crop, tuple) else crop}"
    task = build(compose([*overrides, crops])["task"], "task")
    seen = []

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(task.display(x)[0])
            return torch.stack([torch.ones_like(x[:, 0]), torch.zeros_like(x[:, 0])], dim=1)

    figures = evaluate_model(task, Network(), torch.device("cpu"))
    top, left, height, width = expected
    judged = (slice(top, top + height), slice(left, left + width))
    image = np.asarray(Image.open(tmp_path / "val" / "images" / "0.png"))[judged]
    mask = np.asarray(Image.open(tmp_path / "val" / "masks" / "0.png"))[judged]
    torch.testing.assert_close(seen[0], torch.from_numpy(image.copy()).permute(2, 0, 1) / 255)
    assert figures["pixel_accuracy"] == pytest.approx(100 * float((mask == 0).mean()))


def test_windows_and_flips_in_evaluation_come_from_the_configuration(tmp_path: Path) -> None:
    overrides = ["dataset.inference.window=[40,48]", "dataset.inference.flip=true", "dataset.inference.scales=[1,1.25]"]
    task = build(tiny_config(tmp_path, *overrides)["task"], "task")
    assert repr(task.inference) == (
        "Inference(window=(40, 48), stride=(26, 32), window_batch=4, scales=(1.0, 1.25), flip=True, center_crop=None)"
    )
    torch.manual_seed(0)
    model = task.build_model()
    whole_batch = evaluate_model(task, model, torch.device("cpu"), batch=6)
    assert evaluate_model(task, model, torch.device("cpu"), batch=1) == pytest.approx(whole_batch)
    x = torch.rand(1, 3, 64, 64)
    model.eval()
    expected = task.inference(lambda images: model(task.view(images, "plain")), x)
    assert torch.equal(task.predict(model, x), expected)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"window": 0}, "window: got 0, expected a side ≥ 1"),
        ({"window": [4, 5, 6]}, r"window: got \[4, 5, 6\], expected a side"),
        ({"stride": 3}, "stride: got 3 without a window"),
        ({"window": 4, "stride": 5}, "stride: got 5, expected at most the window"),
        ({"window": 4, "window_batch": 0}, "window_batch: got 0"),
        ({"scales": []}, r"scales: got \[\], expected one or more factors > 0"),
        ({"scales": [1, -1]}, r"scales: got \[1, -1\]"),
        ({"center_crop": [3, 0]}, r"center_crop: got \[3, 0\]"),
    ],
)
def test_choices_outside_their_range_are_named(choices: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Inference(**choices)  # type: ignore[arg-type]
