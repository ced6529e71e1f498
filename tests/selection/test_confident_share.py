"""ConfidentShare: one weight for a group, counted point by point."""

import pytest
import torch

from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConfidentShare
from residual_ssl.testing import SelectorContract, random_logits


class TestSample(SelectorContract):
    def make(self) -> ConfidentShare:
        return ConfidentShare(0.6)


class TestBatch(SelectorContract):
    per_sample = False

    def make(self) -> ConfidentShare:
        return ConfidentShare(0.6, "batch", background=0)


@pytest.mark.parametrize("background", [None, 2])
@pytest.mark.parametrize("scope", ["sample", "batch"])
def test_the_weight_is_the_share_of_the_group(scope: str, background: int | None) -> None:
    logits = random_logits((3, 4, 5, 6))
    valid = torch.rand(3, 5, 6, generator=torch.Generator().manual_seed(1)) < 0.8
    chosen = ConfidentShare(0.7, scope, background)(logits, valid)  # type: ignore[arg-type]
    confidence, label = logits.softmax(1).max(1)
    for sample in range(3):
        members = [sample] if scope == "sample" else [0, 1, 2]
        group = [
            float(confidence[b, i, j]) >= 0.7
            for b in members
            for i in range(5)
            for j in range(6)
            if valid[b, i, j] and label[b, i, j] != background
        ]
        share = sum(group) / len(group)
        assert 0 < share < 1
        expected = torch.where(valid[sample], torch.tensor(share, dtype=torch.float64), 0.0)
        torch.testing.assert_close(chosen.weight[sample], expected)
    assert not chosen.trusted.any()


def test_a_group_that_is_confident_throughout_is_trusted_and_one_of_background_alone_weighs_nothing() -> None:
    logits = torch.tensor([9.0, 0.0]).view(1, 2, 1).expand(2, 2, 7)
    assert ConfidentShare()(logits).trusted.all()
    assert not ConfidentShare(background=0)(logits).weight.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 2}, "threshold: got 2"),
        ({"scope": "image"}, "scope: got 'image', expected one of 'sample', 'batch'"),
        ({"background": -1}, "background: got -1"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ConfidentShare(**options)  # type: ignore[arg-type]
