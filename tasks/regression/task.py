"""Regression as a task: numbers in bins, a Gaussian over them, its variance as confidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from residual_ssl.data import Bins, ClassificationSource
from residual_ssl.errors import ConfigError
from residual_ssl.models import EncoderDecoder, GaussianBins
from residual_ssl.runtime.global_batch import mean_count
from residual_ssl.selection import Selection
from residual_ssl.tasks.features import FeatureTask


class RegressionTask(FeatureTask):
    """A number for every vector of D features; targets are ids of bins ``(B,)``, logits ``(B, K)``.

    The network predicts a mean and a log-variance; its logits are the log-shares of that Gaussian in K bins. So a
    pseudo-label is the bin of the mean, its confidence falls as the predicted variance grows, and every selector and
    algorithm works unchanged. Labels are learned by the heteroscedastic Gaussian loss; pseudo-labels by cross-entropy,
    which is that loss of a Gaussian cut off at the ends of the range: let it reach beyond the values. What is lost is
    where in its bin a value lies: K of 50 and more makes that small beside the error.

    A fixed threshold on the confidence means a largest deviation, in widths of a bin; selectors that compare points by
    their confidence, as ``softmatch`` or ``top_fraction``, need none. CSL's residual dispersion is low for a Gaussian
    as wide as the range, too: it trusts the widest beside the narrowest.

    Args:
        bins: range and number of the bins.
        num_features: D.
        source: ``source()`` gives the rows, as :class:`~residual_ssl.data.ValueSplit` does.
        model: ``model(num_features=D, num_classes=2)`` gives an encoder and decoder of two outputs.
        strong, light, labelled: perturbations of the views of those names; None leaves the view plain.
        choose_by: metric that chooses the best checkpoint: ``r2`` or ``negative_nll``; None for ``r2``.

    Metrics: ``rmse``, in the unit of the numbers; ``r2``, the share of their variance that is explained, in per cent, 0
    where the mean is no worse; ``nll``, the negative log-likelihood in nats, and ``negative_nll``, larger is better.
    All take a number for the middle of its bin, and predict the bin of largest share.

    Raises:
        ConfigError: a network that is no encoder and decoder; when the data is read, rows of another length than D.

    Source: A. Kendall and Y. Gal, arXiv 1703.04977 (the loss); pseudo-labels by predicted variance: UCVME, arXiv
    2302.07579, whose ensembles are not here.
    """

    main_metric = "r2"
    chosen_by = ("r2", "negative_nll")
    density = False
    every_class = False  # most bins are empty

    def __init__(
        self,
        bins: Bins,
        num_features: int,
        source: Callable[..., ClassificationSource],
        model: Callable[..., nn.Module],
        strong: nn.Module | None = None,
        light: nn.Module | None = None,
        labelled: nn.Module | None = None,
        choose_by: str | None = None,
    ) -> None:
        names = [f"{centre:.6g}" for centre in bins.centres]
        super().__init__(names, num_features, source, model, strong, light, labelled, choose_by=choose_by)
        self.bins = bins

    def build_model(self) -> nn.Module:
        network = self._model(num_classes=2)
        if not isinstance(network, EncoderDecoder):
            raise ConfigError(f"model: got {type(network).__name__}, expected an EncoderDecoder of residual_ssl.models")
        return GaussianBins(network, self.bins.count)

    def supervised_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        nats = F.nll_loss(logits, target, ignore_index=self.ignore_index, reduction="sum")
        return nats / mean_count((target != self.ignore_index).sum())

    def rows(self, logits: Tensor, selection: Selection) -> list[dict[str, str | float]]:
        """Expected number and its deviation beside confidence and trust."""
        centres = torch.tensor(self.bins.centres, dtype=torch.float64)
        shares = logits.double().cpu().softmax(1)
        mean = shares @ centres
        deviation = (shares @ centres.square() - mean.square()).clamp(min=0).sqrt()
        found = super().rows(logits, selection)
        return [
            {**row, "label": f"{value:.6g}", "deviation": sd}
            for row, value, sd in zip(found, mean.tolist(), deviation.tolist(), strict=True)
        ]

    def metadata(self) -> dict[str, object]:
        return {"low": self.bins.low, "high": self.bins.high, "bins": self.bins.count}

    def metric(self) -> Any:
        return _Errors(self.bins, self.ignore_index)

    def summary(self, computed: Any) -> dict[str, float]:
        count, total, squares, errors, nats = computed.tolist()
        variance = squares / count - (total / count) ** 2
        explained = 1 - errors / count / variance if variance > 0 else float(errors == 0)
        nll = nats / count + math.log(self.bins.width)
        return {"r2": 100 * max(explained, 0.0), "rmse": math.sqrt(errors / count), "nll": nll, "negative_nll": -nll}


class _Errors(Metric):  # type: ignore[misc]
    """Sums over the points: their number, values, squared values, squared errors, and negative log-shares."""

    full_state_update = False

    def __init__(self, bins: Bins, ignore_index: int) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        # Values from the middle of the range, so that sums of squares lose no digits.
        centres = torch.tensor(bins.centres, dtype=torch.float64)
        self.register_buffer("centres", centres - centres.mean(), persistent=False)
        self.add_state("sums", torch.zeros(5, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        known = target != self.ignore_index
        nats = F.nll_loss(logits.double(), target, ignore_index=self.ignore_index, reduction="none")[known]
        value, predicted = self.centres[target[known]], self.centres[logits.argmax(1)[known]]
        parts = (torch.ones_like(value), value, value.square(), (predicted - value).square(), nats)
        self.sums += torch.stack([part.sum() for part in parts])

    def compute(self) -> Tensor:
        sums: Tensor = self.sums
        return sums
