"""Every rule with memory on two processes: both hold one state, that of a single process with the whole batch."""

import copy
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from residual_ssl import ConvexSelector, Selector
from residual_ssl.selection import (
    AdaMatchThreshold,
    CAFSThreshold,
    ConsistentTeacherThreshold,
    CorrMatchThreshold,
    CWBASSThreshold,
    DashThreshold,
    DistributionAlignment,
    FlexMatchThreshold,
    FreeMatchThreshold,
    ReliableRegions,
    SoftMatchWeight,
    STPlusPlusSelector,
    SuppressedConsistency,
    TopFraction,
    U2PLThreshold,
    selector_classes,
)
from residual_ssl.testing import judge, labels_for, random_logits

State = dict[str, torch.Tensor]

RULES: dict[str, Selector] = {
    "CorrMatchThreshold": CorrMatchThreshold(0.5, 0.9),
    "U2PLThreshold": U2PLThreshold(10),
    "FlexMatchThreshold": FlexMatchThreshold(0.6, 0.5),
    "FreeMatchThreshold": FreeMatchThreshold(0.5),
    "SoftMatchWeight": SoftMatchWeight(2.0, 0.5),
    "DistributionAlignment": DistributionAlignment(SoftMatchWeight(2.0, 0.5), momentum=0.5),
    "AdaMatchThreshold": AdaMatchThreshold(0.9, 0.5),
    "DashThreshold": DashThreshold(100),
    "TopFraction": TopFraction(10, balance="labelled", scope="window", window=40),
    "ConsistentTeacherThreshold": ConsistentTeacherThreshold(scope="window", window=40),
    "CAFSThreshold": CAFSThreshold(),
    "CWBASSThreshold": CWBASSThreshold(),
    "STPlusPlusSelector": STPlusPlusSelector(window=7),
    "SuppressedConsistency": SuppressedConsistency(SoftMatchWeight(2.0, 0.5)),
    "ReliableRegions": ReliableRegions(CorrMatchThreshold(0.5, 0.9), window=40),
    "ConvexSelector of a window": ConvexSelector(scope="window", window=40),
}
# Their state comes from fit or fit_pool, which every process calls on the same data.
FITTED = {
    "CategoryDiscovery",
    "ConformalSelector",
    "ConstrainedConvexSelector",
    "LabelPropagation",
    "LearnedConvexSelector",
    "PooledPropagation",
    "PrototypeCleaner",
    "WADWeight",
}
# Hold other rules, and have no state beside theirs.
HOLDERS = {"PerLabel", "RegionVote"}


def test_no_rule_with_memory_is_forgotten() -> None:
    without = {name for name in selector_classes() if _without_memory(name)}
    assert set(RULES) >= set(selector_classes()) - FITTED - HOLDERS - without


def _without_memory(name: str) -> bool:
    return (selector_classes()[name].__doc__ or "").count("State: none.") == 1


def batches() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Predictions with validity, and labelled ones: more points are valid in the first half, which one process has."""
    made = []
    for seed in range(3):
        logits, labelled = random_logits((4, 5, 6), seed=seed), random_logits((4, 5, 3), seed=50 + seed)
        valid = torch.ones(4, 6, dtype=torch.bool)
        valid[2, 1:] = False
        valid[3] = seed > 0
        made.append((logits, valid, labelled, labels_for(labelled, seed)))
    return made


def states_after(rules: dict[str, Selector], half: int | None) -> dict[str, State]:
    rules = copy.deepcopy(rules)  # what is sent to a process shares its memory with the other
    rows = slice(None) if half is None else slice(2 * half, 2 * half + 2)
    for rule in rules.values():
        for logits, valid, labelled, target in batches():
            rule.update_from_labels(labelled[rows], target[rows])
            judge(rule, logits[rows], valid[rows])
    return {name: rule.state_dict() for name, rule in rules.items()}


def _alone(rank: int) -> None:
    """A process that judges for a report waits for no other."""
    if rank == 0:
        for rule in copy.deepcopy(RULES).values():
            judge(rule.eval(), batches()[0][0])


def _run(rank: int, folder: str, rules: dict[str, Selector]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    torch.save(states_after(rules, rank), f"{folder}/{rank}.pt")
    _alone(rank)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def on_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, State]]:
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(_run, (str(folder), RULES), nprocs=2)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]


@cache
def on_one() -> dict[str, State]:
    return states_after(RULES, None)


@pytest.mark.parametrize("name", RULES)
def test_both_hold_the_same_state(name: str, on_two: Any) -> None:
    first, second = (states[name] for states in on_two)
    assert first
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.mark.parametrize("name", RULES)
def test_it_is_the_state_of_one_process_with_all_points(name: str, on_two: Any) -> None:
    for key, value in on_one()[name].items():
        torch.testing.assert_close(on_two[0][name][key], value, msg=lambda text, key=key: f"{key}: {text}")
