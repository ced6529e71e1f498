"""The Triton kernel of the features, by Triton's interpreter, against the definition; and that it compiles."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from residual_ssl.selection.features import prediction_features
from residual_ssl.testing import random_logits

triton = pytest.importorskip("triton", reason="no Triton beside this build of torch")

# Triton reads it when it is imported, so that these tests need a process of their own.
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run in a process of its own, by test_the_kernel_interpreted")


@pytest.mark.skipif(INTERPRETED, reason="is that process")
def test_the_kernel_interpreted() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", __file__]
    done = subprocess.run(command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def assert_equals_definition(
    logits: Tensor, valid: Tensor | None = None, released: bool = False, scaled: bool = False
) -> None:
    from residual_ssl.selection.points.kernel import features_by_kernel

    *values, label, keep, finite = features_by_kernel(
        logits, valid, released=released, scaled=scaled, scale_epsilon=1e-8
    )
    exact = logits.double().requires_grad_()  # in whole passes, as autograd takes them
    expected = prediction_features(exact, valid, residual="released" if released else "paper", scaled=scaled)
    assert torch.equal(finite, logits.isfinite().all(1))
    assert torch.equal(keep, finite if valid is None else finite & valid)
    assert torch.equal(label, expected.label)
    double = logits.dtype == torch.float64
    tolerance = {"rtol": 1e-10, "atol": 1e-15} if double else {"rtol": 1e-4, "atol": 1e-7}
    for got, wanted in zip(values, (expected.confidence, expected.residual), strict=True):
        assert got.dtype == (torch.float64 if double else torch.float32)
        torch.testing.assert_close(got.double(), wanted.detach(), **tolerance)


@interpreted
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of logits that are not finite
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((7, 3), torch.float16),
        ((3, 2, 11), torch.float64),
        ((2, 19, 5, 7), torch.float32),
        ((1, 150, 3, 2, 2), torch.bfloat16),
    ],
    ids=str,
)
def test_the_features_are_those_of_the_definition(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    valid = torch.rand(shape[0], *shape[2:], generator=torch.Generator().manual_seed(1)) > 0.3
    logits = random_logits(shape, dtype)
    flat = logits.view(shape[0], shape[1], -1)
    flat[0, 1, 0], flat[-1, 0, -1], flat[1 % len(flat), -1, 0] = float("nan"), float("inf"), -float("inf")
    assert_equals_definition(logits)
    assert_equals_definition(logits, valid, released=True)
    assert_equals_definition(logits, valid, scaled=True)


@interpreted
def test_logits_are_read_where_they_lie() -> None:
    logits = random_logits((2, 21, 6, 5), torch.float32)
    assert_equals_definition(logits.to(memory_format=torch.channels_last))
    assert_equals_definition(logits[:, 2:9, 1:, ::2])
    assert_equals_definition(logits[:0])


@interpreted
def test_more_classes_than_a_tile_holds_and_equal_logits() -> None:
    assert_equals_definition(random_logits((1, 200, 9), torch.float32))
    rising = torch.arange(130.0).repeat(2, 1)  # the largest logit comes later in every tile
    assert_equals_definition(torch.stack([rising, rising.flip(1)], 2))
    equal = torch.zeros(1, 140, 2)
    equal[0, 100, 1] = equal[0, 30, 1] = 5.0
    assert_equals_definition(equal)
    far = torch.full((1, 70, 1), -1e4)
    far[0, 3], far[0, 69] = 1e4, 1e4 - 1
    assert_equals_definition(far)


@pytest.mark.skipif(INTERPRETED, reason="compiles nothing")
@pytest.mark.parametrize("architecture", [75, 90])
def test_it_compiles_for_gpus(architecture: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from residual_ssl.selection.points import kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")
    constants = {
        **{"HAS_VALID": True, "RELEASED": True, "SCALED": True},
        **{"WIDE": triton.language.float32, "CLASSES": 32, "POINTS": 128},
    }
    types = {
        **{"logits": "*bf16", "valid": "*i8", "confidence": "*fp32", "residual": "*fp32", "label": "*i64"},
        **{"keep": "*i8", "finite": "*i8", "points": "i32", "classes": "i32", "of_image": "i32", "of_class": "i32"},
        **{"of_point": "i32", "scale_epsilon": "fp32"},
    }
    source = ASTSource(kernel._features, {**types, **dict.fromkeys(constants, "constexpr")}, constants)
    assert triton.compile(source, target=GPUTarget("cuda", architecture, 32)).asm["cubin"]
