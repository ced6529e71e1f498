"""Probabilities that are given as logits are noticed."""

import warnings
from collections.abc import Callable

import pytest
import torch

from residual_ssl.commands.api import select
from residual_ssl.errors import ResidualSSLWarning
from residual_ssl.selection import FixedThreshold, from_probabilities
from residual_ssl.testing import random_logits


@pytest.mark.parametrize("shape", [(40, 5), (3, 5, 6, 6)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_select_warns_of_probabilities_and_not_of_logits(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    logits = random_logits(shape)
    probabilities, labels = logits.softmax(1).to(dtype).numpy(), logits.argmax(1).numpy()
    with pytest.warns(ResidualSSLWarning, match="from_probabilities"):
        select(probabilities, labels, ["fixed_threshold"])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResidualSSLWarning)
        select(logits.to(dtype).numpy(), labels, ["fixed_threshold"])
        select(from_probabilities(torch.from_numpy(probabilities)).numpy(), labels, ["fixed_threshold"])


def test_a_selector_warns_of_probabilities_at_its_first_call_alone() -> None:
    logits = random_logits((40, 5), torch.float32)
    selector = FixedThreshold()
    with pytest.warns(ResidualSSLWarning, match="from_probabilities"):
        selector(logits.softmax(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResidualSSLWarning)
        selector(logits.softmax(1))
        FixedThreshold()(logits)
        FixedThreshold()(torch.zeros(0, 5))
        FixedThreshold()(logits.softmax(1)[:, :4])


def test_select_takes_probabilities_that_are_said_to_be_such() -> None:
    logits = random_logits((60, 5), torch.float64)
    labels = (logits + random_logits((60, 5), torch.float64, seed=1)).argmax(1).numpy()
    names = ["csl", "fixed_threshold", "adamatch", "agreement"]

    def rows(change: Callable[[torch.Tensor], torch.Tensor], **options: bool) -> list[float]:
        given = {"second": change(0.5 * logits).numpy(), "labelled_logits": change(logits[:20]).numpy()}
        found = select(change(logits).numpy(), labels, names, labelled_labels=labels[:20], **given, **options).rows  # type: ignore[arg-type]
        return [float(row.metrics.coverage) for row in found]

    expected = rows(lambda x: x)
    assert rows(lambda x: x.softmax(1), from_probabilities=True) == pytest.approx(expected)
    assert len(set(expected)) > 3


def test_select_needs_no_labelled_predictions_for_settings_that_learn_from_none() -> None:
    logits = random_logits((40, 5), torch.float32)
    names = ["cbst", "softmatch", "cw_bass", "top_fraction"]
    rows = select(logits.numpy(), logits.argmax(1).numpy(), names).rows
    assert [row.name for row in rows] == ["none", *names, "oracle"]
