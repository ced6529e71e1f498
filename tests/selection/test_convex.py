"""ConvexSelector against the published N×d formulation, the reference vectors and its invariants."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from residual_ssl import ConvexSelector, Selection
from residual_ssl.errors import InvalidInputError
from residual_ssl.testing import SelectorContract, random_logits

GOLDEN = ("pascal_k21", "cityscapes_k19", "coco_k81", "few_k4_with_empty_image")
Array = NDArray[np.float64]


class TestCSL(SelectorContract):
    def make(self) -> ConvexSelector:
        return ConvexSelector()

    # One point per sample: the group is the batch, so a sample alone is another question; see below for scope="batch".


class TestCoVar(SelectorContract):
    def make(self) -> ConvexSelector:
        return ConvexSelector("covar")


class TestBatchScope(SelectorContract):
    per_sample = False

    def make(self) -> ConvexSelector:
        return ConvexSelector(scope="batch")

    def test_an_empty_sample_beside_a_full_one(self) -> None:
        pass  # holds by test_invalid_points_have_no_influence; alone, the full sample is the same group


class TestOfAWindow(SelectorContract):
    per_sample = False
    tolerance = 1e-6  # past points are kept in single precision

    def make(self) -> ConvexSelector:
        return ConvexSelector("covar", scope="window", window=400)


class TestSoft(SelectorContract):
    def make(self) -> ConvexSelector:
        return ConvexSelector(gamma=0.01, temperature=0.5)

    @pytest.mark.skip(reason="a soft weight approaches 1 and does not reach it")
    def test_shapes_dtypes_and_ranges(self) -> None: ...  # type: ignore[override]


def published_weight(confidence: Array, dispersion: Array, *, alpha: float, penalty: float) -> Array:
    """The rule as it was published: singular vectors of the N×2 feature matrix of one image, arg-max of |v|."""
    features = np.stack([confidence, dispersion], 1)
    embedding = np.linalg.svd(features.T, full_matrices=False)[2].T
    cluster = np.abs(embedding).argmax(1)
    moments = []
    for side in (0, 1):
        points = features[cluster == side]
        if len(points):
            variance = points.var(0, ddof=1) if len(points) > 1 else np.zeros(2)
            moments.append((points[:, 0].mean() - penalty * points[:, 1].mean(), points.mean(0), variance))
    _, mean, variance = max(moments, key=lambda moment: moment[0])
    z_c = (confidence - mean[0]) / np.sqrt(variance[0] + 1e-8)
    z_r = (mean[1] - dispersion) / np.sqrt(variance[1] + 1e-8)
    return np.where((z_c > 0) | (z_r > 0), 1.0, np.exp(-(z_c**2 + z_r**2) / alpha))


@pytest.mark.parametrize("classes", [3, 5, 21])
@pytest.mark.parametrize(("variant", "alpha", "penalty"), [("csl", 8.0, 0.0), ("covar", 2.0, 0.25)])
def test_weights_are_those_of_the_published_singular_vectors(
    classes: int, variant: str, alpha: float, penalty: float
) -> None:
    chosen = ConvexSelector(variant)(random_logits((4, classes, 30, 20), seed=classes))  # type: ignore[arg-type]
    for c, r, weight in zip(chosen.confidence, chosen.residual, chosen.weight, strict=True):
        expected = published_weight(c.flatten().numpy(), r.flatten().numpy(), alpha=alpha, penalty=penalty)
        np.testing.assert_allclose(weight.flatten().numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("variant", ["csl", "covar"])
class TestReferenceVectors:
    @pytest.fixture
    def golden(self, shared_golden: Path, case: str) -> dict[str, NDArray[np.generic]]:
        return dict(np.load(shared_golden / f"{case}.npz"))

    def select(self, golden: dict[str, NDArray[np.generic]], variant: str, dtype: torch.dtype) -> Selection:
        logits, valid = torch.tensor(golden["logits"]).to(dtype), torch.tensor(golden["valid"])
        return ConvexSelector(variant, residual="released")(logits, valid)  # type: ignore[arg-type]

    def test_double_precision(self, golden: dict[str, NDArray[np.generic]], variant: str) -> None:
        chosen = self.select(golden, variant, torch.float64)
        valid = golden["valid"]
        for name in ("confidence", "residual"):
            got, expected = getattr(chosen, name).numpy()[valid], golden[f"{variant}_{name}"][valid]
            np.testing.assert_allclose(got, expected, rtol=1e-10)
        np.testing.assert_allclose(chosen.weight.numpy(), golden[f"{variant}_weight"], atol=1e-12)

    def test_moments(self, golden: dict[str, NDArray[np.generic]], variant: str) -> None:
        selector = ConvexSelector(variant, residual="released")  # type: ignore[arg-type]
        partition = selector.partition(torch.tensor(golden["logits"]).double(), torch.tensor(golden["valid"]))
        filled = golden["valid"].any((1, 2))
        np.testing.assert_allclose(partition.mean.numpy()[filled], golden[f"{variant}_mean"][filled], rtol=1e-10)
        np.testing.assert_allclose(partition.variance.numpy()[filled], golden[f"{variant}_var"][filled], rtol=1e-9)

    def test_lower_precision(self, golden: dict[str, NDArray[np.generic]], variant: str) -> None:
        expected = torch.tensor(golden[f"{variant}_weight"])
        for dtype, share, error in (
            (torch.float32, 1.0, 1e-6),
            (torch.float16, 0.996, 0.003),
            (torch.bfloat16, 0.995, 0.006),
        ):
            chosen = self.select(golden, variant, dtype)
            agreement = ((chosen.weight == 1) == (expected == 1)).double().mean()
            assert agreement >= share, f"{dtype}: trusted agree at {agreement:.4f} of the points"
            assert (chosen.weight - expected).abs().mean() <= error


def test_trusted_is_better_than_the_reliable_mean_in_either_feature() -> None:
    logits = random_logits((2, 7, 20, 20))
    selector = ConvexSelector()
    chosen, partition = selector(logits), selector.partition(logits)
    mean = partition.mean[:, :, None, None]
    better = (chosen.confidence > mean[:, 0]) | (chosen.residual < mean[:, 1])
    assert torch.equal(chosen.trusted, better)
    assert 0.05 < chosen.trusted.double().mean() < 0.95


def test_two_classes_reduce_to_confidence_alone() -> None:
    chosen = ConvexSelector()(random_logits((1, 2, 30, 30)))
    assert torch.equal(chosen.trusted, chosen.confidence > chosen.confidence.mean())
    order = chosen.confidence.flatten().argsort()
    assert bool((chosen.weight.flatten()[order].diff() >= 0).all())


def test_points_without_spatial_extent_form_one_group() -> None:
    logits = random_logits((300, 6))
    flat = ConvexSelector()(logits)
    image = ConvexSelector(scope="sample")(logits.T.unsqueeze(0))
    torch.testing.assert_close(flat.weight, image.weight[0])


def test_batch_scope_pools_the_images() -> None:
    logits = random_logits((3, 6, 10, 10))
    pooled = ConvexSelector(scope="batch")(logits)
    joined = ConvexSelector(scope="sample")(torch.cat(list(logits), dim=1).unsqueeze(0))
    torch.testing.assert_close(torch.cat(list(pooled.weight), dim=0), joined.weight[0])
    assert not torch.allclose(pooled.weight, ConvexSelector()(logits).weight)


def test_without_a_window_the_selector_keeps_nothing() -> None:
    assert not ConvexSelector().state_dict()
    assert not ConvexSelector(scope="batch").state_dict()


def test_a_window_that_holds_several_batches_judges_them_as_one() -> None:
    batches = [random_logits((50, 4), torch.float32, seed=seed) for seed in range(4)]
    selector = ConvexSelector(scope="window", window=200)
    last = [selector(logits) for logits in batches][-1]
    together = ConvexSelector(scope="batch")(torch.cat(batches))
    torch.testing.assert_close(last.weight, together.weight[-50:], atol=1e-6, rtol=0)
    assert not torch.allclose(last.weight, ConvexSelector()(batches[-1]).weight, atol=1e-2)


def test_an_empty_window_selects_nothing() -> None:
    assert not ConvexSelector(scope="window").eval()(random_logits((9, 4))).weight.any()


def test_the_soft_rule_approaches_the_hard_one() -> None:
    logits = random_logits((2, 5, 20, 20))
    hard = ConvexSelector()(logits).weight
    errors = [(ConvexSelector(temperature=t)(logits).weight - hard).abs().mean().item() for t in (1.0, 0.1, 0.001)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


def test_the_hard_rule_decides_and_passes_no_gradient() -> None:
    chosen = ConvexSelector()(random_logits((1, 4, 12)).requires_grad_())
    assert not chosen.weight.requires_grad
    assert chosen.confidence.requires_grad


def test_the_soft_rule_passes_gradients_to_the_logits() -> None:
    logits = random_logits((1, 4, 12), seed=5).requires_grad_()
    selector = ConvexSelector(gamma=0.05, temperature=0.5)
    assert torch.autograd.gradcheck(lambda x: selector(x).weight, (logits,), atol=1e-5)


def test_identical_points_are_all_reliable() -> None:
    logits = torch.tensor([3.0, 1.0, 0.0]).view(1, 3, 1).expand(2, 3, 16).double()
    selector = ConvexSelector()
    assert bool((selector.partition(logits).reliable == 1).all())
    torch.testing.assert_close(selector(logits).weight, torch.ones(2, 16, dtype=torch.float64))


def test_a_single_point_is_its_own_cluster() -> None:
    chosen = ConvexSelector()(torch.tensor([[3.0, 1.0, 0.0]]))
    torch.testing.assert_close(chosen.weight, torch.ones(1))


def test_a_training_step_compiles() -> None:
    layer = torch.nn.Conv2d(3, 5, 1)
    selector = ConvexSelector()

    def step(x: torch.Tensor) -> torch.Tensor:
        chosen = selector(layer(x).detach())
        loss = torch.nn.functional.cross_entropy(layer(x), chosen.label, reduction="none")
        return (loss * chosen.weight).mean()

    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), step(x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "cls"}, r"variant: got 'cls', expected one of 'csl', 'covar'"),
        ({"scope": "image"}, r"scope: got 'image'"),
        ({"alpha": 0.0}, r"alpha: got 0.0, expected a number > 0"),
        ({"gamma": -1.0}, r"gamma: got -1.0"),
        ({"temperature": float("nan")}, r"temperature: got nan"),
        ({"window": 0, "scope": "window"}, r"window: got 0"),
    ],
)
def test_wrong_choices_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ConvexSelector(**options)  # type: ignore[arg-type]


def test_sample_scope_without_spatial_points_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"scope: got 'sample' for logits of shape \(B, K\)"):
        ConvexSelector(scope="sample")(torch.randn(4, 3))
