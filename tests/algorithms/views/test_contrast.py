"""U2PL's contrast: negatives and loss by loops, a memory that forgets the oldest, and that it trains."""

import math
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config, tiny_digits
from torch import Tensor

from residual_ssl import evaluate, train
from residual_ssl.algorithms import ContrastiveMemory
from residual_ssl.algorithms.views.contrast import LabelledPoints, at_grid
from residual_ssl.engine.records.run_log import read_log

K, D = 4, 5


def predictions(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(count, K, generator=generator)).softmax(1)


def points(count: int, seed: int = 0) -> LabelledPoints:
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 4, (count,), generator=generator)  # known, reliable, unreliable, not valid
    return LabelledPoints(torch.randint(0, K, (count,), generator=generator), kind == 0, kind == 1, kind == 2)


def test_negatives_are_classes_of_low_rank_and_those_that_a_label_excludes() -> None:
    p, known = predictions(60), points(60)
    found = ContrastiveMemory(K, D, ranks=(2, 4)).negatives_of(p, known)
    for i in range(60):
        order = sorted(range(K), key=lambda k, i=i: -float(p[i, k]))  # type: ignore[misc]
        for k in range(K):
            expected = False
            if known.unreliable[i]:
                expected = 2 <= order.index(k) < 4
            elif known.known[i]:
                expected = k != known.label[i] and order.index(k) < 2
            assert bool(found[i, k]) == expected


def test_the_loss_is_that_of_loops_over_classes_and_anchors() -> None:
    count = 40
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(count, D, generator=generator, dtype=torch.float64, requires_grad=True)
    teachers = torch.randn(count, D, generator=generator, dtype=torch.float64)
    p, known = predictions(count, 1), points(count, 2)
    known = known._replace(known=torch.zeros(count, dtype=torch.bool))
    same = torch.randn(D, generator=generator, dtype=torch.float64).float().double()
    teachers[known.unreliable] = same  # whichever negatives are drawn, they are this one
    memory = ContrastiveMemory(K, D, anchors=count, negatives=7, ranks=(2, 4), temperature=0.4, certain=0.1)
    loss = memory(z, teachers, p, known)

    def cosine(a: Tensor, b: Tensor) -> float:
        return (a @ b / a.norm() / b.norm()).item()

    losses = []
    for k in range(K):
        own = [i for i in range(count) if known.reliable[i] and known.label[i] == k and p[i, k] > 0.1]
        negatives = [i for i in range(count) if known.unreliable[i] and (p[i] > p[i, k]).sum() >= 2]
        if not own or not negatives:
            continue
        centre = teachers[own].mean(0)
        terms = []
        for i in own:
            right, wrong = math.exp(cosine(z[i], centre) / 0.4), math.exp(cosine(z[i], same) / 0.4)
            terms.append(-math.log(right / (right + 7 * wrong)))
        losses.append(sum(terms) / len(terms))
    assert len(losses) > 1
    assert float(loss) == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    loss.backward()
    assert z.grad is not None
    assert not z.grad[known.unreliable].any()


def test_the_memory_keeps_the_last_of_each_class_and_one_without_any_adds_nothing() -> None:
    memory = ContrastiveMemory(2, 1, anchors=3, size=4, ranks=(1, 2))
    p = torch.tensor([[0.9, 0.1]]).expand(3, 2)  # class 1 has rank 1
    for step in range(3):
        values = torch.full((3, 1), float(step))
        unreliable = torch.tensor([True, step != 1, False])
        none = torch.zeros(3, dtype=torch.bool)
        loss = memory(values, values, p, LabelledPoints(torch.zeros(3, dtype=torch.long), none, none, unreliable))
        assert loss == 0
    assert memory.filled.tolist() == [0, 4]
    assert sorted(memory.features[1].flatten().tolist()) == [0.0, 1.0, 2.0, 2.0]  # of 0 0 1 2 2


def test_a_grid_takes_the_points_under_its_centres() -> None:
    assert at_grid(torch.arange(12).view(1, 3, 4), (3, 2)).tolist() == [[[1, 3], [5, 7], [9, 11]]]
    assert at_grid(torch.tensor([3, 4]), ()).tolist() == [3, 4]


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_it_trains_pixels_and_its_run_is_evaluated(tmp_path: Path) -> None:
    start = tiny_config(tmp_path / "start", "algorithm=supervised", "steps=1", "evaluate_every=1", "warmup_steps=0")
    train(start)
    changes = ["algorithm=u2pl_contrast", "algorithm.ranks=[1,4]", "algorithm.dim=8", "algorithm.size=16"]
    changes += ["algorithm.certain=0"]
    short = ["steps=2", "evaluate_every=2", f"init_from={tmp_path / 'start' / 'last.pt'}"]
    result = train(tiny_config(tmp_path / "run", *changes, *short))
    rows = [row for row in read_log(tmp_path / "run") if "train/loss_contrast" in row]
    assert len(rows) == 2
    assert all(0 < row["train/loss_contrast"] < 10 for row in rows)
    again = evaluate(tmp_path / "run", checkpoint_name="last.pt", device="cpu")
    assert again["miou"] == pytest.approx(result.last["miou"], abs=1e-4)


@pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")
def test_it_trains_whole_samples(tmp_path: Path) -> None:
    train(tiny_digits(tmp_path / "run", "algorithm=u2pl_contrast", "algorithm.ranks=[1,4]", "algorithm.dim=8"))
    assert any("train/loss_contrast" in row for row in read_log(tmp_path / "run"))
