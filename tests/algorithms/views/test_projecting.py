"""Algorithms that compare features refuse points without features of their own; early learning needs no head."""

import pytest
from helpers.task_table import composed

from residual_ssl.algorithms.auxiliary.network import NetworkWithHeads
from residual_ssl.config.components import build
from residual_ssl.errors import ConfigError


@pytest.mark.parametrize("algorithm", ["corrmatch_propagation", "u2pl_contrast"])
@pytest.mark.parametrize("task", ["labels", "detection"])
def test_points_that_are_no_places_are_refused(algorithm: str, task: str) -> None:
    config = composed(task, algorithm)
    with pytest.raises(ConfigError, match="is no place of its input; choose another algorithm"):
        build(config["algorithm"], "algorithm").build_model(build(config["task"], "task"))


@pytest.mark.parametrize("task", ["classification", "segmentation", "change", "volumes"])
def test_places_and_samples_are_taken(task: str) -> None:
    config = composed(task, "u2pl_contrast")
    network = build(config["algorithm"], "algorithm").build_model(build(config["task"], "task"))
    assert network.network is not None


def test_a_loss_without_a_head_leaves_the_network_as_it_is() -> None:
    kinds = {}
    for algorithm in ("early_learning", "openmatch"):
        config = composed("classification", algorithm)
        network = build(config["algorithm"], "algorithm").build_model(build(config["task"], "task"))
        kinds[algorithm] = isinstance(network, NetworkWithHeads)
    assert kinds == {"early_learning": False, "openmatch": True}
