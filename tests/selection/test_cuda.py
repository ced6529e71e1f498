"""Selectors on a GPU: the CPU's results, without waiting for the device."""

import pytest
import torch
from selector_contract import random_logits

from residual_ssl import ConvexSelector, FixedThreshold, Selector, TrustedMask

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

SELECTORS = [FixedThreshold(0.6), ConvexSelector(), ConvexSelector("covar"), ConvexSelector(gamma=0.1, temperature=0.3)]


@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_weights_are_those_of_the_cpu_and_nothing_waits(selector: Selector, dtype: torch.dtype) -> None:
    logits = random_logits((2, 19, 64, 64), dtype)
    expected = selector(logits)
    moved = logits.cuda()
    selector(moved)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        chosen = selector(moved)
        TrustedMask(block=8)(moved, chosen.trusted)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert chosen.weight.is_cuda
    torch.testing.assert_close(chosen.weight.cpu(), expected.weight, atol=2e-4, rtol=0)
    assert (chosen.trusted.cpu() == expected.trusted).float().mean() > 0.9995
