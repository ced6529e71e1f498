"""Fixed threshold and no selection."""

import pytest
import torch

from residual_ssl import FixedThreshold
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import TrustAll
from residual_ssl.testing import SelectorContract, random_logits


class TestFixedThreshold(SelectorContract):
    def make(self) -> FixedThreshold:
        return FixedThreshold(0.6)


class TestNoSelection(SelectorContract):
    def make(self) -> TrustAll:
        return TrustAll()


def test_the_threshold_itself_is_accepted() -> None:
    logits = random_logits((3, 5, 50))
    confidence = logits.softmax(1).amax(1)
    threshold = confidence.flatten()[7].item()
    chosen = FixedThreshold(threshold)(logits)
    assert torch.equal(chosen.trusted, chosen.confidence >= threshold)
    assert torch.equal(chosen.weight, chosen.trusted.double())
    torch.testing.assert_close(chosen.coverage, (confidence >= threshold).double().mean(), atol=0.01, rtol=0)


def test_no_selection_takes_every_valid_point() -> None:
    chosen = TrustAll()(random_logits((3, 5, 50)))
    assert chosen.coverage == 1


def test_a_threshold_outside_its_range_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"threshold: got 95, expected a number in \[0, 1\]"):
        FixedThreshold(95)
