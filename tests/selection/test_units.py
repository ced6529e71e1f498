"""Probabilities that are given as logits are noticed."""

import warnings

import pytest
import torch

from residual_ssl.commands.api import select
from residual_ssl.errors import ResidualSSLWarning
from residual_ssl.selection import from_probabilities
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


def test_select_needs_no_labelled_predictions_for_settings_that_learn_from_none() -> None:
    logits = random_logits((40, 5), torch.float32)
    names = ["cbst", "softmatch", "cw_bass", "top_fraction"]
    rows = select(logits.numpy(), logits.argmax(1).numpy(), names).rows
    assert [row.name for row in rows] == ["none", *names, "oracle"]
