"""A trained run as functions of images: labels with weights, and statistics for a decision on the whole pool."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from residual_ssl.commands.comparison.selectors import build_selectors
from residual_ssl.commands.devices import checked_device
from residual_ssl.commands.predict import judging_selector, tile_side
from residual_ssl.commands.prediction.tiled import tiled_logits
from residual_ssl.data.pools import LabelledRow, PoolImage, quantised, table_of_rows
from residual_ssl.engine.records.trained import TrainedRun, load_run
from residual_ssl.errors import ConfigError, ResidualSSLError, ResidualSSLWarning
from residual_ssl.selection import Selection, Selector
from residual_ssl.selection.pool import PoolStatistics, decide, judges_pool, summarise

# Points of a batch, whatever its number of images: a photograph of 1920×1080 goes alone.
_MOST_POINTS = 2**21
# Images decoded ahead of the network.
_AHEAD = 32
# Whole images that are judged together.
_TOGETHER = 1024


class SkippedImage(NamedTuple):
    """An image that could not be read, and what reading it said."""

    id: str
    reason: str


class PredictedBatch(NamedTuple):
    """Images of one size with their predictions.

    Attributes:
        images: B of them.
        inputs: of the task, ``(B, …)``.
        logits: ``(B, K, *S)``.
    """

    images: list[PoolImage]
    inputs: Tensor
    logits: Tensor


class PoolLabeller:
    """Label images with a trained run: functions of their arguments alone, for any engine to call.

    Args:
        run: run directory or checkpoint file, or a run that is loaded.
        selector: ``"NAME"`` or ``"NAME:KEY=VALUE:…"`` of ``configs/selector``; None: the run's own, or CSL where that
            needs more than a prediction.
        statistics: of the pool, for a selector that judges it as a whole.
        checkpoint_name, device, changes: as of :func:`residual_ssl.predict`.
        batch: images predicted together, fewer where they are large or their sizes differ.
        threads: that decode images.
        config_dir: folder with further selectors.

    Attributes:
        trained: the run.
        selector: in evaluation mode.
        dense: whether a prediction has several points.
        two_passes: whether the selector compares the images of the pool, so that :meth:`summarise` all of them comes
            first, then :meth:`decide`.

    ``__call__(table)``, for Ray, Spark and Daft: a ``pyarrow.Table`` with the columns ``id`` and ``image`` (binary, or
    a struct of bytes and path) becomes one of the columns that ``residual-ssl label`` writes. Images that cannot be
    read are left out, with a warning.

    Raises:
        ConfigError: a selector that needs what there is not; a task that reads no image files.
        MissingDataError, CheckpointError: no run there, or one that does not fit.
    """

    def __init__(
        self,
        run: str | Path | TrainedRun,
        *,
        selector: str | None = None,
        statistics: PoolStatistics | None = None,
        checkpoint_name: str = "best.pt",
        device: str = "auto",
        changes: Sequence[str] = (),
        batch: int = 16,
        threads: int = 4,
        config_dir: str | Path | None = None,
    ) -> None:
        if isinstance(run, TrainedRun):
            self.trained = run
        else:
            self.trained = load_run(
                run, checkpoint_name=checkpoint_name, device=checked_device(device), changes=changes
            )
        self.task = self.trained.task
        if not self.task.input_suffixes:
            raise ConfigError(f"run: its task, {type(self.task).__name__}, reads no image files; a pool is of images")
        self.batch = batch
        self._threads = max(1, threads)
        self.selector = _judging(self.trained, selector, config_dir)
        with torch.no_grad():
            example = self.task.example().unsqueeze(0).to(self.trained.device)
            logits = self.task.predict(self.trained.model, example)
        self.dense = logits.dim() > 2
        if self.task.num_values or (self.dense and logits.shape[2:] != example.shape[2:]):
            raise ConfigError(
                f"run: {type(self.task).__name__} predicts more than one class for each image or pixel, and stored "
                "labels are these alone; predict files instead, residual-ssl predict"
            )
        self.two_passes = judges_pool(self.selector, spatial=self.dense)
        if statistics is not None:
            self.decide(statistics)

    def summarise(self, images: Iterable[PoolImage], skipped: list[SkippedImage]) -> PoolStatistics:
        """Statistics of the predictions of images; those of other images are added to them."""
        found = PoolStatistics.empty(self.task.num_classes)
        for batch in self.predict(images, skipped):
            found += summarise(batch.logits, self.selector)
        return found

    def decide(self, statistics: PoolStatistics) -> None:
        """Judge from here on as the selector would judge the pool of these statistics as a whole."""
        self.selector = decide(self.selector, statistics).to(self.trained.device).eval()

    def label(self, images: Iterable[PoolImage], skipped: list[SkippedImage]) -> Iterator[LabelledRow]:
        """Labels, weights and trust of images, in their order.

        Args:
            images: of a shard. A selector that compares points and knows no pool compares those of a batch of maps, or
                of 1,024 whole images that follow each other.
            skipped: takes those that cannot be read.
        """
        together: list[tuple[list[PoolImage], Tensor, Tensor | None]] = []
        for batch in self.predict(images, skipped):
            together.append((batch.images, batch.logits, self.evidence(batch.inputs)))
            if self.dense or sum(len(some) for some, *_ in together) >= _TOGETHER:
                yield from self._rows(together)
                together = []
        if together:
            yield from self._rows(together)

    @torch.no_grad()
    def predict(self, images: Iterable[PoolImage], skipped: list[SkippedImage]) -> Iterator[PredictedBatch]:
        """Predictions of images in their order, batch by batch; those that cannot be read are added to ``skipped``."""
        for some, inputs in _batches(self._decoded(images, skipped), self.batch):
            try:
                inputs = inputs.to(self.trained.device)
                if tile_side(self.task, inputs[0], "auto") is None:
                    logits = self.task.predict(self.trained.model, inputs)
                else:
                    logits = tiled_logits(self.task, self.trained.model, inputs[0])
            except RuntimeError as error:
                raise ResidualSSLError(
                    f"{some[0].id} and {len(some) - 1} more: cannot be predicted, {_first_line(error)}; where memory "
                    "has run out, give a smaller --batch. What is finished is kept"
                ) from error
            yield PredictedBatch(some, inputs, logits)

    def judge(self, logits: Tensor, features: Tensor | None = None) -> Selection:
        """The selection of logits, with the evidence that :meth:`evidence` gave for their inputs."""
        evidence = {} if features is None else {"features": features}
        return self.selector(logits, **evidence)  # type: ignore[no-any-return]

    def evidence(self, inputs: Tensor) -> Tensor | None:
        """Features of inputs where the selector judges by them."""
        return self.task.features(inputs) if "features" in self.selector.needs.evidence else None

    def __call__(self, table: Any) -> Any:
        skipped: list[SkippedImage] = []
        rows = list(self.label(_images_of(table), skipped))
        for one in skipped:
            warnings.warn(ResidualSSLWarning(f"image left out: {one.id}: {one.reason}"), stacklevel=2)
        return table_of_rows(rows, self.task.class_names, dense=self.dense)

    def statistics_of(self, table: Any) -> PoolStatistics:
        """:meth:`summarise` of a table as of ``__call__``."""
        return self.summarise(_images_of(table), [])

    def _rows(self, together: Sequence[tuple[list[PoolImage], Tensor, Tensor | None]]) -> Iterator[LabelledRow]:
        logits = torch.cat([x for _, x, _ in together])
        features = [x for *_, x in together if x is not None]
        chosen = self.judge(logits, torch.cat(features) if features else None).map(Tensor.cpu)
        images = [image for some, *_ in together for image in some]
        columns = (chosen.label, quantised(chosen.weight), chosen.trusted)
        number = chosen.valid.reshape(len(images), -1).sum(1).clamp(min=1)
        # Both are 0 at points that are not valid.
        means = [
            (x.reshape(len(images), -1).sum(1, dtype=torch.float64) / number).tolist()
            for x in (chosen.confidence, chosen.weight)
        ]
        for image, label, weight, trusted, *rated in zip(images, *columns, *means, strict=True):
            content = image.image if isinstance(image.image, bytes) else str(image.image)
            yield LabelledRow(image.id, content, label, weight, trusted, *rated)

    def _decoded(self, images: Iterable[PoolImage], skipped: list[SkippedImage]) -> Iterator[tuple[PoolImage, Tensor]]:
        """Images with the input that each becomes, decoded by several threads ahead of the network."""
        source = iter(images)
        with ThreadPoolExecutor(self._threads) as pool:
            waiting: deque[tuple[PoolImage, Future[Tensor | SkippedImage]]] = deque(
                (image, pool.submit(self._read, image)) for image in islice(source, _AHEAD)
            )
            try:
                while waiting:
                    image, future = waiting.popleft()
                    found = future.result()
                    for following in islice(source, 1):
                        waiting.append((following, pool.submit(self._read, following)))
                    if isinstance(found, SkippedImage):
                        skipped.append(found)
                    else:
                        yield image, found
            finally:
                for _, future in waiting:
                    future.cancel()

    def _read(self, image: PoolImage) -> Tensor | SkippedImage:
        file: Any = None
        try:
            file = image.file()
            return self.task.read(file)
        except ConfigError:
            raise
        except (ResidualSSLError, OSError, RuntimeError, ValueError) as error:
            said = _first_line(error)
            for name in (image.id, str(file)):
                said = said.removeprefix(f"{name}: ")
            # Pillow names the file once more, by a path or as an object.
            return SkippedImage(image.id, said.replace(f" {file!r}", "").replace(f" {str(file)!r}", ""))


def _images_of(table: Any) -> Iterator[PoolImage]:
    """The images of a ``pyarrow.Table`` with the columns ``id`` and ``image``."""
    for name, cell in zip(table["id"].to_pylist(), table["image"].to_pylist(), strict=True):
        content = cell["bytes"] if isinstance(cell, dict) else cell
        yield PoolImage(name, content, "" if content is not None else "the cell is empty, expected an image")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def _judging(trained: TrainedRun, selector: str | None, config_dir: str | Path | None) -> Selector:
    """The selector of that name, or the run's own.

    Raises:
        ConfigError: one that needs what there is not.
    """
    own: Selector | None = getattr(trained.algorithm, "selector", None)
    if selector is None:
        by_features = own is not None and own.needs.evidence == ("features",)
        return own.to(trained.device).eval() if own is not None and by_features else judging_selector(trained)
    built = build_selectors([selector], config_dir=config_dir)[selector].to(trained.device).eval()
    needs = built.needs
    if needs.evidence or needs.fit or needs.pool:
        what = ", ".join(needs.evidence) or "a fit to labels"
        raise ConfigError(
            f"selector: {selector} needs {what} beside a prediction, which there is not here; train with it "
            f"(selector={selector.partition(':')[0]}), and leave --selector out"
        )
    return built


def _batches(decoded: Iterable[tuple[PoolImage, Tensor]], batch: int) -> Iterator[tuple[list[PoolImage], Tensor]]:
    """Neighbours of one size together, as many as a batch has and memory is meant for."""
    images: list[PoolImage] = []
    inputs: list[Tensor] = []
    for image, sample in decoded:
        most = max(1, min(batch, _MOST_POINTS // max(1, sample[0].numel())))
        if inputs and (len(inputs) >= most or inputs[0].shape != sample.shape):
            yield images, torch.stack(inputs)
            images, inputs = [], []
        images.append(image)
        inputs.append(sample)
    if inputs:
        yield images, torch.stack(inputs)
