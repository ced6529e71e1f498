"""The training loop: a run from a configuration, continued where it stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from residual_ssl.config.settings import Settings
from residual_ssl.engine.dry_run import dry_run
from residual_ssl.engine.evaluation import evaluate_model
from residual_ssl.engine.interruption import stop_requests
from residual_ssl.engine.records.metrics import RunningMeans, check_finite
from residual_ssl.engine.records.result import RunResult, training_metrics, write_json
from residual_ssl.engine.records.resume import stored_run
from residual_ssl.engine.records.run_log import RunLog
from residual_ssl.engine.setup.devices import gpu_memory_gib
from residual_ssl.engine.setup.effective import EFFECTIVE_NAME
from residual_ssl.engine.setup.prepared import PreparedRun, prepare
from residual_ssl.runtime import checkpoint


def train(config: Mapping[str, Any]) -> RunResult:
    """Train as a configuration says; a run found in ``run_dir`` is continued, a finished one only reported.

    Under ``torchrun`` or ``accelerate launch`` the same call trains on all processes.

    Args:
        config: the keys of :class:`residual_ssl.config.settings.Settings`, as plain values.

    Returns:
        The result, which also lies in ``run_dir/result.json``. With ``dry_run`` one without figures, and no file.

    Raises:
        ConfigError: with all faults, before any data is read; or where ``run_dir`` holds a run with other settings.
        ResidualSSLError: data that is missing or contradicts its specification; a loss that is not finite.
    """
    settings = Settings.from_config(config)
    stored = stored_run(settings)
    if settings.dry_run:
        return dry_run(prepare(settings, stored), 0 if stored is None else stored["step"])
    if stored is not None and stored["step"] == stored["steps"]:
        finished = RunResult.read(Path(settings.run_dir))
        if finished is not None:
            return finished
    # Everything is built and all data opened before anything is written: what is lacking is said first.
    return Run(prepare(settings, stored), stored).train()


class Run:
    """One training run: the loop over steps, and what it has reached.

    Args:
        prepared: everything built.
        stored: the checkpoint that it was built from, None at the start.
    """

    def __init__(self, prepared: PreparedRun, stored: Mapping[str, Any] | None = None) -> None:
        self.prepared = prepared
        self.settings = prepared.settings
        self.run_dir = Path(prepared.settings.run_dir)
        self.step: int = stored["step"] if stored else 0
        self.seconds: float = stored["seconds"] if stored else 0.0
        self.best: dict[str, float] = stored["best"] if stored else {}
        self.last: dict[str, float] = stored["last"] if stored else {}

    def train(self) -> RunResult:
        """Run the steps that are left."""
        main = self.prepared.accelerator.is_main_process
        if main:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            write_json(self.run_dir / "config.json", asdict(self.settings))
            write_json(self.run_dir / EFFECTIVE_NAME, self.prepared.effective)
        self.prepared.show_effective(self.step)
        log = RunLog(self.run_dir, self.step) if main else None
        progress = tqdm(
            total=self.prepared.data.steps,
            initial=self.step,
            disable=not main,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
            desc=self.run_dir.name,
        )
        try:
            with stop_requests() as stopped:
                self._loop(log, progress, stopped)
        finally:
            progress.close()
            if log is not None:
                log.close()
        return self._result()

    def _loop(self, log: RunLog | None, progress: Any, stopped: Callable[[], bool]) -> None:
        settings, prepared = self.settings, self.prepared
        steps = prepared.data.steps
        labelled, unlabelled = prepared.batches(self.step)
        snapshot_steps = [steps * number // settings.snapshots for number in range(1, settings.snapshots + 1)]
        means = RunningMeans(prepared.accelerator)
        prepared.model.train()
        started = time.perf_counter()
        while self.step < steps:
            means.add(prepared.take_step(self.step, labelled, unlabelled))
            self.step += 1
            progress.update()
            evaluated = self.step % settings.evaluate_every == 0 or self.step == steps
            # Before every evaluation too: no checkpoint is written of a run that has diverged.
            if evaluated or self.step % settings.log_every == 0:
                figures = means.take()
                check_finite(figures["train/loss"], self.step, settings.run_dir)
                figures = {name: value for name, value in figures.items() if value == value}
                if log is not None:
                    log.write(self.step, {**figures, "train/rate": prepared.optimizer.param_groups[0]["lr"]})
                shown = {key.removeprefix("train/"): f"{figures[key]:.3f}" for key in _SHOWN if key in figures}
                progress.set_postfix({**shown, **self._score()})
            if self.step in snapshot_steps:
                number = snapshot_steps.index(self.step) + 1
                self._save(snapshot_name(number), weights_of=prepared.algorithm.evaluated(prepared.student))
            if evaluated:
                self.seconds += time.perf_counter() - started
                self._evaluate(log)
                started = time.perf_counter()
            if stopped() and self.step < steps:
                self.seconds += time.perf_counter() - started
                self._save("last.pt")
                tqdm.write(f"stopped after step {self.step}; the same command continues from there", file=sys.stderr)
                raise KeyboardInterrupt

    def _evaluate(self, log: RunLog | None) -> None:
        settings, prepared = self.settings, self.prepared
        network = prepared.algorithm.evaluated(prepared.student)
        figures = evaluate_model(
            prepared.task,
            network,
            prepared.accelerator.device,
            batch=settings.evaluation_batch,
            workers=settings.workers,
            process=prepared.accelerator.process_index,
            processes=prepared.accelerator.num_processes,
        )
        self.last = {"step": self.step, **figures}
        choice = prepared.task.choose_by or prepared.task.main_metric
        better = not self.best or figures[choice] > self.best[choice]
        if better:
            self.best = self.last
        if log is not None:
            log.write(self.step, {f"validation/{name}": value for name, value in figures.items()})
        # The best first: a run cut off between the two repeats these steps and writes the same again.
        if better:
            self._save("best.pt", weights_of=network)
        self._save("last.pt")

    def _save(self, name: str, weights_of: nn.Module | None = None) -> None:
        prepared = self.prepared
        if not prepared.accelerator.is_main_process:
            return
        content: dict[str, Any] = {
            "model": (weights_of or prepared.student).state_dict(),
            "config": asdict(self.settings),
            "class_names": list(prepared.task.class_names),
            "step": self.step,
        }
        selector = getattr(prepared.algorithm, "selector", None)
        if selector is not None:  # its memory, so that it judges predictions as it judged in training
            content["selector"] = selector.state_dict()
        if weights_of is None:
            scaler = prepared.accelerator.scaler
            content |= {
                "algorithm": prepared.algorithm.state_dict(),
                "optimizer": prepared.optimizer.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
                "steps": prepared.data.steps,
                "seconds": self.seconds,
                "best": self.best,
                "last": self.last,
            }
        checkpoint.save(self.run_dir / name, content)

    def _result(self) -> RunResult:
        prepared = self.prepared
        result = RunResult(
            self.run_dir,
            self.last,
            self.best,
            training_metrics(self.run_dir),
            self.seconds,
            gpu_memory_gib(prepared.accelerator.device),
            prepared.data.epoch_steps,
            prepared.task.main_metric,
            prepared.effective,
        )
        if prepared.accelerator.is_main_process:
            result.write(asdict(self.settings))
        return result

    def _score(self) -> dict[str, str]:
        metric = self.prepared.task.main_metric
        return {metric: f"{self.last[metric]:.1f}"} if self.last else {}


def snapshot_name(number: int) -> str:
    """File of a run's ``number``-th snapshot, from 1 on."""
    return f"snapshot-{number}.pt"


_SHOWN = ("train/loss", "train/coverage", "train/purity")
