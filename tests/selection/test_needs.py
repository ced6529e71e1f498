"""What a selector needs follows from its settings, for wrappers from what is inside."""

from dataclasses import asdict

import pytest
import torch

from residual_ssl.config.components import build
from residual_ssl.config.composition import compose_choice
from residual_ssl.selection import (
    ConstrainedConvexSelector,
    DistributionAlignment,
    LearnedConvexSelector,
    ReliableRegions,
    Selector,
    TopFraction,
    TrustAll,
)
from residual_ssl.testing import assert_same, random_logits


@pytest.mark.parametrize("name", ["cbst", "softmatch", "cw_bass", "top_fraction"])
def test_settings_that_learn_from_no_labels_need_none(name: str) -> None:
    assert not build(compose_choice("selector", name), name).needs.labels


@pytest.mark.parametrize("name", ["adamatch", "cafs", "dars", "dash", "cw_bass_v2", "reliable_regions"])
def test_settings_that_learn_from_labels_need_them(name: str) -> None:
    assert build(compose_choice("selector", name), name).needs.labels


def test_a_wrapper_needs_what_the_selector_inside_needs() -> None:
    class Second(Selector):
        evidence = ("second",)

    inside = TopFraction(balance="labelled")
    assert asdict(DistributionAlignment(inside, "uniform").needs) == asdict(inside.needs)
    assert DistributionAlignment(Second(), "uniform").needs.evidence == ("second",)
    assert DistributionAlignment(TrustAll()).needs.labels
    assert not DistributionAlignment(TrustAll(), "uniform").needs.labels
    assert ReliableRegions(inside).needs.schedule


def test_a_selector_to_be_fitted_says_so_until_it_is() -> None:
    logits = random_logits((200, 4), torch.float32)
    selector = LearnedConvexSelector()
    assert selector.needs.fit
    selector.fit(logits, torch.where(torch.arange(200) % 3 > 0, logits.argmax(1), 0))
    assert not selector.needs.fit


def test_a_fitted_constrained_selector_loads_into_a_fresh_one() -> None:
    logits = random_logits((200, 4), torch.float32)
    fitted = ConstrainedConvexSelector(4, bins=4).fit(logits, torch.arange(200) % 4)
    fresh = ConstrainedConvexSelector(4, bins=4)
    fresh.load_state_dict(fitted.state_dict())
    assert_same(fresh(logits), fitted(logits))
    with pytest.raises(RuntimeError, match="prior"):
        ConstrainedConvexSelector(5, bins=4).load_state_dict(fitted.state_dict())
