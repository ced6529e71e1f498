"""Selectors on a GPU: the CPU's results, without waiting for the device."""

import copy

import pytest
import torch

from residual_ssl import ConvexSelector, FixedThreshold, Selector, TrustedMask
from residual_ssl.selection import (
    AdaMatchThreshold,
    AgreementThreshold,
    CAFSThreshold,
    ConfidenceWeight,
    ConfidentShare,
    ConsistentTeacherThreshold,
    CorrMatchThreshold,
    CWBASSThreshold,
    DashThreshold,
    DistributionAlignment,
    DMTWeight,
    EntropyWeight,
    FlexMatchThreshold,
    FreeMatchThreshold,
    SharpenedThreshold,
    ShrinkMatchThreshold,
    SoftMatchWeight,
    TopFraction,
    U2PLThreshold,
    UCCWeight,
)
from residual_ssl.selection.features import prediction_features
from residual_ssl.testing import judge, labels_for, random_logits

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SELECTORS = [
    FixedThreshold(0.6),
    ConvexSelector(),
    ConvexSelector("covar"),
    ConvexSelector(gamma=0.1, temperature=0.3),
    ConvexSelector(scope="window"),
    AgreementThreshold(0.5),
    CAFSThreshold(0.5),
    ConfidenceWeight(0.4, 0.9),
    ConfidentShare(0.6),
    FlexMatchThreshold(0.6, 0.5),
    DistributionAlignment(AdaMatchThreshold(), momentum=0.5),
    UCCWeight(0.5),
    U2PLThreshold(10, 0.4, (3, 12)),
    EntropyWeight(),
    CWBASSThreshold(0.8),
    SoftMatchWeight(momentum=0.5),
    DashThreshold(10),
    ConsistentTeacherThreshold(),
    CorrMatchThreshold(0.5, 0.5),
    DMTWeight(),
    FreeMatchThreshold(0.5),
    SharpenedThreshold(0.5),
    ShrinkMatchThreshold(0.7),
    TopFraction(10, balance="labelled", scope="window"),
]


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_those_of_the_cpu_and_nothing_waits(selector: Selector, dtype: torch.dtype) -> None:
    logits = random_logits((2, 19, 64, 64), dtype)
    target = labels_for(logits)
    on_cpu, on_gpu = copy.deepcopy(selector), copy.deepcopy(selector).cuda()
    for _ in range(2):
        on_cpu.update_from_labels(logits, target)
        expected = judge(on_cpu, logits)
    moved, labels = logits.cuda(), target.cuda()
    on_gpu.update_from_labels(moved, labels)
    judge(on_gpu, moved)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        on_gpu.update_from_labels(moved, labels)
        chosen = judge(on_gpu, moved)
        TrustedMask(block=8)(moved, chosen.trusted)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert chosen.weight.is_cuda
    # A point at the edge of a threshold may fall on its other side.
    assert ((chosen.weight.cpu() - expected.weight).abs() <= 2e-4).double().mean() > 0.9995
    assert (chosen.trusted.cpu() == expected.trusted).float().mean() > 0.9995


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(70_000, 10), (2, 2, 65), (3, 21, 33, 47), (1, 1000, 130)], ids=str)
def test_the_kernel_gives_the_features_of_the_cpu(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    logits = random_logits(shape, dtype)
    logits.view(*shape[:2], -1)[0, 1, 0] = float("nan")
    formats = [torch.contiguous_format] + [torch.channels_last] * (len(shape) == 4)
    for options in ({}, {"residual": "released"}, {"scaled": True}):
        expected = prediction_features(logits.double(), **options)
        for memory in formats:
            got = prediction_features(logits.cuda().to(memory_format=memory), **options)
            assert torch.equal(got.label.cpu(), expected.label)
            for one, other in zip(got[:2], expected[:2], strict=True):
                torch.testing.assert_close(one.cpu().double(), other, rtol=1e-4, atol=1e-7)
