"""A selector that must see the pool gets its features before the first step, and those of each batch in it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from residual_ssl import compose, train
from residual_ssl.algorithms import fit_to_pool as module
from residual_ssl.config.components import build
from residual_ssl.errors import ConfigError
from residual_ssl.runtime import checkpoint
from residual_ssl.selection import DistributionAlignment, LabelPropagation, Selection, Selector

FAST = ("device=cpu", "steps=4", "warmup_steps=1", "evaluate_every=4", "log_every=1", "unlabelled_batch=8")


def config(run_dir: Path, *overrides: str) -> dict[str, Any]:
    return compose(["experiment=digit_rows", f"run_dir={run_dir}", *FAST, *overrides])


def test_a_run_on_rows_takes_its_labels_from_their_neighbourhood(tmp_path: Path) -> None:
    found = {}
    for name in ("none", "label_propagation"):
        options = ("algorithm=fixmatch", f"selector={name}", "steps=60", "evaluate_every=60")
        found[name] = train(config(tmp_path / name, *options)).training["purity"]
    assert found["label_propagation"] > found["none"] + 0.05

    last = checkpoint.load(tmp_path / "label_propagation" / "last.pt")["algorithm"]
    task = build(config(tmp_path)["task"], "task")
    fitted = LabelPropagation()
    module.fit_to_pool(fitted, task, task.labelled(0), task.unlabelled(0))
    assert len(fitted.nodes) == len(task.labelled(0)) + len(task.unlabelled(0))
    for name, value in fitted.state_dict().items():
        torch.testing.assert_close(last[f"selector.{name}"], value)


def test_a_task_without_features_is_refused_before_the_first_step(tmp_path: Path) -> None:
    tiny = compose(["experiment=digits", "selector=label_propagation", f"run_dir={tmp_path}", *FAST])
    with pytest.raises(ConfigError, match=r"judges by features of the inputs, and \w+ gives none; train on those of a"):
        train(tiny)


def test_a_wrapper_hands_the_pool_to_the_selector_inside() -> None:
    x = torch.eye(4)
    wrapper = DistributionAlignment(LabelPropagation(neighbours=1))
    assert wrapper.needs.pool
    wrapper.fit_pool(x[:2], torch.tensor([0, 1]), x, 2)
    assert torch.equal(wrapper(torch.zeros(2, 2), features=x[:2]).label, torch.tensor([0, 1]))


class Recording(Selector):
    """Keeps what it is fitted to; an even sample of it."""

    evidence = ("features",)

    def fit_pool(self, features: Tensor, labels: Tensor, pool: Tensor, num_classes: int, **options: Any) -> Selector:
        self.seen = (features, labels, pool, num_classes, options)
        return self

    def judge(self, points: Any, logits: Tensor, features: Tensor) -> Selection:
        return self.select(points, points.valid)


class Maps:
    """A task whose features have four channels, at the points of its targets."""

    num_classes, ignore_index = 3, 255

    def features(self, inputs: Tensor) -> Tensor:
        return inputs.repeat(1, 4, 1, 1)


class Samples:
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        index, draw = key
        assert index == draw
        value = torch.arange(30.0).reshape(1, 5, 6) + 100 * index
        return {"input": value, "target": value[0].long() % 3}


def test_of_maps_as_many_points_are_drawn_as_a_selector_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    selector = Recording()
    assert selector.needs.pool
    monkeypatch.setattr(module, "_POINTS", 60)
    module.fit_to_pool(selector, Maps(), Samples(2), Samples(10))  # type: ignore[arg-type]
    features, labels, pool, classes, options = selector.seen
    assert (features.shape, pool.shape, classes, options) == ((60, 4), (60, 4), 3, {"ignore_index": 255})
    assert torch.equal(labels, features[:, 0].long() % 3)
    assert sorted((pool[:, 0] // 100).unique().tolist()) == list(range(10))
    assert len(pool[:, 0].unique()) == 60
