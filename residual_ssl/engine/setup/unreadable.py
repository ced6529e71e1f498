"""Samples that cannot be read: another takes the place of each, all are counted and named, too many stop the run."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from accelerate.utils import gather_object
from torch.utils.data import Dataset, default_collate

from residual_ssl.errors import DataError, MissingDataError, ResidualSSLWarning
from residual_ssl.runtime.seeds import mixed_seed
from residual_ssl.task import Batch

# Unreadable samples one after the other, after which the set is taken for broken.
_IN_A_ROW = 8
# Samples that the result names; the count is of all.
_NAMED = 1000


class Fault(NamedTuple):
    """A sample that could not be read.

    Attributes:
        place: of the sample in its set.
        reason: what reading it said.
    """

    place: int
    reason: str


class ReadableSamples(Dataset[tuple[Batch, list[Fault]]]):
    """A training set in which another sample takes the place of one that cannot be read.

    The substitute is a function of seed and draw alone, so that a run that is continued, or divided among other
    processes, takes the same one.

    Args:
        dataset: by ``(index, draw)``.
        seed: of the run.

    Raises on reading:
        DataError: eight samples in a row that cannot be read.
    """

    def __init__(self, dataset: Dataset[Batch], seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: tuple[int, int]) -> tuple[Batch, list[Fault]]:
        index, draw = key
        faults: list[Fault] = []
        for attempt in range(1, _IN_A_ROW + 1):
            try:
                return self.dataset[index, draw], faults
            except (DataError, MissingDataError) as error:
                faults.append(Fault(index, str(error)))
            index, draw = mixed_seed(self.seed, key[1], attempt) % len(self), mixed_seed(self.seed, key[1], attempt, 1)
        raise DataError(
            f"training set: {_IN_A_ROW} samples drawn one after the other cannot be read, the last one as "
            f"{faults[-1].reason}; look at the data set: residual-ssl doctor dataset=…"
        )


def collate_with_faults(samples: list[tuple[Batch, list[Fault]]]) -> tuple[Batch, list[Fault]]:
    """A batch, and what could not be read for it."""
    return default_collate([sample for sample, _ in samples]), [fault for _, faults in samples for fault in faults]


class SkippedSamples:
    """The training samples that a run could not read, each counted once.

    Args:
        limit: the largest number of them that a run goes on with; None for any.
        found: those of the run before it was continued: reasons by set and place in it.
    """

    def __init__(self, limit: int | None = None, found: dict[str, dict[int, dict[str, str]]] | None = None) -> None:
        self.limit = limit
        self.found: dict[str, dict[int, dict[str, str]]] = found or {}

    def __len__(self) -> int:
        return sum(len(of_set) for of_set in self.found.values())

    def add(self, kind: str, data: Any, faults: list[Fault]) -> None:
        """Count the faults of a batch.

        Args:
            kind: name of the set.
            data: the set, for the names of its samples.
            faults: as read.

        Warns:
            ResidualSSLWarning: each sample once, with the reason.

        Raises:
            DataError: more samples than the limit.
        """
        known = self.found.setdefault(kind, {}) if faults else {}
        for fault in faults:
            if fault.place in known:
                continue
            known[fault.place] = {"name": sample_name(data, fault.place), "reason": fault.reason}
            warnings.warn(
                ResidualSSLWarning(f"{kind} sample left out, another takes its place: {fault.reason}"), stacklevel=2
            )
            if self.limit is not None and len(self) > self.limit:
                raise DataError(
                    f"max_errors: {len(self)} training samples cannot be read, expected at most {self.limit}; the last "
                    f"one: {fault.reason}. Mend the data (residual-ssl doctor dataset=… lists what is wrong), or raise "
                    "max_errors"
                )

    def gather(self, processes: int) -> None:
        """Take in what other processes have found; called by all of them."""
        for other in gather_object([self.found]) if processes > 1 else []:
            for kind, of_set in other.items():
                self.found.setdefault(kind, {}).update(of_set)

    def named(self) -> list[dict[str, str]]:
        """``set``, ``name`` and ``reason`` of each sample, a thousand at most."""
        rows = [
            {"set": kind, **row} for kind, of_set in sorted(self.found.items()) for _, row in sorted(of_set.items())
        ]
        return rows[:_NAMED]


def counted(
    batches: Iterator[tuple[Batch, list[Fault]]], kind: str, data: Any, skipped: SkippedSamples
) -> Iterator[Batch]:
    """The batches alone; their faults are counted."""
    for batch, faults in batches:
        skipped.add(kind, data, faults)
        yield batch


def sample_name(data: Any, index: int) -> str:
    """Name of a training sample, without reading it where its source can; its place where the source has no names."""
    samples = getattr(data, "samples", None)
    try:
        return str(samples.entry(index).image if hasattr(samples, "entry") else samples[index].name)  # type: ignore[union-attr,index]
    except Exception:  # a source without names, or the very sample that cannot be read
        return f"sample {index}"
