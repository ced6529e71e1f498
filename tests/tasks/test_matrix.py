"""Any selector with any algorithm on any task takes a step, or says in one line what is missing."""

import functools
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.task_table import PIXELS, ROWS, TASKS, WHOLE, composed
from torch.utils.data import default_collate

from residual_ssl.config.components import build
from residual_ssl.config.composition import compose_choice
from residual_ssl.engine import stages_of
from residual_ssl.errors import ResidualSSLError
from residual_ssl.task import Batch, Task

CONFIGS = Path(__file__).parents[2] / "configs"
ALGORITHMS = sorted(path.stem for path in (CONFIGS / "algorithm").glob("*.yaml"))
# One names the labels that its points are of, which are a task's own.
SELECTORS = sorted(path.stem for path in (CONFIGS / "selector").glob("*.yaml") if path.stem != "per_label")
# They draw the labelled images by the classes of their pixels, or start from a finished run.
ELSEWHERE = ("daformer", "mic", "source_free")
COMBINATIONS = [
    (task, algorithm, selector)
    for task in TASKS
    for algorithm in ALGORITHMS
    for selector in SELECTORS
    if algorithm not in ELSEWHERE
]
_SAMPLED = 60
SAMPLE = random.Random(0).sample(COMBINATIONS, _SAMPLED)


def refusal(task: str, algorithm: str, selector: str, config: dict[str, Any]) -> str | None:
    """What a combination that makes no sense is refused with; None for one that must work."""
    settings = config["algorithm"]
    if algorithm in ("dann", "cdan") and task not in ("classification", "rows"):
        return "tells domains apart by one feature vector a sample"
    if task == "detection" and settings.get("auxiliary"):
        return "whose network predicts values beside classes"
    heads = algorithm in ("dac", "dst", "iomatch", "openmatch", "ssb")
    if heads and task in ("labels", "regression"):  # whose logits are made of fewer outputs
        return "has no linear layer or convolution with"
    if algorithm in ("corrmatch_propagation", "u2pl_contrast") and task in ("labels", "detection"):
        return "is no place of its input"
    if settings.get("selector") is None:  # the algorithm asks for none
        return None
    kind = build(compose_choice("selector", selector), "selector")
    evidence = kind.needs.evidence
    if kind.needs.pool and task not in ROWS and not settings["_target_"].endswith("CrossSupervision"):
        return "features of the inputs"
    if settings["_target_"].endswith("CrossSupervision"):
        return "cross supervision has two predictions and nothing else" if set(evidence) - {"second"} else None
    if "regions" in evidence:
        return "judges by regions of the samples"
    if "stored" in evidence:
        return "labels that residual-ssl label stored"
    if "second" in evidence and (settings.get("ema_decay") is None or settings.get("ema_teaches") is False):
        return "a second prediction beside the teacher's"
    if "features" in evidence and task not in ROWS:
        return "features of the inputs"
    if algorithm == "dacs" and task in (*WHOLE, "labels"):
        return "ClassMix cuts classes out of samples"
    if algorithm == "early_learning" and task not in WHOLE:
        return "targets 'memory' for points that are places"
    return None


@functools.cache
def made(task: str) -> tuple[Task, Batch, Batch]:
    """A task with a labelled and an unlabelled batch."""
    found: Task = build(composed(task, "fixmatch")["task"], "task")
    labelled: Any = found.labelled(0)
    unlabelled: Any = found.unlabelled(0)
    batches = [default_collate([data[i % len(data), i] for i in range(4)]) for data in (labelled, unlabelled)]
    for batch in batches:
        batch["index"] = torch.arange(4)  # as a run adds it
    return found, batches[0], batches[1]


@functools.cache
def configuration(task: str, algorithm: str) -> dict[str, Any]:
    return composed(task, algorithm)


def take_steps(task_name: str, algorithm_name: str, selector: str) -> None:
    config = configuration(task_name, algorithm_name)
    if stages_of(config):  # each of them is a run of one of the other algorithms
        return
    task, labelled, unlabelled = made(task_name)
    settings = dict(config["algorithm"])
    if settings.get("selector") is not None:
        settings["selector"] = compose_choice("selector", selector)
    refused = refusal(task_name, algorithm_name, selector, config)
    if refused is not None:
        with pytest.raises(ResidualSSLError, match=refused):
            _steps(task, settings, labelled, unlabelled)
        return
    _steps(task, settings, labelled, unlabelled)


def _steps(task: Task, settings: dict[str, Any], labelled: Batch, unlabelled: Batch) -> None:
    torch.manual_seed(0)
    algorithm = build(settings, "algorithm")
    model = algorithm.build_model(task).train()
    algorithm.attach(model)
    algorithm.on_train_start(10)
    algorithm.see_data(task, task.labelled(0), task.unlabelled(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(2):
        output = algorithm.step(model, task, labelled, unlabelled)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        algorithm.after_step(model)
        assert output.loss.isfinite()
        assert all(term.isfinite() for term in output.terms.values())
        if output.selection is not None:
            chosen = output.selection
            assert 0 <= chosen.weight.min() <= chosen.weight.max() <= 1
            assert not chosen.weight[~chosen.valid].any()
            assert chosen.label.shape == (4, *labelled["target"].shape[1:])
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(("task", "algorithm", "selector"), SAMPLE)
def test_a_sample_of_all_combinations(task: str, algorithm: str, selector: str) -> None:
    take_steps(task, algorithm, selector)


def test_the_sample_has_every_task() -> None:
    assert {task for task, *_ in SAMPLE} == set(TASKS)
    assert set(PIXELS) | set(WHOLE) < set(TASKS)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in ELSEWHERE])
def test_all_combinations(task: str, algorithm: str) -> None:
    for selector in SELECTORS:
        take_steps(task, algorithm, selector)
