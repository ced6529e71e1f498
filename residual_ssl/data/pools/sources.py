"""Sources of training data with a labelled pool: beside labelled images, or alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from residual_ssl.data.pools.stored import StoredClasses, StoredMaps, StoredRows
from residual_ssl.data.pools.summary import PoolSummary
from residual_ssl.data.spec import DatasetSpec
from residual_ssl.data.splits.lists import check_disjoint, few
from residual_ssl.errors import ConfigError

# Pools of more rows are not searched for images of the validation set.
_SEARCHED = 1_000_000


class WithLabelledPool:
    """A source whose unlabelled samples are those of a labelled pool, with their stored labels.

    Args:
        source: gives labelled and validation samples; for segmentation or classification.
        pool: folder that ``residual-ssl label`` wrote.
        images_root: folder that paths of images are relative to, where they have moved; None: as they were labelled.

    Attributes are those of a :class:`SegmentationSource` or :class:`ClassificationSource`. The pool's images are those
    of any names; of up to a million it is checked that none has the name of a validation image.

    Raises:
        MissingDataError: no labelled pool there, or one that is not finished.
        ConfigError: a pool of other classes, or of labels of another kind.
        DataError: an image of the validation set in the pool.
    """

    def __init__(self, source: Callable[[], Any], pool: str | Path, *, images_root: str | Path | None = None) -> None:
        base = source()
        dense = hasattr(base, "spec")
        rows = _rows(pool, base.spec.classes if dense else base.classes, dense, images_root)
        if dense:
            self.spec: DatasetSpec = base.spec
        self.classes: tuple[str, ...] = rows.summary.classes
        self.labelled, self.validation = base.labelled, base.validation
        self.unlabelled: Any = StoredMaps(rows) if dense else StoredClasses(rows)
        if len(rows) <= _SEARCHED and hasattr(self.validation, "entry"):
            names = {self.validation.entry(i).image for i in range(len(self.validation))}
            check_disjoint(
                [("the validation set", names), ("the labelled pool", list(rows.column("id")))],
                fix="label a pool without them, or name other validation images",
            )


class LabelledPool:
    """A labelled pool as a source of its own: its labels are those to learn from, as hard labels, and its images the
    unlabelled samples, with the same labels stored.

    A hard label counts in full or not at all: one that weighs 0 is ignored, and of whole images left out. Weights in
    between are honoured where stored labels teach (``selector=stored``).

    Args:
        pool, images_root: as of :class:`WithLabelledPool`.
        classes: names of the classes, or a :class:`DatasetSpec` for labels that are maps.
        validation: a source whose validation samples are taken; None for none.

    Raises:
        MissingDataError, ConfigError: as :class:`WithLabelledPool`.
    """

    def __init__(
        self,
        pool: str | Path,
        classes: Sequence[str] | DatasetSpec,
        *,
        validation: Callable[[], Any] | None = None,
        images_root: str | Path | None = None,
    ) -> None:
        spec = classes if isinstance(classes, DatasetSpec) else None
        names = spec.classes if spec is not None else classes
        rows = _rows(pool, names, spec is not None, images_root)  # type: ignore[arg-type]
        self.classes = rows.summary.classes
        self.labelled: Any
        self.unlabelled: Any
        if spec is not None:
            self.spec = spec
            self.labelled = StoredMaps(rows, taught=True, ignore_index=spec.ignore_index)
            self.unlabelled = StoredMaps(rows)
        else:
            self.labelled, self.unlabelled = StoredClasses(rows, taught=True), StoredClasses(rows)
        self.validation: Any = _Nothing() if validation is None else validation().validation


class _Nothing(list[Any]):
    """No samples of either kind."""

    labels: tuple[int | None, ...] = ()


def _rows(pool: str | Path, classes: Sequence[str], dense: bool, images_root: str | Path | None) -> StoredRows:
    summary = PoolSummary.read(pool)
    if summary.dense != dense:
        kinds = ("an image", "a pixel")
        raise ConfigError(
            f"pool: {pool} has a label for {kinds[summary.dense]}, expected one for {kinds[dense]}; label "
            "the pool with a run of this task"
        )
    if summary.classes != tuple(classes):
        raise ConfigError(
            f"pool: {pool} was labelled with the classes {few(summary.classes)}, expected {few(tuple(classes))}; give "
            "the classes of the run that labelled it, in its order"
        )
    return StoredRows(summary, images_root)
