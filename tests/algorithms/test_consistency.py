"""ConsistencyAlgorithm: published settings, their loss, and what they must not touch."""

import copy
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import Tensor, nn

from residual_ssl import ConvexSelector, FixedThreshold, Selection, Selector, TrustedMask, compose, train
from residual_ssl.algorithms import ConsistencyAlgorithm, FeatureBranch, InputBranch, PredictionBranch
from residual_ssl.algorithms.branches import frozen_running_statistics
from residual_ssl.config.components import build
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError
from residual_ssl.losses import labelled_cross_entropy, selected_squared_error
from residual_ssl.losses.class_confusion import minimum_class_confusion
from residual_ssl.models import SmallSegmenter
from residual_ssl.perturbations import ClassMix, CutMix, FeatureDropout
from residual_ssl.selection import OracleSelector
from residual_ssl.selection.features import judged_points
from residual_ssl.task import Batch, Task
from residual_ssl.tasks.views import Views


@pytest.fixture
def task(tmp_path: Path) -> Task:
    made: Task = build(tiny_config(tmp_path)["task"], "task")
    return made


def batch_of(task: Task, kind: str, count: int = 4) -> Batch:
    data = getattr(task, kind)(0)
    samples = [data[i, i] for i in range(count)]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


SINGLE_RUNS = sorted(path.stem for path in (Path(__file__).parents[2] / "configs/algorithm").glob("*.yaml"))
_OTHERS = (
    "cps",
    "early_learning",  # of whole samples
    "self_training",
    "st_plus_plus",
    "gist",
    "rist",
    "dann",
    "cdan",
    "mcc",
    "mic_classification",
    "source_free",
)
SINGLE_RUNS = [name for name in SINGLE_RUNS if name not in _OTHERS]


@pytest.mark.parametrize("algorithm", SINGLE_RUNS)
def test_training_moves_the_weights_with_a_finite_loss_and_partial_coverage(tmp_path: Path, algorithm: str) -> None:
    # An untrained network reaches .95 nowhere; a lower threshold makes the coverage of a few steps visible.
    selector = compose([f"algorithm={algorithm}"])["algorithm"].get("selector") or {}
    lower = ["selector.threshold=0.15"] if "threshold" in selector else []
    # Theirs takes all or nothing.
    lower = ["selector=csl"] if algorithm in ("dacs", "daformer", "mic", "iomatch") else lower
    lower += ["selector.start=0.15"] if algorithm == "corrmatch" else []
    config = tiny_config(tmp_path / "run", f"algorithm={algorithm}", *lower)
    torch.manual_seed(config["seed"])
    before = build(config["task"], "task").build_model().state_dict()
    train(config)
    stored = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    after = {name.removeprefix("network."): value for name, value in stored.items()}  # beside heads of an algorithm
    for name in ("encoder.stem.0.weight", "encoder.stage3.1.second.0.weight", "classifier.weight"):
        assert not torch.equal(before[name], after[name])
    rows = [row for row in read_log(tmp_path / "run") if "train/loss" in row]
    assert len(rows) == 6
    assert all(torch.tensor(row["train/loss"]).isfinite() for row in rows)
    if algorithm == "supervised":
        assert "train/coverage" not in rows[-1]
    else:
        takes_all = algorithm in ("bcp", "depth_anything", "mean_teacher")  # every prediction
        assert 0 < rows[-1]["train/coverage"] < 1 or takes_all
        assert 0 <= rows[-1]["train/purity"] <= 1


def test_the_loss_is_the_weighted_sum_of_its_terms(task: Task) -> None:
    algorithm = ConsistencyAlgorithm(
        ConvexSelector(),
        {
            "strong": InputBranch(0.125, mix=CutMix()),
            "masked": InputBranch(0.25, mask=TrustedMask(block=8)),
            "feature": FeatureBranch(0.5, FeatureDropout(0.5)),
        },
        labelled_weight=0.75,
    )
    torch.manual_seed(0)
    output = algorithm.step(task.build_model(), task, batch_of(task, "labelled"), batch_of(task, "unlabelled"))
    terms = output.terms
    assert set(terms) == {"labelled", "strong", "masked", "feature"}
    expected = 0.75 * terms["labelled"] + 0.125 * terms["strong"] + 0.25 * terms["masked"] + 0.5 * terms["feature"]
    torch.testing.assert_close(output.loss.detach(), expected)


def test_without_branches_it_is_cross_entropy_on_the_labels(task: Task) -> None:
    model = task.build_model().eval()
    labelled = batch_of(task, "labelled")
    task._views = Views(task.normalisation)  # type: ignore[attr-defined]
    output = ConsistencyAlgorithm().step(model, task, labelled, None)
    expected = labelled_cross_entropy(model(task.view(labelled["input"], "plain")), labelled["target"])
    torch.testing.assert_close(output.loss, expected)


def test_pseudo_labels_are_those_of_the_plain_view_and_carry_no_gradient(task: Task) -> None:
    model = task.build_model()
    algorithm = ConsistencyAlgorithm(FixedThreshold(0.0), {"strong": InputBranch(1.0)}, labelled_weight=0.0)
    labelled, unlabelled = batch_of(task, "labelled"), batch_of(task, "unlabelled")
    torch.manual_seed(0)
    output = algorithm.step(model, task, labelled, unlabelled)
    torch.manual_seed(0)
    both = torch.cat([task.view(labelled["input"], "labelled"), task.view(unlabelled["input"], "plain")])
    assert output.selection is not None
    assert torch.equal(output.selection.label, model(both)[4:].argmax(1))
    assert torch.equal(output.selection.valid, unlabelled["valid"])
    assert not output.selection.confidence.requires_grad


def test_cutmix_mixes_inputs_labels_and_weights_with_the_same_boxes(task: Task) -> None:
    inputs = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 64, 64) / 4
    logits = torch.nn.functional.one_hot(torch.arange(4), 11).float().view(4, 11, 1, 1).expand(4, 11, 64, 64) * 9
    selection = FixedThreshold(0.5)(logits)
    task._views = Views(task.normalisation)  # type: ignore[attr-defined]
    torch.manual_seed(0)
    x, mixed = InputBranch(1.0, mix=CutMix(probability=1.0)).shown(task, inputs, selection)
    shown = (x[:, 0] - task.view(inputs[:1], "plain")[:, 0, 0, 0]).mul(4 * 0.229).round().long()
    assert torch.equal(shown, mixed.label)
    for own in range(4):
        assert set(mixed.label[own].unique().tolist()) == {own, own ^ 1}


def test_pasted_points_show_the_labelled_image_and_have_its_labels_in_full(task: Task) -> None:
    inputs = torch.full((4, 3, 64, 64), 0.25)
    labelled = {
        "input": torch.full((4, 3, 64, 64), 0.75),
        "target": torch.tensor([3, 7, 255, 9]).repeat_interleave(16).expand(4, 64, 64),
    }
    selection = FixedThreshold(0.9)(torch.zeros(4, 11, 64, 64), torch.zeros(4, 64, 64, dtype=torch.bool))
    task._views = Views(task.normalisation)  # type: ignore[attr-defined]
    torch.manual_seed(0)
    x, mixed = InputBranch(1.0, paste=ClassMix()).shown(task, inputs, selection, labelled)
    light, dark = (task.view(images[:1], "plain")[0, 0, 0, 0] for images in (labelled["input"], inputs))
    pasted = (x[:, 0] - light).abs() < 1e-6
    assert torch.equal(pasted, (x[:, 0] - dark).abs() > 1e-6)
    assert pasted.float().mean().item() == 0.5  # two of three classes, each a quarter of the image
    assert torch.equal(mixed.label[pasted], labelled["target"][pasted])
    for tensor in (mixed.weight, mixed.trusted, mixed.valid):
        assert torch.equal(tensor.bool(), pasted)


def test_statistics_of_each_domain_normalise_its_own_batch_and_the_unlabelled_ones_run(task: Task) -> None:
    algorithm = ConsistencyAlgorithm(
        FixedThreshold(0.0), {"feature": FeatureBranch(0.0, FeatureDropout(0.0))}, domain_batchnorm=True
    )
    labelled, unlabelled = batch_of(task, "labelled"), batch_of(task, "unlabelled")
    torch.manual_seed(0)
    model = task.build_model()
    twin = copy.deepcopy(model)
    torch.manual_seed(1)
    output = algorithm.step(model, task, labelled, unlabelled)
    torch.manual_seed(1)
    x = task.view(labelled["input"], "labelled")
    expected = labelled_cross_entropy(twin(x), labelled["target"], task.ignore_index)
    torch.testing.assert_close(output.terms["labelled"], expected.detach())

    alone = copy.deepcopy(model)
    alone.load_state_dict(build_state(task))
    alone(task.view(unlabelled["input"], "plain"), FeatureDropout(0.0))
    for name, statistic in alone.named_buffers():
        torch.testing.assert_close(dict(model.named_buffers())[name], statistic)


def build_state(task: Task) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return task.build_model().state_dict()


def test_the_masked_branch_erases_trusted_points_of_the_light_view_only(task: Task) -> None:
    inputs = batch_of(task, "unlabelled")["input"]
    trusted = torch.zeros(4, 64, 64, dtype=torch.bool)
    trusted[:, :32] = True
    logits = torch.zeros(4, 11, 64, 64)
    logits[:, 1, :32] = 9
    selection = FixedThreshold(0.9)(logits)
    assert torch.equal(selection.trusted, trusted)
    task._views = Views(task.normalisation, strong=torch.nn.Hardtanh(0.2, 0.3))  # type: ignore[attr-defined]
    torch.manual_seed(0)
    x, _ = InputBranch(1.0, mask=TrustedMask(ratio=1.0, block=8, probability=0.5)).shown(task, inputs, selection)
    strong = task.view(inputs, "strong")
    masked = (x != strong).flatten(1).any(1)
    assert 0 < int(masked.sum()) < 4
    assert torch.equal(x[masked][:, :, 32:], task.view(inputs, "light")[masked][:, :, 32:])
    assert not x[masked][:, :, :32].any()


def test_a_prediction_branch_judges_the_plain_view_and_asks_for_no_selector(task: Task) -> None:
    model = task.build_model().eval()
    labelled, unlabelled = batch_of(task, "labelled"), batch_of(task, "unlabelled")
    alone = ConsistencyAlgorithm(branches={"confusion": PredictionBranch(0.5, minimum_class_confusion)})
    output = alone.step(model, task, labelled, unlabelled)
    logits = model(task.view(unlabelled["input"], "plain"))
    torch.testing.assert_close(output.terms["confusion"], minimum_class_confusion(logits, unlabelled["valid"]).detach())
    torch.testing.assert_close(output.loss.detach(), output.terms["labelled"] + 0.5 * output.terms["confusion"])
    assert output.selection is None
    beside = {"confusion": PredictionBranch(0.5, minimum_class_confusion), "strong": InputBranch(1.0)}
    output = ConsistencyAlgorithm(FixedThreshold(0.0), beside).step(model, task, labelled, unlabelled)
    assert set(output.terms) == {"labelled", "confusion", "strong"}
    assert output.selection is not None


def test_running_statistics_follow_the_first_pass_alone(task: Task) -> None:
    model = SmallSegmenter(11)
    labelled, unlabelled = batch_of(task, "labelled"), batch_of(task, "unlabelled")
    algorithm = ConsistencyAlgorithm(FixedThreshold(0.0), {"strong": InputBranch(1.0, mix=CutMix())})
    algorithm.step(model, task, labelled, unlabelled)
    layer = model.encoder.stem[1]
    assert layer.num_batches_tracked == 1
    assert layer.track_running_stats


def test_frozen_running_statistics_still_normalise_by_the_batch() -> None:
    layer = nn.BatchNorm2d(2)
    x = 5 + 3 * torch.randn(8, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    with frozen_running_statistics(layer):
        y = layer(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    assert torch.equal(layer.running_mean, torch.zeros(2))


def test_an_ema_teacher_teaches_and_is_evaluated(task: Task) -> None:
    model = task.build_model()
    algorithm = ConsistencyAlgorithm(FixedThreshold(0.0), {"strong": InputBranch(1.0)}, ema_decay=0.5)
    algorithm.attach(model)
    assert algorithm.teacher is not None
    with torch.no_grad():
        algorithm.teacher.model.classifier.bias[7] = 50  # the teacher sees sevens everywhere
    output = algorithm.step(model, task, batch_of(task, "labelled"), batch_of(task, "unlabelled"))
    assert output.selection is not None
    assert bool((output.selection.label == 7).all())
    assert algorithm.evaluated(model) is algorithm.teacher.model
    algorithm.after_step(model)
    assert algorithm.teacher.updates == 1


def test_contradictory_configurations_are_named() -> None:
    with pytest.raises(ConfigError, match=r"algorithm.selector: got none"):
        ConsistencyAlgorithm(None, {"strong": InputBranch(1.0)})
    branches = {name: FeatureBranch(1.0, FeatureDropout()) for name in ("a", "b")}
    with pytest.raises(ConfigError, match=r"algorithm.branches: got feature branches a, b"):
        ConsistencyAlgorithm(FixedThreshold(), branches)


def test_the_oracle_is_given_the_truth(tmp_path: Path) -> None:
    train(tiny_config(tmp_path / "run", "algorithm=fixmatch", "selector=oracle"))
    rows = [row for row in read_log(tmp_path / "run") if "train/loss" in row]
    assert all(row["train/purity"] == 1 for row in rows if "train/purity" in row)
    assert 0 < rows[-1]["train/coverage"] < 1
    assert rows[-1]["train/coverage"] == pytest.approx(rows[-1]["train/accuracy"], abs=0.05)  # padding has no truth


def test_evidence_that_is_not_there_is_named(task: Task) -> None:
    labelled, unlabelled = batch_of(task, "labelled"), batch_of(task, "unlabelled")
    del unlabelled["truth"]
    algorithm = ConsistencyAlgorithm(OracleSelector(), {"strong": InputBranch(1.0)})
    with pytest.raises(ConfigError, match=r"OracleSelector judges by the true labels .* dataset.unlabelled_truth"):
        algorithm.step(task.build_model(), task, labelled, unlabelled)


class Agreement(Selector):
    """Trusts points where teacher and student agree, and remembers the labelled predictions it was told of."""

    evidence = ("second",)

    def update_from_labels(self, logits: Tensor, target: Tensor, ignore_index: int = 255) -> None:
        self.told = (logits.shape, target.shape, ignore_index, logits.requires_grad)

    def forward(self, logits: Tensor, valid: Tensor | None = None, *, second: Tensor) -> Selection:  # type: ignore[override]
        points = judged_points(logits, valid)
        return self.select(points, points.label == second.argmax(1))


def test_a_rule_may_ask_for_the_student_beside_the_teacher_and_learn_from_labels(task: Task) -> None:
    model, rule = task.build_model(), Agreement()
    labelled, unlabelled = batch_of(task, "labelled"), batch_of(task, "unlabelled")
    algorithm = ConsistencyAlgorithm(rule, {"strong": InputBranch(1.0)}, ema_decay=0.5)
    algorithm.attach(model)
    assert algorithm.teacher is not None
    with torch.no_grad():
        algorithm.teacher.model.classifier.bias[7] = 50
        model.classifier.bias[7] = -50
    output = algorithm.step(model, task, labelled, unlabelled)
    assert output.selection is not None
    assert output.selection.coverage == 0
    assert rule.told == ((4, 11, 64, 64), (4, 64, 64), task.ignore_index, False)
    alone = ConsistencyAlgorithm(Agreement(), {"strong": InputBranch(1.0)})
    with pytest.raises(ConfigError, match="second prediction beside the teacher's"):
        alone.step(model, task, labelled, unlabelled)


def test_a_branch_may_have_a_loss_of_its_own(task: Task) -> None:
    branch = InputBranch(1.0, view="plain", loss=selected_squared_error)
    algorithm = ConsistencyAlgorithm(FixedThreshold(0.0), {"same": branch}, labelled_weight=0.0)
    model = task.build_model().eval()
    unlabelled = batch_of(task, "unlabelled")
    output = algorithm.step(model, task, batch_of(task, "labelled"), unlabelled)
    assert output.selection is not None
    expected = selected_squared_error(model(task.view(unlabelled["input"], "plain")), output.selection)
    torch.testing.assert_close(output.terms["same"], expected.detach())
