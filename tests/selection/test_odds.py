"""The pass over the logits by blocks against the definition in whole passes, in double precision."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.utils._python_dispatch import TorchDispatchMode

from residual_ssl import ConvexSelector, FixedThreshold, Selector
from residual_ssl.selection import features
from residual_ssl.selection.features import JudgedPoints, judged_points
from residual_ssl.selection.points import blocks
from residual_ssl.selection.points.probabilities import mean_probabilities
from residual_ssl.testing import random_logits


def in_whole_passes(logits: Tensor, valid: Tensor | None = None, **options: Any) -> JudgedPoints:
    """The features as autograd takes them, of the logits in double precision."""
    return JudgedPoints(*(x.detach() for x in judged_points(logits.double().requires_grad_(), valid, **options)))


def assert_equals_whole_passes(logits: Tensor, valid: Tensor | None = None, **options: Any) -> None:
    got, expected = judged_points(logits, valid, **options), in_whole_passes(logits, valid, **options)
    for name in ("label", "valid", "finite"):
        assert torch.equal(getattr(got, name), getattr(expected, name)), name
    double = logits.dtype == torch.float64
    for name in ("confidence", "residual"):
        assert getattr(got, name).dtype == (torch.float64 if double else torch.float32)
        tolerance = {"rtol": 1e-10, "atol": 1e-15} if double else {"rtol": 1e-4, "atol": 1e-7}
        torch.testing.assert_close(getattr(got, name).double(), getattr(expected, name), **tolerance)


@pytest.fixture(params=[2, 24, 150, 10**6])
def _numbers_in_a_block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of one point, of part of an image, of several images, and of all."""
    monkeypatch.setattr(blocks, "_NUMBERS_PER_THREAD", request.param // torch.get_num_threads())
    monkeypatch.setattr(features, "_POINTS_AT_ONCE", max(request.param // 5, 1))


SHAPES = [(1, 2), (7, 3), (5, 4, 1), (3, 5, 11), (2, 3, 4, 7), (2, 6, 3, 2, 5)]
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.usefixtures("_numbers_in_a_block")
@pytest.mark.parametrize(("shape", "dtype"), list(itertools.product(SHAPES, DTYPES)), ids=str)
def test_blocks_of_any_size_give_the_features_of_the_definition(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    valid = torch.rand(shape[0], *shape[2:], generator=torch.Generator().manual_seed(1)) > 0.3
    logits = random_logits(shape, dtype)
    assert_equals_whole_passes(logits)
    assert_equals_whole_passes(logits, valid, residual="released")
    assert_equals_whole_passes(logits, valid, scaled=True)


def test_means_over_the_points_are_the_same_bits_in_every_call() -> None:
    logits = random_logits((4, 21, 120, 120), torch.float32)
    points = judged_points(logits)
    first = mean_probabilities(logits, points)
    assert all(torch.equal(mean_probabilities(logits, points), first) for _ in range(20))
    torch.testing.assert_close(first, logits.softmax(1).mean((0, 2, 3)), rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("_numbers_in_a_block")
def test_the_order_of_the_memory_makes_no_difference() -> None:
    logits = random_logits((3, 5, 6, 7), torch.float32)
    formats = {
        "channels last": logits.to(memory_format=torch.channels_last),
        "cut out": torch.nn.functional.pad(logits, (1, 2, 3, 4))[..., 3:-4, 1:-2],
        "reversed": logits.flip(0, 2).contiguous().flip(0, 2),
        "classes before images": logits.transpose(0, 1).contiguous().transpose(0, 1),
        "one image for all": logits[:1].expand_as(logits),
    }
    for name, same in formats.items():
        expected = judged_points(same.clone(memory_format=torch.contiguous_format))
        for got, wanted in zip(judged_points(same), expected, strict=True):
            assert torch.equal(got, wanted), name


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equal_logits_give_the_first_class(dtype: torch.dtype) -> None:
    logits = torch.randint(0, 3, (2, 6, 40), generator=torch.Generator().manual_seed(0)).to(dtype)
    assert_equals_whole_passes(logits)
    assert torch.equal(judged_points(torch.zeros(2, 300, 3, dtype=dtype)).label, torch.zeros(2, 3, dtype=torch.int64))


def test_the_nearest_logits_are_told_apart() -> None:
    top = torch.tensor([1.0, -1.0, 1e-20, 3e38, 100.0])
    logits = torch.stack([torch.nextafter(top, torch.tensor(-torch.inf)), top, top / 2 - 1], 1)
    assert torch.equal(judged_points(logits).label, torch.ones(5, dtype=torch.int64))
    assert_equals_whole_passes(logits)


@pytest.mark.usefixtures("_numbers_in_a_block")
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_non_finite_logits_are_seen_wherever_they_stand(bad: float, dtype: torch.dtype) -> None:
    logits = random_logits((4, 5, 9), dtype)
    for number, k in enumerate((0, 2, 4)):
        logits[1, k, number] = bad
    logits[2, :, 4] = bad
    logits[3, :2, 8] = bad
    assert_equals_whole_passes(logits)
    expected = torch.zeros(4, 9, dtype=torch.bool)
    expected[1, :3] = expected[2, 4] = expected[3, 8] = True
    assert torch.equal(~judged_points(logits).finite, expected)


def test_logits_as_large_as_the_dtype_holds_are_finite() -> None:
    largest = torch.finfo(torch.float32).max
    logits = torch.tensor([[largest, -largest, -largest], [-largest, largest, largest], [largest] * 3])
    got = judged_points(logits)
    assert bool(got.finite.all())
    torch.testing.assert_close(got.confidence, torch.tensor([1.0, 0.5, 1 / 3]))
    assert got.label.tolist() == [0, 1, 0]


def test_a_default_device_is_not_that_of_the_logits() -> None:
    logits = random_logits((2, 3, 4))
    expected = judged_points(logits)
    with torch.device("meta"):
        got = judged_points(logits)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_nothing_of_the_size_of_the_logits_is_made(order: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_NUMBERS_PER_THREAD", 2**14 // torch.get_num_threads())
    logits = torch.zeros(2, 64, 32, 128).to(memory_format=order)
    own, made = logits.untyped_storage(), set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            storage = result.untyped_storage() if isinstance(result, Tensor) else own
            if storage.data_ptr() != own.data_ptr():
                made.add(storage.nbytes())
            return result

    with Watch():  # type: ignore[no-untyped-call]
        judged_points(logits)
    assert max(made) <= 2 * 4 * 2**14 < own.nbytes() / 8


@pytest.mark.parametrize(
    ("selector", "times"), [(FixedThreshold(), 1), pytest.param(ConvexSelector(), 2, marks=pytest.mark.slow)], ids=str
)
def test_a_compiled_step_takes_images_of_any_size(selector: Selector, times: int) -> None:
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda x: selector(x).weight, backend=counter, fullgraph=True, dynamic=True)
    for images, side in ((2, 24), (2, 24), (3, 28), (5, 33), (4, 40)):
        logits = random_logits((images, 4, side, side + 1), torch.float32, seed=side)
        torch.testing.assert_close(compiled(logits), selector(logits).weight, rtol=1e-4, atol=1e-6)
    assert counter.frame_count <= times
