"""Building objects from plain configurations."""

import pytest

from residual_ssl import ConvexSelector
from residual_ssl.config.components import build, faults
from residual_ssl.errors import ConfigError, InvalidInputError


def test_nested_targets_are_built_from_the_inside() -> None:
    config = {
        "_target_": "residual_ssl.algorithms.ConsistencyAlgorithm",
        "selector": {"_target_": "residual_ssl.ConvexSelector", "variant": "covar"},
        "branches": {"strong": {"_target_": "residual_ssl.algorithms.InputBranch", "weight": 1.0}},
    }
    algorithm = build(config)
    assert isinstance(algorithm.selector, ConvexSelector)
    assert algorithm.selector.alpha == 2
    assert set(algorithm.branches) == {"strong"}


def test_a_partial_waits_for_its_missing_arguments() -> None:
    make = build({"_target_": "torch.nn.Linear", "_partial_": True, "out_features": 3})
    assert make(in_features=2).weight.shape == (3, 2)


def test_all_faults_are_found_at_once() -> None:
    config = {
        "_target_": "residual_ssl.algorithms.ConsistencyAlgorithm",
        "selektor": 1,
        "branches": {
            "a": {"_target_": "residual_ssl.algorithms.InputBranch"},
            "b": {"_target_": "residual_ssl.NoSuchThing"},
        },
    }
    found = "\n".join(faults(config, "algorithm"))
    assert (
        "algorithm.selektor: residual_ssl.algorithms.ConsistencyAlgorithm takes no such key; it takes selector" in found
    )
    assert "algorithm.branches.a.weight: missing" in found
    assert "algorithm.branches.b._target_: got 'residual_ssl.NoSuchThing'" in found
    with pytest.raises(ConfigError, match=r"(?s)selektor.*weight: missing.*NoSuchThing"):
        build(config, "algorithm")


def test_a_refused_argument_is_named_with_its_place() -> None:
    config = {"selector": {"_target_": "residual_ssl.FixedThreshold", "threshold": 95}}
    with pytest.raises(InvalidInputError, match=r"algorithm\.selector\.threshold: got 95"):
        build(config, "algorithm")
