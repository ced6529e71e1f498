"""What every selector must satisfy; a selector's test file subclasses :class:`SelectorContract`."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from residual_ssl import Selection, Selector

SHAPES = [(16, 5), (3, 5, 40), (2, 5, 12, 10), (2, 5, 4, 6, 5)]


def random_logits(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Logits of mixed confidence: the scale differs from point to point."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64)
    scale = 6 * torch.rand((shape[0], 1, *shape[2:]), generator=generator, dtype=torch.float64)
    return (logits * scale).to(dtype)


def fields_of(selection: Selection) -> dict[str, Tensor]:
    names = ("label", "weight", "trusted", "valid", "confidence", "residual")
    return {name: getattr(selection, name) for name in names}


def assert_same(first: Selection, second: Selection, **tolerance: float) -> None:
    for (name, a), b in zip(fields_of(first).items(), fields_of(second).values(), strict=True):
        torch.testing.assert_close(a, b, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


class SelectorContract:
    """Subclasses give :meth:`make`; ``per_sample`` says whether a sample's result depends on that sample alone."""

    per_sample = True

    def make(self) -> Selector:
        raise NotImplementedError

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    def test_shapes_dtypes_and_ranges(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        logits = random_logits(shape, dtype)
        chosen = self.make()(logits)
        points = (shape[0], *shape[2:])
        assert all(value.shape == points for value in fields_of(chosen).values())
        assert chosen.label.dtype == torch.int64
        assert chosen.trusted.dtype == chosen.valid.dtype == torch.bool
        expected = torch.float64 if dtype == torch.float64 else torch.float32
        assert chosen.weight.dtype == chosen.confidence.dtype == chosen.residual.dtype == expected
        assert bool((chosen.weight >= 0).all())
        assert bool((chosen.weight <= 1).all())
        assert bool((chosen.weight[chosen.trusted] == 1).all())
        assert torch.equal(chosen.label, logits.argmax(1))

    @pytest.mark.parametrize("shape", SHAPES)
    def test_single_precision_agrees_with_double(self, shape: tuple[int, ...]) -> None:
        exact, single = self.make()(random_logits(shape)), self.make()(random_logits(shape, torch.float32))
        torch.testing.assert_close(single.weight.double(), exact.weight, atol=1e-4, rtol=0)

    def test_no_valid_point(self) -> None:
        logits = random_logits((2, 5, 6, 6))
        chosen = self.make()(logits, torch.zeros(2, 6, 6, dtype=torch.bool))
        assert not chosen.weight.any()
        assert not chosen.trusted.any()
        assert chosen.coverage == 0

    def test_an_empty_sample_beside_a_full_one(self) -> None:
        logits = random_logits((2, 5, 6, 6))
        valid = torch.ones(2, 6, 6, dtype=torch.bool)
        valid[0] = False
        chosen = self.make()(logits, valid)
        assert not chosen.weight[0].any()
        assert all(bool(value.isfinite().all()) for value in fields_of(chosen).values())
        torch.testing.assert_close(chosen.weight[1:], self.make()(logits[1:]).weight)

    def test_invalid_points_have_no_influence(self) -> None:
        logits = random_logits((2, 5, 6, 6))
        valid = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.4
        changed = torch.where(valid.unsqueeze(1), logits, 50 * random_logits((2, 5, 6, 6), seed=2))
        torch.testing.assert_close(self.make()(logits, valid).weight, self.make()(changed, valid).weight)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_points_with_non_finite_logits_are_left_out_and_counted(self, bad: float) -> None:
        logits = random_logits((2, 5, 6, 6))
        broken = logits.clone()
        broken[0, 2, 3, 3] = bad
        chosen = self.make()(broken)
        valid = torch.ones(2, 6, 6, dtype=torch.bool)
        valid[0, 3, 3] = False
        assert chosen.diagnostics["nonfinite"] == 1
        assert torch.equal(chosen.valid, valid)
        assert all(bool(value.isfinite().all()) for value in fields_of(chosen).values())
        torch.testing.assert_close(chosen.weight, self.make()(logits, valid).weight)

    def test_two_classes(self) -> None:
        chosen = self.make()(random_logits((2, 2, 8, 8)))
        assert bool((chosen.residual == 0).all())
        assert 0 < chosen.coverage <= 1

    def test_a_shift_of_the_logits_changes_nothing(self) -> None:
        logits = random_logits((2, 5, 8, 8))
        shift = 10 * torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        assert_same(self.make()(logits + shift), self.make()(logits), atol=1e-9, rtol=1e-9)

    def test_a_permutation_of_the_points_permutes_the_result(self) -> None:
        logits = random_logits((2, 5, 60))
        order = torch.randperm(60, generator=torch.Generator().manual_seed(4))
        plain = self.make()(logits)
        assert_same(self.make()(logits[:, :, order]), plain.map(lambda points: points[:, order]), atol=1e-9, rtol=1e-9)

    def test_a_batch_equals_the_loop_over_its_samples(self) -> None:
        if not self.per_sample:
            pytest.skip("the rule looks at the whole batch")
        logits = random_logits((4, 5, 8, 8))
        whole = self.make()(logits)
        parts = [self.make()(sample.unsqueeze(0)) for sample in logits]
        torch.testing.assert_close(whole.weight, torch.cat([part.weight for part in parts]))

    def test_autocast_changes_nothing(self) -> None:
        logits = random_logits((2, 5, 8, 8), torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = self.make()(logits)
        assert_same(mixed, self.make()(logits))

    def test_copies_and_pickles_work_alike(self) -> None:
        selector = self.make()
        logits = random_logits((2, 5, 8, 8))
        twins = [copy.deepcopy(selector), pickle.loads(pickle.dumps(selector)), self.make()]
        twins[2].load_state_dict(selector.state_dict())
        expected = selector(logits)
        for twin in twins:
            assert_same(twin(logits), expected)

    def test_wrong_input_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"logits: got torch.int64"):
            self.make()(torch.zeros(2, 5, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"logits: got shape \(2, 1, 4\)"):
            self.make()(torch.zeros(2, 1, 4))
        with pytest.raises(ValueError, match=r"valid: got torch.bool of shape \(2, 3\)"):
            self.make()(torch.zeros(2, 5, 4), torch.ones(2, 3, dtype=torch.bool))
        with pytest.raises(ValueError, match=r"valid: got torch.float32"):
            self.make()(torch.zeros(2, 5, 4), torch.ones(2, 4))
