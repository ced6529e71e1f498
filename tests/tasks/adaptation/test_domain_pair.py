"""DomainPair: whose samples are labelled, unlabelled and judged; adaptation without a source; faults."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config

from residual_ssl import compose, train
from residual_ssl.config.components import build
from residual_ssl.data import ClassificationSplit, DatasetSpec, HandwrittenDigits
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.errors import ConfigError, DataError
from residual_ssl.tasks.adaptation import DomainPair
from residual_ssl.tasks.segmentation import DigitScenes

scenes = partial(DigitScenes, labelled=2, unlabelled=3, validation=1)
SMALL = [
    *("dataset.pair.target.unlabelled=8", "dataset.pair.target.validation=4", "steps=2", "warmup_steps=0"),
    *("evaluate_every=2", "labelled_batch=2", "unlabelled_batch=2", "device=cpu", "log_every=1"),
]


def run(run_dir: Path, *overrides: str) -> list[dict[str, float]]:
    train(compose(["experiment=adapt_digit_scenes", *SMALL, f"run_dir={run_dir}", *overrides]))
    return [row for row in read_log(run_dir) if "train/loss" in row]


def test_labels_come_from_the_source_and_all_else_from_the_target() -> None:
    printed = partial(scenes, digits="printed")
    pair = DomainPair(target=scenes, source=printed)
    for own, other in (
        (pair.labelled, printed().labelled),
        (pair.unlabelled, scenes().unlabelled),
        (pair.validation, scenes().validation),
    ):
        assert len(own) == len(other)
        assert all(torch.equal(a.image, b.image) for a, b in zip(own, other, strict=True))
    assert pair.spec is scenes().spec
    assert pair.classes == scenes().spec.classes


def test_domains_of_classification_pair_as_well() -> None:
    classes = [str(i) for i in range(10)]
    read = HandwrittenDigits
    digits = partial(ClassificationSplit, classes, partial(read, "train"), partial(read, "validation"), 40)
    pair = DomainPair(target=digits, source=digits)
    assert (len(pair.labelled), len(pair.unlabelled), len(pair.validation)) == (40, 1360, 397)
    assert pair.classes == tuple(classes)
    with pytest.raises(ConfigError, match="source: got none; adaptation without a source is for segmentation"):
        DomainPair(target=digits)


def test_without_a_source_the_labelled_samples_are_the_targets_with_no_point_labelled() -> None:
    pair = DomainPair(target=scenes)
    assert len(pair.labelled) == 3
    for index in range(3):
        assert torch.equal(pair.labelled[index].image, pair.unlabelled[index].image)
        assert pair.labelled[index].mask.unique().tolist() == [255]
        assert pair.unlabelled[index].mask.unique().tolist() != [255]


def with_spec(**changes: Any) -> Callable[[], Any]:
    made = scenes()
    spec = DatasetSpec(changes.pop("classes", made.spec.classes))
    return lambda: SimpleNamespace(
        spec=spec,
        **{"labelled": made.labelled, "unlabelled": made.unlabelled, "validation": made.validation, **changes},
    )


@pytest.mark.parametrize(
    ("source", "target", "error", "message"),
    [
        (with_spec(labelled=()), scenes, DataError, "source: has no labelled samples"),
        (scenes, with_spec(unlabelled=()), DataError, "target: has no unlabelled samples"),
        (
            with_spec(classes=["a", "b"]),
            with_spec(classes=["a", "c"]),
            ConfigError,
            "first to differ being 'b' and 'c'",
        ),
        (with_spec(classes=["a", "b"]), with_spec(classes=["a", "b", "c"]), ConfigError, "2 classes and the target 3;"),
    ],
)
def test_domains_that_do_not_fit_are_refused(source: Any, target: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DomainPair(target, source)


def test_a_run_goes_on_from_a_source_network_without_reading_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "source", "algorithm=supervised", "dataset.pair.source.labelled=8")
    opened = []
    original = DigitScenes.__init__
    monkeypatch.setattr(
        DigitScenes, "__init__", lambda self, **given: (opened.append(given), original(self, **given))[1]
    )
    overrides = ["algorithm=source_free", "selector=none", f"init_from={tmp_path / 'source' / 'last.pt'}"]
    rows = run(tmp_path / "free", *overrides)
    assert opened
    assert all("digits" not in given for given in opened)
    assert [row["train/loss_labelled"] for row in rows] == [0.0, 0.0]
    assert all(row["train/loss_strong"] == row["train/loss"] > 0 for row in rows)


def test_the_weight_is_one_scalar_an_image_or_a_map_as_the_selector_is_chosen(tmp_path: Path) -> None:
    levels = {}
    for rule, options in (("daformer", ["selector.threshold=0.12"]), ("csl", [])):
        config = compose(["experiment=adapt_digit_scenes", "algorithm=dacs", f"selector={rule}", *options, *SMALL])
        selector = build(config["algorithm"], "algorithm").selector
        logits = torch.randn(2, 11, 16, 16, generator=torch.Generator().manual_seed(0)) / 2
        levels[rule] = [len(weight.unique()) for weight in selector(logits).weight]
    assert levels["daformer"] == [1, 1]
    assert min(levels["csl"]) > 20


def test_labelled_images_may_have_a_geometry_of_their_own_but_one_crop(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)["task"]
    other = {**config["geometry"], "scale": [3.0, 3.0]}
    task = build({**config, "labelled_geometry": other}, "task")
    assert task.labelled(0).entries.keywords["geometry"].scale == (3.0, 3.0)
    assert task.unlabelled(0).entries.keywords["geometry"].scale != (3.0, 3.0)
    with pytest.raises(ConfigError, match=r"labelled_geometry.crop: got \(32, 32\), expected \(64, 64\)"):
        build({**config, "labelled_geometry": {**other, "crop": 32}}, "task")
