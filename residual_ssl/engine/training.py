"""The training loop: a run from a configuration, continued where it stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from residual_ssl.config.durations import seconds_of
from residual_ssl.config.settings import Settings
from residual_ssl.engine.agreement import Agreement
from residual_ssl.engine.callbacks import Callbacks
from residual_ssl.engine.dry_run import dry_run
from residual_ssl.engine.evaluation import NonFiniteLogitsError, evaluated
from residual_ssl.engine.interruption import StopRequested, stop_requests
from residual_ssl.engine.pages.run_page import write_run_page
from residual_ssl.engine.records.collapse import CollapseWatch
from residual_ssl.engine.records.divergence import SkippedSteps, check_loss, diverged, network_error, skipped_error
from residual_ssl.engine.records.metrics import RunningMeans
from residual_ssl.engine.records.result import RunResult, missing_metrics_note, training_metrics
from residual_ssl.engine.records.resume import BEST, LAST, processes_by_step, stored_run, warn_of_lost_best
from residual_ssl.engine.records.run_files import RunFiles, snapshot_name
from residual_ssl.engine.records.run_log import RunLog
from residual_ssl.engine.records.trackers import opened_log
from residual_ssl.engine.setup.devices import gpu_memory_gib, is_main_process
from residual_ssl.engine.setup.effective import EFFECTIVE_NAME
from residual_ssl.engine.setup.prepared import PreparedRun, prepare
from residual_ssl.engine.setup.unreadable import SkippedSamples
from residual_ssl.runtime.files import write_json
from residual_ssl.runtime.progress import steps_bar
from residual_ssl.runtime.run_lock import run_lock
from residual_ssl.selection import TrustAll

_NONE = Callbacks()


def train(config: Mapping[str, Any], callbacks: Callbacks = _NONE) -> RunResult:
    """Train as a configuration says; a run found in ``run_dir`` is continued, a finished one only reported.

    Under ``torchrun`` or ``accelerate launch`` the same call trains on all processes.

    Args:
        config: the keys of :class:`residual_ssl.config.settings.Settings`, as plain values.
        callbacks: functions to call on the way.

    Returns:
        The result, which also lies in ``run_dir/result.json``. With ``dry_run`` one without metrics, and no file.

    Raises:
        ConfigError: with all faults, before any data is read; or where ``run_dir`` holds a run with other settings, or
            one that another process is writing.
        ResidualSSLError: data that is missing or contradicts its specification; numbers that are not finite.
        StopRequested: a signal asked the run to stop; it is saved.
    """
    settings = Settings.from_config(config)
    stored = stored_run(settings)
    if settings.dry_run:
        return dry_run(prepare(settings, stored), 0 if stored is None else stored["step"])
    run_dir = Path(settings.run_dir)
    if stored is not None and stored["step"] == stored["steps"] and (run_dir / BEST).exists():
        finished = RunResult.read(run_dir)
        if finished is not None:
            return finished
    with run_lock(run_dir) if is_main_process() else nullcontext():
        stored = stored_run(settings)  # whoever held the lock may have gone on in the meantime
        # Everything is built and all data opened before anything is written: what is lacking is said first.
        return Run(prepare(settings, stored), stored, callbacks).train()


class Run:
    """One training run: the loop over steps, and what it has reached.

    Args:
        prepared: everything built.
        stored: the checkpoint that it was built from, None at the start.
        callbacks: functions to call on the way.
    """

    def __init__(
        self, prepared: PreparedRun, stored: Mapping[str, Any] | None = None, callbacks: Callbacks = _NONE
    ) -> None:
        self._callbacks = callbacks
        self.prepared = prepared
        self.settings = prepared.settings
        self.run_dir = Path(prepared.settings.run_dir)
        self.step: int = stored["step"] if stored else 0
        self.seconds: float = stored["seconds"] if stored else 0.0
        self.best: dict[str, float] = stored["best"] if stored else {}
        self.last: dict[str, float] = stored["last"] if stored else {}
        self._processes = processes_by_step(stored, self.step, prepared)
        self._effective = {**prepared.effective, "processes_from_step": self._processes}
        self._skipped = SkippedSteps(stored.get("skipped", 0) if stored else 0)
        self._unreadable = SkippedSamples(self.settings.max_errors, (stored or {}).get("unreadable"))
        self._files = RunFiles(prepared, self._progress, stored)
        timeout = self.settings.timeout
        self._agreement = Agreement(None if timeout is None else seconds_of(timeout))
        self._agreement.check_same(self.step, "the step to continue from")
        self._main: bool = prepared.accelerator.is_main_process
        trusts_all = isinstance(getattr(prepared.algorithm, "selector", None), TrustAll)
        warmup, names = self.settings.warmup_steps, prepared.task.class_names
        self._watch = CollapseWatch(prepared.data.steps, warmup, trusts_all, names, self._main)

    def train(self) -> RunResult:
        """Run the steps that are left."""
        prepared = self.prepared
        if self._main:
            write_json(self.run_dir / "config.json", asdict(self.settings))
            write_json(self.run_dir / EFFECTIVE_NAME, self._effective)
        prepared.show_effective(self.step)
        self._watch.rates(prepared.effective["learning_rates"])
        log = opened_log(self.settings, self.step, self._callbacks) if self._main else None
        progress = steps_bar(self.run_dir.name, self.step, prepared.data.steps, shown=self._main)
        try:
            with stop_requests() as requested:
                self._requested = requested
                self._recover(log)
                self._loop(log, progress)
        except StopRequested:
            if self._main:
                tqdm.write(f"stopped after step {self.step}; the same command continues from there", file=sys.stderr)
            raise
        finally:
            progress.close()
            if log is not None:
                log.close()
        return self._result()

    def _loop(self, log: RunLog | None, progress: Any) -> None:
        settings, prepared = self.settings, self.prepared
        steps = prepared.data.steps
        labelled, unlabelled = prepared.batches(self.step, self._unreadable)
        snapshot_steps = [steps * number // settings.snapshots for number in range(1, settings.snapshots + 1)]
        means = RunningMeans(prepared.accelerator)
        prepared.model.train()
        logged, started = (self.step, self._skipped.total), time.perf_counter()
        while self.step < steps:
            try:
                metrics = prepared.take_step(self.step, labelled, unlabelled)
            except Exception:
                if not prepared.take_step.computing:  # a sample that cannot be read; all steps before are whole
                    self.seconds += time.perf_counter() - started
                    self._save_last()
                raise
            self.step += 1
            progress.update()
            self._count(metrics, means)
            at_evaluation = self.step % settings.evaluate_every == 0 or self.step == steps
            if at_evaluation or self.step % settings.log_every == 0:
                self._log_window(log, means, logged, progress)
                logged = (self.step, self._skipped.total)
            stopping = self._agreement.any(self._requested.is_set(), f"step {self.step}")
            saved = at_evaluation or self.step in snapshot_steps or stopping
            if saved:
                self._check_network()
            if saved or self._files.due(self.step):
                self.seconds += time.perf_counter() - started
                started = time.perf_counter()
                self._save_last()
            if self.step in snapshot_steps:
                number = snapshot_steps.index(self.step) + 1
                self._files.write_weights(snapshot_name(number), prepared.algorithm.evaluated(prepared.student))
            if stopping and self.step < steps:
                self._agreement.wait("saving")  # a launcher ends all processes when the first one leaves
                raise StopRequested
            if at_evaluation:
                self._evaluate(log)
                started = time.perf_counter()

    def _count(self, metrics: Mapping[str, Any], means: RunningMeans) -> None:
        prepared, step = self.prepared, self.prepared.take_step
        own_scaling = prepared.accelerator.scaler is not None
        if not step.skipped or own_scaling:
            means.add(metrics)
        if self._skipped.add(step.skipped) and not own_scaling:
            names = prepared.data.sample_names(self.settings, self.step - 1)
            raise skipped_error(self.step, metrics, self._skipped, names, self._files.good())

    def _log_window(self, log: RunLog | None, means: RunningMeans, since: tuple[int, int], progress: Any) -> None:
        prepared = self.prepared
        metrics = means.take()
        if metrics:
            check_loss(metrics["train/loss"], self.step, self._files.good)
        metrics = {name: value for name, value in metrics.items() if value == value}
        points = int(prepared.take_step.labelled_points.item())
        prepared.take_step.labelled_points.zero_()
        self._watch.window(since[0], self.step, metrics.get("train/coverage"), points)
        counts = {"skipped_steps": self._skipped.total - since[1], "skipped_samples": len(self._unreadable)}
        metrics |= {f"train/{name}": count for name, count in counts.items() if count}
        if log is not None:
            log.write(self.step, {**metrics, "train/rate": prepared.optimizer.param_groups[0]["lr"]})
        shown = {key.removeprefix("train/"): f"{metrics[key]:.3f}" for key in _SHOWN if key in metrics}
        metric = prepared.task.main_metric
        score = {metric: f"{self.last[metric]:.1f}"} if metric in self.last else {}
        progress.set_postfix({**shown, **score})

    def _check_network(self) -> None:
        if entries := self._files.non_finite():
            raise network_error(entries, self.step, self._files.good())

    def _save_last(self) -> None:
        # Where a step was due by the clock, nothing has looked at the network yet.
        if self._main and not self._files.non_finite():
            self._files.write_last()

    def _recover(self, log: RunLog | None) -> None:
        """Do what a run that was cut off left undone at its last step, and make anew what has been lost."""
        settings, run_dir = self.settings, self.run_dir
        if self._agreement.any(self._main and bool(self.best) and not (run_dir / BEST).exists(), "start"):
            if self._main:
                warn_of_lost_best(run_dir, self.best["step"])
            self.best = {}
            if self.last.get("step") == self.step:
                self.last = {}
        at_evaluation = self.step % settings.evaluate_every == 0 or self.step == self.prepared.data.steps
        if self.step and at_evaluation and self.last.get("step") != self.step:
            self._evaluate(log)

    def _evaluate(self, log: RunLog | None) -> None:
        settings, prepared = self.settings, self.prepared
        network = prepared.algorithm.evaluated(prepared.student)
        self._unreadable.gather(prepared.accelerator.num_processes)
        try:
            found = evaluated(
                prepared.task,
                network,
                prepared.accelerator.device,
                batch=settings.evaluation_batch,
                workers=settings.workers,
                process=prepared.accelerator.process_index,
                processes=prepared.accelerator.num_processes,
                before_batch=self._stop_if_asked,
            )
        except NonFiniteLogitsError as error:
            self._files.set_last_aside()
            raise diverged(f"logits: not finite for {error.share}", self.step, self._files.good()) from error
        self._watch.evaluation(found.only_class)
        self.last = {"step": self.step, **found.metrics}
        choice = prepared.task.choose_by or prepared.task.main_metric
        # Where nothing is measured, the latest is the best that is known.
        better = choice not in self.best or found.metrics.get(choice, -float("inf")) > self.best[choice]
        if better:
            self.best = self.last
        if log is not None and found.metrics:
            log.write(self.step, {f"validation/{name}": value for name, value in found.metrics.items()})
        # The best first: a run cut off between the two evaluates again and writes the same.
        if better:
            self._files.write_weights(BEST, network)
        self._save_last()
        if self._main:
            self._callbacks.on_evaluation(self.step, found.metrics, self.run_dir / LAST)

    def _stop_if_asked(self) -> None:
        if self._agreement.any(self._requested.is_set(), f"the evaluation after step {self.step}"):
            raise StopRequested  # the step was saved before

    def _progress(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "last": self.last,
            "skipped": self._skipped.total,
            "unreadable": self._unreadable.found,
            "processes": self._processes,
        }

    def _result(self) -> RunResult:
        prepared = self.prepared
        note = missing_metrics_note(prepared.data.counts, prepared.task.main_metric, self.last)
        if note:
            prepared.show(note)
        result = RunResult(
            self.run_dir,
            self.last,
            self.best,
            training_metrics(self.run_dir),
            self.seconds,
            gpu_memory_gib(prepared.accelerator.device),
            prepared.data.epoch_steps,
            prepared.task.main_metric,
            self._effective,
            self._skipped.total,
            note,
            len(self._unreadable),
            self._unreadable.named(),
        )
        if self._main:
            result.write(asdict(self.settings))
            write_run_page(self.run_dir)
            self._callbacks.on_end(result)
        return result


_SHOWN = ("train/loss", "train/coverage", "train/purity")
