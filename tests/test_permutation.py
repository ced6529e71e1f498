"""An order that takes no memory is an order: every number once, another one for every seed."""

import pytest
import torch

from residual_ssl.engine.setup import loading
from residual_ssl.runtime.permutation import KeyedPermutation


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 16, 17, 100, 1000, 4095, 4097])
def test_every_number_occurs_once(length: int) -> None:
    order = KeyedPermutation(length, seed=3)
    assert sorted(order[i] for i in range(length)) == list(range(length))
    with pytest.raises(IndexError):
        order[length]


def test_neighbours_land_far_apart_and_seeds_differ() -> None:
    length = 20_000
    orders = torch.tensor([[KeyedPermutation(length, seed)[i] for i in range(2000)] for seed in range(4)]).double()
    # Of numbers drawn at random the mean is (N-1)/2 and neighbours are N/3 apart.
    assert ((orders.mean(1) / length - 0.5).abs() < 0.03).all()
    assert ((orders.diff(dim=1).abs().mean(1) / length - 1 / 3).abs() < 0.03).all()
    correlation = torch.corrcoef(orders)
    assert (correlation - torch.eye(4)).abs().max() < 0.1


def test_ten_billion_samples_have_an_order_at_once() -> None:
    order = KeyedPermutation(10**10, seed=0)
    found = [order[i] for i in range(1000)]
    assert len(set(found)) == 1000
    assert max(found) > 9 * 10**9


def test_large_sets_are_drawn_without_a_list_divided_and_continued_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_LISTED", 50)

    def batches(start: int, process: int, processes: int, count: int) -> list[list[tuple[int, int]]]:
        sampler = loading.StepSampler(101, 4, seed=7, start=start, process=process, processes=processes)
        turns = iter(sampler)
        return [next(turns) for _ in range(count)]

    whole = batches(0, 0, 1, 60)
    indices = [index for batch in whole for index, _ in batch]
    assert sorted(indices[:101]) == sorted(indices[101:202]) == list(range(101))
    assert indices[:101] != indices[101:202]
    assert batches(31, 0, 1, 5) == whole[31:36]
    halves = zip(batches(0, 0, 2, 60), batches(0, 1, 2, 60), strict=True)
    assert [a + b for a, b in halves] == whole
