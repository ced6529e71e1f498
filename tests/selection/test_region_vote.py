"""RegionVote: votes and weights by hand and by loops, boundaries, what stands outside of regions, its contract."""

from collections import defaultdict

import pytest
import torch

from residual_ssl import ConvexSelector, FixedThreshold, Selection
from residual_ssl.errors import InvalidInputError
from residual_ssl.selection import ConfidenceWeight, LabelPropagation, OracleSelector, PooledPropagation, RegionVote
from residual_ssl.selection import TrustAll as TrustAllPoints
from residual_ssl.selection.graph.region_vote import at_boundaries, region_ranks, voted
from residual_ssl.testing import SelectorContract, random_logits


class TestContract(SelectorContract):
    own_label = False

    def make(self) -> RegionVote:
        return RegionVote(FixedThreshold(0.4))


class TestContractWithSoftWeights(SelectorContract):
    own_label = False

    def make(self) -> RegionVote:
        return RegionVote(ConfidenceWeight())


def selection(label: list[list[int]], weight: list[list[float]], valid: list[list[bool]] | None = None) -> Selection:
    w = torch.tensor(weight)
    return Selection(
        label=torch.tensor(label),
        weight=w,
        trusted=w == 1,
        valid=torch.ones_like(w, dtype=torch.bool) if valid is None else torch.tensor(valid),
        confidence=w,
        residual=torch.zeros_like(w),
    )


def test_labels_are_voted_by_weight_and_weights_are_shared_as_counted_by_hand() -> None:
    # Region 7: class 2 has .5 + .5, class 1 has .9; region 3: nobody has a weight; -1: no region.
    chosen = selection([[2, 2, 1, 0, 1, 2]], [[0.5, 0.5, 0.9, 0.0, 0.0, 1.0]])
    found = voted(chosen, torch.tensor([[7, 7, 7, 3, 3, -1]]), num_classes=3)
    assert found.label.tolist() == [[2, 2, 2, 0, 1, 2]]
    torch.testing.assert_close(found.weight, torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0.0, 0.0, 1.0]]))
    assert found.trusted.tolist() == [[False, False, False, False, False, True]]


def test_invalid_points_neither_vote_nor_count_and_an_agreed_region_is_trusted() -> None:
    valid = [[True, True, False, True]]
    chosen = selection([[1, 1, 0, 0]], [[1.0, 1.0, 0.0, 1.0]], valid)
    found = voted(chosen, torch.tensor([[5, 5, 5, 6]]), num_classes=2)
    assert found.weight.tolist() == [[1.0, 1.0, 0.0, 1.0]]
    assert found.trusted.tolist() == [[True, True, False, True]]


def test_votes_equal_a_loop_over_regions() -> None:
    logits = random_logits((3, 4, 6, 5), seed=5)
    generator = torch.Generator().manual_seed(0)
    regions = torch.randint(-1, 6, (3, 6, 5), generator=generator) * 1000
    valid = torch.rand(3, 6, 5, generator=generator) < 0.8
    inner = ConfidenceWeight()(logits, valid)
    found = RegionVote(ConfidenceWeight())(logits, valid, regions=regions)
    for b in range(3):
        members = defaultdict(list)
        for i in range(6):
            for j in range(5):
                if valid[b, i, j] and regions[b, i, j] >= 0:
                    members[int(regions[b, i, j])].append((i, j))
                else:
                    assert found.weight[b, i, j] == inner.weight[b, i, j]
        for points in members.values():
            votes = [sum(float(inner.weight[b][p]) for p in points if inner.label[b][p] == k) for k in range(4)]
            best = max(range(4), key=votes.__getitem__)
            for p in points:
                assert found.label[b][p] == best
                assert float(found.weight[b][p]) == pytest.approx(votes[best] / len(points))


def test_soft_targets_become_means_and_negative_labels_leave_the_voted_class() -> None:
    chosen = selection([[0, 1]], [[1.0, 0.5]])
    target = torch.tensor([[[0.8, 0.2], [0.2, 0.8]]])  # (B, K, N)
    negative = torch.tensor([[[False, True], [True, False]]])
    soft = Selection(**{**vars(chosen), "target": target, "negative": negative})
    found = voted(soft, torch.tensor([[0, 0]]), num_classes=2)
    assert found.target is not None
    assert found.negative is not None
    mean = (1.0 * 0.8 + 0.5 * 0.2) / 1.5
    torch.testing.assert_close(found.target, torch.tensor([[[mean, mean], [1 - mean, 1 - mean]]]))
    assert found.label.tolist() == [[0, 0]]
    assert found.negative.tolist() == [[[False, False], [True, False]]]


def test_boundaries_are_the_points_next_to_another_region_in_any_number_of_dimensions() -> None:
    regions = torch.tensor([[[1, 1, 1, 2], [1, 1, 1, 2], [1, 1, 1, -1]]])
    assert at_boundaries(regions).int().tolist() == [[[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]]
    volume = torch.zeros(1, 3, 3, 3, dtype=torch.long)
    volume[0, 1, 1, 1] = 4
    assert at_boundaries(volume).sum() == 7  # the voxel and its six neighbours
    logits = random_logits((1, 3, 3, 4), seed=1)
    kept = RegionVote(TrustAllPoints())(logits, regions=regions)
    left = RegionVote(TrustAllPoints(), ignore_boundaries=True)(logits, regions=regions)
    torch.testing.assert_close(left.weight, kept.weight * ~at_boundaries(regions))


def test_ids_are_any_integers_and_only_what_is_equal_counts() -> None:
    assert region_ranks(torch.tensor([[10**12, -5, 10**12, 3]])).tolist() == [[2, 0, 2, 1]]


def test_a_region_repairs_labels_that_noise_has_spoilt() -> None:
    """A property that it exists for: regions that follow the objects raise purity and coverage at once."""
    generator = torch.Generator().manual_seed(2)
    truth = torch.arange(4).repeat_interleave(4).reshape(1, 4, 4).repeat(1, 8, 8)  # 32×32
    logits = 2.0 * torch.nn.functional.one_hot(truth, 4).movedim(-1, 1) + torch.randn(1, 4, 32, 32, generator=generator)
    regions = torch.arange(64).reshape(8, 8).repeat_interleave(4, 0).repeat_interleave(4, 1)[None] * 4 + truth
    plain, by_region = TrustAllPoints()(logits), RegionVote(TrustAllPoints())(logits, regions=regions)
    assert (plain.label == truth).float().mean() < 0.9
    assert (by_region.label == truth).float().mean() > 0.95


def test_the_rule_inside_gets_what_it_asks_for() -> None:
    rule = RegionVote(OracleSelector())
    assert set(rule.needs.evidence) == {"regions", "truth"}
    logits = random_logits((1, 3, 2, 2))
    truth = logits.argmin(1)
    assert not rule(logits, regions=torch.zeros(1, 2, 2, dtype=torch.long), truth=truth).weight.any()
    assert RegionVote(PooledPropagation(ConvexSelector(), LabelPropagation())).needs.pool


def test_regions_of_another_shape_or_dtype_are_named() -> None:
    logits = random_logits((1, 3, 2, 2))
    with pytest.raises(InvalidInputError, match=r"regions: got torch.int64 of shape \(1, 4\), expected .*\(1, 2, 2\)"):
        RegionVote(TrustAllPoints())(logits, regions=torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(InvalidInputError, match=r"regions: got torch\.float32"):
        RegionVote(TrustAllPoints())(logits, regions=torch.zeros(1, 2, 2))
