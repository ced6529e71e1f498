"""What every task must keep: the shapes that algorithms rely on, and randomness that follows from the draw alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from residual_ssl.data import OUTSIDE
from residual_ssl.errors import InvalidInputError
from residual_ssl.models import EncoderDecoder
from residual_ssl.task import Batch, Task

VIEWS = ("plain", "labelled", "strong", "light")


class TaskContract:
    """Tests of any task: subclass it in a test file, give :meth:`task` as a fixture, and run pytest.

    The task needs at least four samples in each of its sets, of one size, and an augmentation that changes some input.

    Example::

        class TestWaves(TaskContract):
            @pytest.fixture
            def task(self):
                return Waves(count=8)
    """

    @pytest.fixture
    def task(self) -> Task:
        """The task to test."""
        raise NotImplementedError

    @staticmethod
    def batch(task: Task, kind: str, count: int = 4) -> Batch:
        data: Any = getattr(task, kind)(0)
        collated: Batch = default_collate([data[i, i] for i in range(count)])
        return collated

    @staticmethod
    def output(task: Task, inputs: Tensor) -> Tensor:
        torch.manual_seed(0)
        model = task.build_model().eval()
        with torch.no_grad():
            output: Tensor = model(task.view(inputs, "plain"))
        return output

    @staticmethod
    def evaluation_batch(task: Task, count: int = 4) -> tuple[Tensor, Tensor, Batch]:
        """Inputs, targets, and what else the metric is given."""
        data: Any = task.validation()
        collated: Batch = default_collate([data[i] for i in range(count)])
        return collated.pop("input"), collated.pop("target"), collated

    def test_a_model_gives_logits_of_all_classes_for_every_target(self, task: Task) -> None:
        labelled = self.batch(task, "labelled")
        output, target = self.output(task, labelled["input"]), labelled["target"]
        assert output.shape == (4, task.num_classes + task.num_values, *target.shape[1:])
        logits, values = task.parted(output)
        assert (values is None) == ("values" not in labelled)
        assert values is None or (labelled["values"].shape, labelled["values"].dtype) == (values.shape, torch.float32)
        assert target.dtype == torch.int64
        known = target[target != task.ignore_index]
        assert 0 <= known.min() <= known.max() < task.num_classes
        assert task.supervised_loss(logits, target).isfinite()
        assert task.labelled_loss(output, labelled).isfinite()

    def test_unlabelled_samples_have_no_target_and_truth_is_of_known_ids(self, task: Task) -> None:
        unlabelled = self.batch(task, "unlabelled")
        assert set(unlabelled) <= {"input", "valid", "truth", "stored", "regions"}
        shape = self.output(task, unlabelled["input"])[:, 0].shape
        if "valid" in unlabelled:
            assert (unlabelled["valid"].dtype, unlabelled["valid"].shape) == (torch.bool, shape)
        if "truth" in unlabelled:
            assert (unlabelled["truth"].dtype, unlabelled["truth"].shape) == (torch.int64, shape)
            allowed = {*range(task.num_classes), OUTSIDE, task.ignore_index}
            assert set(torch.unique(unlabelled["truth"]).tolist()) <= allowed

    def test_inputs_of_all_sets_are_of_one_kind(self, task: Task) -> None:
        batches = [self.batch(task, kind)["input"] for kind in ("labelled", "unlabelled")]
        assert {batch.dtype for batch in batches} == {torch.float32}
        assert batches[0].shape == batches[1].shape

    @pytest.mark.parametrize("kind", ["labelled", "unlabelled"])
    def test_a_sample_follows_from_seed_index_and_draw(self, task: Task, kind: str) -> None:
        first, again, other = (getattr(task, kind)(seed) for seed in (3, 3, 4))
        whole = first[1, 5]
        first[0, 0], again[2, 9]  # what was asked for before does not matter
        assert all(torch.equal(whole[name], again[1, 5][name]) for name in whole)
        draws = torch.stack([first[1, draw]["input"] for draw in range(8)])
        assert len(torch.unique(draws.flatten(1), dim=0)) > 1
        seeds = torch.stack([other[1, draw]["input"] for draw in range(8)])
        assert not torch.equal(draws, seeds)

    @pytest.mark.parametrize("kind", VIEWS)
    def test_views_keep_the_shape_and_leave_the_input_alone(self, task: Task, kind: str) -> None:
        inputs = self.batch(task, "unlabelled")["input"]
        before = inputs.clone()
        torch.manual_seed(0)
        view = task.view(inputs, kind)
        assert view.shape == inputs.shape
        assert view.isfinite().all()
        assert torch.equal(inputs, before)

    def test_the_plain_view_draws_nothing_and_treats_each_sample_by_itself(self, task: Task) -> None:
        inputs = self.batch(task, "unlabelled")["input"]
        plain = task.view(inputs, "plain")
        assert torch.equal(plain, task.view(inputs, "plain"))
        torch.testing.assert_close(task.view(inputs[1:2], "plain"), plain[1:2])

    def test_an_unknown_view_is_named(self, task: Task) -> None:
        with pytest.raises(InvalidInputError, match=r"view: got 'weak', expected one of plain"):
            task.view(self.batch(task, "unlabelled")["input"], "weak")

    def test_a_model_perturbs_the_features_of_the_samples_from_a_place_on(self, task: Task) -> None:
        torch.manual_seed(0)
        model, inputs = task.build_model().eval(), task.view(self.batch(task, "labelled")["input"], "plain")
        if not isinstance(model, EncoderDecoder):
            pytest.skip("the model maps inputs to logits alone")
        with torch.no_grad():
            clean = model(inputs)
            logits, same = model(inputs, lambda features: features * 1.0, 1).split([4, 3])
            _, other = model(inputs, torch.zeros_like, 1).split([4, 3])
            alone = model(inputs, lambda features: features * 1.0, perturbed_only=True)
        torch.testing.assert_close(logits, clean)
        torch.testing.assert_close(same, clean[1:])
        assert not torch.allclose(other, clean[1:])
        torch.testing.assert_close(alone, clean)

    def test_the_metric_adds_up_and_names_the_main_metric(self, task: Task) -> None:
        inputs, target, further = self.evaluation_batch(task)
        output = self.output(task, inputs)
        together, apart = task.metric(), task.metric()
        together.update(output, target, **further)
        for i in range(4):
            own = {name: value[i : i + 1] for name, value in further.items()}
            apart.update(output[i : i + 1], target[i : i + 1], **own)
        metrics = task.summary(together.compute())
        assert metrics == pytest.approx(task.summary(apart.compute()))
        assert 0 <= metrics[task.main_metric] <= 100

    def test_perfect_predictions_have_the_full_metric(self, task: Task) -> None:
        labelled = self.batch(task, "labelled")
        if task.num_values:
            _, target, further = self.evaluation_batch(task)
            values = [further["values"]]
        else:
            target, values, further = labelled["target"], [], {}
        shown = target.where(target != task.ignore_index, 0)
        logits = torch.nn.functional.one_hot(shown, task.num_classes).movedim(-1, 1).float()
        metric = task.metric()
        metric.update(torch.cat([logits, *values], 1), target, **further)
        assert task.summary(metric.compute())[task.main_metric] == pytest.approx(100)

    def test_evaluation_samples_are_not_augmented(self, task: Task) -> None:
        data = task.validation()
        sample = data[0]
        assert {"input", "target"} <= set(sample)
        assert all(torch.equal(sample[name], data[0][name]) for name in sample)

    def test_prediction_is_that_of_the_plain_view(self, task: Task) -> None:
        torch.manual_seed(0)
        model = task.build_model().eval()
        inputs = task.validation()[0]["input"].unsqueeze(0)
        with torch.no_grad():
            torch.testing.assert_close(task.predict(model, inputs), model(task.view(inputs, "plain")))

    def test_an_example_has_the_shape_of_an_input(self, task: Task) -> None:
        assert task.example().shape == self.batch(task, "unlabelled")["input"].shape[1:]
