"""Whatever comes in, nothing but a ResidualSSLError comes out: random tensors and damaged files.

With ``HYPOTHESIS_PROFILE=long`` (the slow tier) the tests of this file take 22,500 examples and more, else 100 each.
"""

import io
import json
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from residual_ssl import Selector, TrustedMask
from residual_ssl.data.images import read_image, read_mask
from residual_ssl.data.splits.lists import read_list
from residual_ssl.diagnostics.quality import selection_quality
from residual_ssl.diagnostics.ranking import aurc
from residual_ssl.engine.records.run_log import LOG_NAME, read_log
from residual_ssl.errors import ResidualSSLError
from residual_ssl.perturbations import CutMix
from residual_ssl.runtime import checkpoint
from residual_ssl.selection import FixedThreshold, LabelPropagation, selector_classes

pytestmark = [
    *([pytest.mark.slow] if os.environ.get("HYPOTHESIS_PROFILE") == "long" else []),
    pytest.mark.filterwarnings("ignore"),
]

CLASSES = 3
ARGUMENTS = {
    "ConstrainedConvexSelector": (CLASSES,),
    "DistributionAlignment": (FixedThreshold(0.5),),
    "PerLabel": (FixedThreshold(0.5), 2),
    "PooledPropagation": (FixedThreshold(0.5), LabelPropagation()),
    "RegionVote": (FixedThreshold(0.5),),
    "ReliableRegions": (FixedThreshold(0.5),),
}
SHAPES = st.sampled_from([(), (0,), (1,), (7,), (2, 3), (0, 4), (3, 2, 2)])
seeds = st.integers(0, 2**20)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def logits(draw: st.DrawFn) -> Tensor:
    """``(B, K, *S)``, an empty batch, one class and values that are no numbers included."""
    shape = (draw(st.integers(0, 5)), draw(st.integers(1, 5)), *draw(SHAPES))
    values = torch.randn(shape, generator=generator(draw(seeds))) * draw(st.sampled_from([0.0, 1.0, 30.0, 1e30]))
    if values.numel() and draw(st.booleans()):
        place = draw(st.integers(0, values.numel() - 1))
        values.view(-1)[place] = draw(st.sampled_from([float("nan"), float("inf"), float("-inf")]))
    return values.to(draw(st.sampled_from([torch.float32, torch.float64, torch.float16, torch.int64])))


def evidence(selector: Selector, x: Tensor, seed: int) -> dict[str, Tensor]:
    points = (x.shape[0], *x.shape[2:])
    made = {
        "second": x.roll(1, 0),
        "earlier": torch.stack([x, x.roll(1, 0)]),
        "features": x,
        "regions": torch.randint(-1, 4, points, generator=generator(seed)),
        "stored": torch.stack([x.argmax(1), x.argmin(1)], 1),
        "truth": torch.randint(0, x.shape[1], points, generator=generator(seed)),
    }
    return {name: made[name] for name in selector.evidence}


def made(name: str) -> Selector:
    return selector_classes()[name](*ARGUMENTS.get(name, ()))


@given(name=st.sampled_from(sorted(selector_classes())), x=logits(), seed=seeds, share=st.sampled_from([0, 0.5, 1]))
def test_selectors_judge_any_logits(name: str, x: Tensor, seed: int, share: float) -> None:
    points = (x.shape[0], *x.shape[2:])
    valid = torch.rand(points, generator=generator(seed)) < share
    with suppress(ResidualSSLError):
        selector = made(name)
        if selector.needs.pool:
            labels = torch.randint(-1, CLASSES + 1, points, generator=generator(seed))
            selector.fit_pool(x.float(), labels, x.float(), x.shape[1], ignore_index=-1)
        chosen = selector(x, valid, **evidence(selector, x, seed))
        assert chosen.weight.shape == points
        assert ((chosen.weight >= 0) & chosen.weight.isfinite()).all()
        assert not chosen.weight[~valid].any()


@given(name=st.sampled_from(sorted(selector_classes())), x=logits(), seed=seeds)
def test_selectors_learn_from_any_labels(name: str, x: Tensor, seed: int) -> None:
    labels = torch.randint(-2, CLASSES + 3, (x.shape[0], *x.shape[2:]), generator=generator(seed))
    with suppress(ResidualSSLError):
        selector = made(name)
        selector.update_from_labels(x, labels)
        selector(x, **evidence(selector, x, seed))


@given(shape=SHAPES, batch=st.integers(0, 4), seed=seeds, ratio=st.floats(-0.5, 1.5), block=st.integers(-1, 9))
def test_masking_keeps_what_is_not_trusted(
    shape: tuple[int, ...], batch: int, seed: int, ratio: float, block: int
) -> None:
    x = 1 + torch.rand(batch, 2, *shape, generator=generator(seed))
    trusted = torch.rand(batch, *shape, generator=generator(seed)) < 0.5
    with suppress(ResidualSSLError):
        shown, mask = TrustedMask(ratio=ratio, block=block)(x, trusted)
        assert not (mask & ~trusted).any()
        assert torch.equal((shown == 0).all(1), mask)


@given(
    size=st.lists(st.integers(0, 9), max_size=3),
    batch=st.integers(0, 4),
    probability=st.floats(-0.5, 1.5),
    area=st.tuples(st.floats(-0.1, 1.2), st.floats(-0.1, 1.2)),
)
def test_mixing_gives_a_box_of_the_size_asked_for(
    size: list[int], batch: int, probability: float, area: tuple[float, float]
) -> None:
    with suppress(ResidualSSLError):
        boxes = CutMix(probability, area)(batch, tuple(size), torch.device("cpu"))
        assert (boxes.dtype, tuple(boxes.shape)) == (torch.bool, (batch, *size))


@given(x=logits(), seed=seeds, threshold=st.floats(0, 1))
def test_metrics_are_shares(x: Tensor, seed: int, threshold: float) -> None:
    with suppress(ResidualSSLError):
        chosen = FixedThreshold(threshold)(x)
        truth = torch.randint(0, CLASSES + 1, chosen.label.shape, generator=generator(seed))
        for value in selection_quality(chosen, truth).values():
            assert value.isnan() or -1e-6 <= value <= 1 + 1e-6
        area = aurc(chosen.confidence.flatten(), (chosen.label == truth).flatten())
        assert area.isnan() or -1e-6 <= area <= 1 + 1e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


def damaged(original: bytes) -> st.SearchStrategy[bytes]:
    """The file cut off, with some bytes overwritten, or something else altogether."""
    place = st.integers(0, len(original) - 1)
    overwritten = st.tuples(place, st.binary(min_size=1, max_size=4)).map(
        lambda change: original[: change[0]] + change[1] + original[change[0] + len(change[1]) :]
    )
    return st.one_of(place.map(lambda end: original[:end]), overwritten, st.binary(max_size=80), st.just(original))


def image_file(mode: str, kind: str) -> bytes:
    file = io.BytesIO()
    pixels = np.arange(6 * 5 * len(mode), dtype=np.uint8).reshape(6, 5, *([3] if mode == "RGB" else []))
    Image.fromarray(pixels, mode).save(file, kind)
    return file.getvalue()


def checkpoint_file() -> bytes:
    file = io.BytesIO()
    torch.save({"model": {"w": torch.zeros(2)}, "config": {"steps": 1}, "step": 1}, file)
    return file.getvalue()


LINES = st.lists(st.text(max_size=12), max_size=6).map(lambda lines: "\n".join(lines).encode())


@given(content=st.one_of(LINES, damaged(b"a.jpg m.png\nb.jpg\tm b.png\n# c\nd.jpg\n")))
def test_split_lists_are_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "list.txt"
    path.write_bytes(content)
    with suppress(ResidualSSLError):
        entries = read_list(path)
        assert len({entry.image for entry in entries}) == len(entries) > 0


@given(content=damaged(checkpoint_file()))
def test_checkpoints_are_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "last.pt"
    path.write_bytes(content)
    with suppress(ResidualSSLError):
        assert {"model", "config"} <= checkpoint.load(path).keys()


@given(content=damaged("".join(json.dumps({"step": i, "train/loss": 0.5}) + "\n" for i in range(4)).encode()))
def test_logs_are_read_or_refused(folder: Path, content: bytes) -> None:
    (folder / LOG_NAME).write_bytes(content)
    with suppress(ResidualSSLError):
        assert all(isinstance(row, dict) for row in read_log(folder))


FILES = [image_file("RGB", "PNG"), image_file("L", "PNG"), image_file("RGB", "JPEG"), image_file("L", "TIFF")]


@given(content=st.one_of(*map(damaged, FILES)))
def test_images_and_masks_are_read_or_refused(folder: Path, content: bytes) -> None:
    path = folder / "image.png"
    path.write_bytes(content)
    with suppress(ResidualSSLError):
        assert read_image(path).shape[0] == 3
    with suppress(ResidualSSLError):
        assert read_mask(path).dim() == 2
