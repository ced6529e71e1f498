"""Random numbers and counts do not depend on how a batch is divided."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from residual_ssl import TrustedMask
from residual_ssl.perturbations import CutMix, FeatureDropout, Photometric
from residual_ssl.runtime.global_batch import batch_part, mean_count, uniform

CPU = torch.device("cpu")


def boxes(x: Tensor) -> Tensor:
    mix = CutMix(probability=0.7)
    box = mix(len(x), tuple(x.shape[2:]), x.device)
    return torch.where(box.unsqueeze(1), x[mix.partners(len(x), x.device)], x)


def masked(x: Tensor) -> Tensor:
    return TrustedMask(block=8)(x, torch.ones(len(x), *x.shape[2:], dtype=torch.bool))[0]


PERTURBATIONS = [Photometric(), FeatureDropout(0.5), boxes, masked]


@pytest.mark.parametrize("perturb", PERTURBATIONS, ids=["photometric", "feature dropout", "cutmix", "trusted mask"])
def test_parts_of_a_batch_are_perturbed_as_the_whole(perturb: Callable[[Tensor], Tensor]) -> None:
    x = torch.rand(8, 3, 24, 24, generator=torch.Generator().manual_seed(0))

    def perturbed(parts: int, seed: int = 5) -> Tensor:
        out = []
        for part, rows in enumerate(x.chunk(parts)):
            torch.manual_seed(part)  # must not matter
            with batch_part(seed, part, parts):
                out.append(perturb(rows))
        return torch.cat(out)

    whole = perturbed(1)
    assert not torch.equal(whole, x)
    assert torch.equal(perturbed(2), whole)
    assert torch.equal(perturbed(4), whole)
    assert not torch.equal(perturbed(1, seed=6), whole)


def test_successive_draws_of_a_block_differ() -> None:
    with batch_part(0, 1, 2):
        assert not torch.equal(uniform(3, 2, device=CPU), uniform(3, 2, device=CPU))


def test_without_a_block_draws_come_from_the_global_generator() -> None:
    with batch_part(0):
        pass
    torch.manual_seed(3)
    drawn = uniform(2, 4, device=CPU)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2, 4))


def test_a_block_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    with batch_part(0):
        uniform(10, device=CPU)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))


def test_a_count_on_one_process_is_itself_and_at_least_one() -> None:
    for count, expected in ((7, 7), (0, 1)):
        assert mean_count(torch.tensor(count)) == expected
        with batch_part(0):
            assert mean_count(torch.tensor(count)) == expected
