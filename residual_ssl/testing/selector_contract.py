"""What every selector must satisfy; a selector's test file subclasses :class:`SelectorContract`."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from residual_ssl.selection import Selection, Selector
from residual_ssl.testing.predictions import (
    SHAPES,
    NothingWaits,
    assert_same,
    evidence_for,
    fields_of,
    judge,
    labels_for,
    random_logits,
)


class SelectorContract:
    """Subclasses give :meth:`make`.

    Attributes:
        per_sample: whether a sample's result depends on that sample alone.
        host_free: whether the selector promises never to wait for the device, and to compile in one graph.
        own_label: whether the pseudo-label is the largest logit.
        tolerance: how far weights may be from each other for another order of the points, or shifted logits.
    """

    per_sample = True
    host_free = True
    own_label = True
    tolerance = 1e-9

    def make(self) -> Selector:
        raise NotImplementedError

    def _judge(self, logits: Tensor, valid: Tensor | None = None) -> Selection:
        return judge(self.make(), logits, valid)

    def trained(self) -> Selector:
        """The selector after a few steps of training, with labels where it learns from them."""
        selector = self.make()
        for step in range(3):
            self.train_step(selector, step)
        return selector

    def train_step(self, selector: Selector, step: int) -> Selection:
        labelled = random_logits((3, 5, 6, 4), torch.float32, seed=100 + step)
        selector.update_from_labels(labelled, labels_for(labelled, step))
        return judge(selector, random_logits((3, 5, 7, 5), torch.float32, seed=200 + step))

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [
            *((shape, torch.float32) for shape in SHAPES),
            *((SHAPES[1], dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16)),
        ],
        ids=str,
    )
    def test_shapes_dtypes_and_ranges(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        logits = random_logits(shape, dtype)
        chosen = self._judge(logits)
        points = (shape[0], *shape[2:])
        assert all(value.shape == points for value in fields_of(chosen).values())
        assert chosen.label.dtype == torch.int64
        assert chosen.trusted.dtype == chosen.valid.dtype == torch.bool
        expected = torch.float64 if dtype == torch.float64 else torch.float32
        assert chosen.weight.dtype == chosen.confidence.dtype == chosen.residual.dtype == expected
        assert bool((chosen.weight >= 0).all())
        assert bool((chosen.weight <= 1).all())
        assert bool((chosen.weight[chosen.trusted] == 1).all())
        assert not self.own_label or torch.equal(chosen.label, logits.argmax(1))
        assert not chosen.weight.requires_grad
        if chosen.target is not None:
            assert chosen.target.shape == logits.shape
            assert chosen.target.dtype == expected
            torch.testing.assert_close(chosen.target.sum(1), torch.ones(points, dtype=expected))
        if chosen.negative is not None:
            assert chosen.negative.shape == logits.shape
            assert chosen.negative.dtype == torch.bool
            assert not chosen.negative.gather(1, chosen.label.unsqueeze(1)).any()

    @pytest.mark.parametrize("shape", SHAPES)
    def test_single_precision_agrees_with_double(self, shape: tuple[int, ...]) -> None:
        exact, single = self._judge(random_logits(shape)), self._judge(random_logits(shape, torch.float32))
        torch.testing.assert_close(single.weight.double(), exact.weight, atol=1e-4, rtol=0)

    def test_no_valid_point(self) -> None:
        logits = random_logits((2, 5, 6, 6))
        chosen = self._judge(logits, torch.zeros(2, 6, 6, dtype=torch.bool))
        assert not chosen.weight.any()
        assert not chosen.trusted.any()
        assert chosen.coverage == 0

    def test_an_empty_sample_beside_a_full_one(self) -> None:
        logits = random_logits((2, 5, 6, 6))
        valid = torch.ones(2, 6, 6, dtype=torch.bool)
        valid[0] = False
        chosen = self._judge(logits, valid)
        assert not chosen.weight[0].any()
        assert all(bool(value.isfinite().all()) for value in fields_of(chosen).values())
        torch.testing.assert_close(chosen.weight[1:], self._judge(logits[1:]).weight)

    def test_invalid_points_have_no_influence(self) -> None:
        logits = random_logits((2, 5, 6, 6))
        valid = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.4
        changed = torch.where(valid.unsqueeze(1), logits, 50 * random_logits((2, 5, 6, 6), seed=2))
        torch.testing.assert_close(self._judge(logits, valid).weight, self._judge(changed, valid).weight)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
    def test_points_with_non_finite_logits_are_left_out_and_counted(self, bad: float) -> None:
        logits = random_logits((2, 5, 6, 6))
        broken = logits.clone()
        broken[0, 2, 3, 3] = bad
        chosen = self._judge(broken)
        valid = torch.ones(2, 6, 6, dtype=torch.bool)
        valid[0, 3, 3] = False
        assert chosen.diagnostics["nonfinite"] == 1
        assert torch.equal(chosen.valid, valid)
        assert all(bool(value.isfinite().all()) for value in fields_of(chosen).values())
        assert chosen.negative is None or not chosen.negative[0, :, 3, 3].any()
        assert chosen.target is None or bool(chosen.target.isfinite().all())
        torch.testing.assert_close(chosen.weight, self._judge(logits, valid).weight)

    def test_two_classes(self) -> None:
        chosen = self._judge(random_logits((2, 2, 8, 8)))
        assert bool((chosen.residual == 0).all())
        assert 0 < chosen.coverage <= 1

    def test_a_shift_of_the_logits_changes_nothing(self) -> None:
        logits = random_logits((2, 5, 8, 8))
        shift = 10 * torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        assert_same(self._judge(logits + shift), self._judge(logits), atol=self.tolerance, rtol=self.tolerance)

    def test_a_permutation_of_the_points_permutes_the_result(self) -> None:
        logits = random_logits((2, 5, 60))
        order = torch.randperm(60, generator=torch.Generator().manual_seed(4))
        plain = self._judge(logits).map(lambda points: points[..., order])
        moved = self._judge(logits[:, :, order])
        assert_same(moved, plain, atol=self.tolerance, rtol=self.tolerance)

    def test_a_batch_equals_the_loop_over_its_samples(self) -> None:
        if not self.per_sample:
            pytest.skip("the selector looks at the whole batch")
        logits = random_logits((4, 5, 8, 8))
        whole = self._judge(logits)
        parts = [self._judge(sample.unsqueeze(0)) for sample in logits]
        torch.testing.assert_close(whole.weight, torch.cat([part.weight for part in parts]))

    def test_autocast_changes_nothing(self) -> None:
        logits = random_logits((2, 5, 8, 8), torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = self._judge(logits)
        assert_same(mixed, self._judge(logits))

    def test_copies_and_pickles_work_alike(self) -> None:
        selector = self.make()
        logits = random_logits((2, 5, 8, 8))
        twins = [copy.deepcopy(selector), pickle.loads(pickle.dumps(selector)), self.make()]
        twins[2].load_state_dict(selector.state_dict())
        expected = judge(selector, logits)
        for twin in twins:
            assert_same(judge(twin, logits), expected)

    def test_training_goes_on_from_a_saved_state_as_it_would_have(self) -> None:
        selector, restored = self.trained(), self.make()
        restored.load_state_dict(copy.deepcopy(selector.state_dict()))
        for step in (3, 4):
            assert_same(self.train_step(restored, step), self.train_step(selector, step))
        for name, value in selector.state_dict().items():
            assert torch.equal(restored.state_dict()[name], value), name

    def test_evaluation_leaves_the_state_as_it_is(self) -> None:
        selector = self.trained().eval()
        before = copy.deepcopy(selector.state_dict())
        first, again = self.train_step(selector, 3), self.train_step(selector, 3)
        assert_same(first, again)
        assert all(torch.equal(value, before[name]) for name, value in selector.state_dict().items())

    def test_state_stays_finite_through_batches_without_a_valid_point(self) -> None:
        selector, logits = self.trained(), random_logits((2, 5, 4, 4), torch.float32)
        selector.update_from_labels(logits, torch.full((2, 4, 4), 255))
        judge(selector, logits, torch.zeros(2, 4, 4, dtype=torch.bool))
        judge(selector, torch.full_like(logits, torch.nan))
        assert all(bool(value.isfinite().all()) for value in selector.state_dict().values())
        chosen = self.train_step(selector, 3)
        assert all(bool(value.isfinite().all()) for value in fields_of(chosen).values())

    def test_nothing_waits_for_the_device(self) -> None:
        if not self.host_free:
            pytest.skip("the selector solves its program on the host")
        selector, logits = self.trained(), random_logits((2, 5, 6, 6), torch.float32)
        target, valid = labels_for(logits), torch.ones(2, 6, 6, dtype=torch.bool)
        with NothingWaits():  # type: ignore[no-untyped-call]
            selector.update_from_labels(logits, target)
            judge(selector, logits, valid)

    def test_it_compiles_in_one_graph(self) -> None:
        if not self.host_free:
            pytest.skip("the selector solves its program on the host")
        eager, traced = self.trained(), self.trained()
        logits = random_logits((2, 5, 6, 6), torch.float32)
        torch.compiler.reset()
        compiled: Callable[[Tensor], Selection] = torch.compile(
            lambda x: judge(traced, x), backend="aot_eager", fullgraph=True
        )
        for _ in range(2):
            assert_same(compiled(logits), judge(eager, logits), atol=1e-6, rtol=1e-5)
        for name, value in eager.state_dict().items():
            torch.testing.assert_close(traced.state_dict()[name], value)

    def test_a_first_call_under_inference_mode_leaves_a_state_that_can_be_trained(self) -> None:
        selector, plain = self.make().eval(), self.make()
        logits = random_logits((3, 5, 7, 5), torch.float32)
        with torch.inference_mode():
            judge(selector, logits)
        selector.train()
        for step in range(2):
            assert_same(self.train_step(selector, step), self.train_step(plain, step))

    def test_a_selector_made_and_moved_under_inference_mode_can_be_trained(self) -> None:
        with torch.inference_mode():
            selector = self.make().to("cpu", torch.float64)
        plain = self.make()
        for step in range(2):
            assert_same(self.train_step(selector, step), self.train_step(plain, step))

    def test_a_first_call_without_gradients_leaves_a_state_that_can_be_trained(self) -> None:
        selector = self.make().eval()
        with torch.no_grad():
            judge(selector, random_logits((3, 5, 7, 5), torch.float32))
        assert_same(self.train_step(selector.train(), 0), self.train_step(self.make(), 0))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
    def test_memory_keeps_value_and_dtype_when_the_network_around_it_is_cast(self, dtype: torch.dtype) -> None:
        selector = self.trained()
        before = copy.deepcopy(selector.state_dict())
        nn.ModuleList([selector]).to(dtype)
        for name, value in selector.state_dict().items():
            assert value.dtype == before[name].dtype, name
            assert torch.equal(value, before[name]), name
            assert not value.is_floating_point() or value.dtype.itemsize >= 4, name
        plain = self.make()
        plain.load_state_dict(before)
        assert_same(self.train_step(selector, 3), self.train_step(plain, 3))

    @pytest.mark.parametrize("shape", [(0, 5, 4, 4), (3, 5, 0, 4)], ids=str)
    def test_a_batch_without_points_gives_an_empty_selection(self, shape: tuple[int, ...]) -> None:
        selector = self.trained()
        for mode in (True, False):
            chosen = judge(selector.train(mode), torch.zeros(shape))
            assert chosen.coverage == 0
            assert all(value.shape == (shape[0], *shape[2:]) for value in fields_of(chosen).values())
            assert chosen.target is None or chosen.target.shape == shape
            assert chosen.negative is None or chosen.negative.shape == shape
        assert all(bool(value.isfinite().all()) for value in selector.state_dict().values())

    def test_needs_say_what_the_selector_takes(self) -> None:
        selector, logits = self.make(), random_logits((3, 5, 7, 5), torch.float32)
        before = copy.deepcopy(selector.state_dict())
        target = labels_for(logits)
        selector.update_from_labels(logits, target)
        learned = any(not torch.equal(value, before[name]) for name, value in selector.state_dict().items())
        assert selector.needs.labels or not learned
        selector.on_train_start(7)
        selector.on_train_start(9)
        if not selector.needs.fit:
            judge(selector, logits)
        for name in selector.needs.evidence:
            without = {key: value for key, value in evidence_for(selector, logits).items() if key != name}
            with pytest.raises(TypeError, match=name):
                selector(logits, **without)

    def test_wrong_input_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"logits: got torch.int64"):
            self._judge(torch.zeros(2, 5, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"logits: got shape \(2, 1, 4\)"):
            self._judge(torch.zeros(2, 1, 4))
        with pytest.raises(ValueError, match=r"valid: got torch.bool of shape \(2, 3\)"):
            self._judge(torch.zeros(2, 5, 4), torch.ones(2, 3, dtype=torch.bool))
        with pytest.raises(ValueError, match=r"valid: got torch.float32"):
            self._judge(torch.zeros(2, 5, 4), torch.ones(2, 4))
        with pytest.raises(ValueError, match=r"logits: got shape \(6,\)"):
            self.make()(torch.zeros(6))
        with pytest.raises(ValueError, match=r"logits: got list"):
            self.make()([[0.0, 1.0]])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"valid: got list"):
            self.make()(torch.zeros(2, 5), [True, False])  # type: ignore[arg-type]
