"""The training loop: a run from a configuration, continued where it stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from tqdm import tqdm

from residual_ssl.algorithms import Algorithm
from residual_ssl.components import build
from residual_ssl.diagnostics import selection_quality
from residual_ssl.engine import checkpoint
from residual_ssl.engine.evaluation import evaluate_model
from residual_ssl.engine.interruption import stop_requests
from residual_ssl.engine.loading import mixed_seed, to_device, training_batches
from residual_ssl.engine.optimization import learning_rate_factor, parameter_groups
from residual_ssl.engine.result import RunResult, training_figures, write_json
from residual_ssl.engine.run_log import RunLog
from residual_ssl.engine.settings import Settings
from residual_ssl.errors import CheckpointError, ConfigError, DataError, ResidualSSLError
from residual_ssl.task import Task

# Settings that may differ when a run is continued: they change no result.
_FREE_ON_RESUME = {"run_dir", "workers", "device", "log_every", "evaluation_batch"}


def train(config: Mapping[str, Any]) -> RunResult:
    """Train as a configuration says; a run found in ``run_dir`` is continued, a finished one only reported.

    Under ``torchrun`` or ``accelerate launch`` the same call trains on all processes.

    Args:
        config: the keys of :class:`residual_ssl.engine.settings.Settings`, as plain values.

    Returns:
        The result, which also lies in ``run_dir/result.json``.

    Raises:
        ConfigError: with all faults, before any data is read; or where ``run_dir`` holds a run with other settings.
        ResidualSSLError: data that is missing or contradicts its specification; a loss that is not finite.
    """
    return Run(Settings.from_config(config)).train()


class Run:
    """One training run: everything built, and the loop over steps."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.run_dir = Path(settings.run_dir)
        self.accelerator = Accelerator(
            cpu=settings.device == "cpu",
            mixed_precision=settings.precision,
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        stored = self._stored()
        torch.manual_seed(settings.seed)
        self.task: Task = build(settings.task, "task")
        self.algorithm: Algorithm = build(settings.algorithm, "algorithm")
        model = self.algorithm.build_model(self.task)
        if settings.init_from is not None and stored is None:
            path = Path(settings.init_from)
            checkpoint.restore_weights(model, checkpoint.load(path)["model"], path)
        self.algorithm.attach(model)
        groups = parameter_groups(model, settings.optimizer.get("lr"), settings.head_lr_multiplier)
        optimizer = build({**settings.optimizer, "_partial_": True}, "optimizer")(groups)
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.step, self.seconds = 0, 0.0
        self.best: dict[str, float] = {}
        self.last: dict[str, float] = {}
        if stored is not None:
            checkpoint.restore_weights(model, stored["model"], self.run_dir / "last.pt")
            self.algorithm.load_state_dict(stored["algorithm"])
            optimizer.load_state_dict(stored["optimizer"])
            self.step, self.seconds = stored["step"], stored["seconds"]
            self.best, self.last = stored["best"], stored["last"]
        else:
            self.algorithm.begin(settings.steps)
        self.algorithm.to(self.accelerator.device)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)

    def train(self) -> RunResult:
        """Run the steps that are left."""
        settings, main = self.settings, self.accelerator.is_main_process
        if self.step == settings.steps and (result := RunResult.read(self.run_dir)) is not None:
            return result
        # Data is opened before anything is written: what it lacks is said first.
        labelled, unlabelled = self.task.labelled(settings.seed), None
        if self.algorithm.needs_unlabelled:
            unlabelled = self.task.unlabelled(settings.seed)
        sizes = {"labelled": labelled, "unlabelled": unlabelled, "validation": self.task.validation()}
        counts = {name: len(data) for name, data in sizes.items() if data is not None}  # type: ignore[arg-type]
        for name, count in counts.items():
            if not count:
                raise DataError(f"{name} set: holds no samples; this run needs at least one")
        if main:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            write_json(self.run_dir / "config.json", asdict(settings))
            values = {**self.effective_values(), "samples": ", ".join(f"{n} {name}" for name, n in counts.items())}
            print("\n".join(f"{name:>20}  {value}" for name, value in values.items()), flush=True)
        log = RunLog(self.run_dir, self.step) if main else None
        progress = tqdm(
            total=settings.steps,
            initial=self.step,
            disable=not main,
            mininterval=0.5 if sys.stderr.isatty() else 30,
            dynamic_ncols=True,
            desc=self.run_dir.name,
        )
        try:
            with stop_requests() as stopped:
                self._loop(labelled, unlabelled, log, progress, stopped)
        finally:
            progress.close()
            if log is not None:
                log.close()
        return self._result()

    def _loop(
        self, labelled_set: Any, unlabelled_set: Any, log: RunLog | None, progress: Any, stopped: Callable[[], bool]
    ) -> None:
        settings = self.settings
        labelled = self._batches(labelled_set, settings.labelled_batch, stream=0)
        unlabelled = None
        if unlabelled_set is not None:
            unlabelled = self._batches(unlabelled_set, settings.unlabelled_batch, stream=1)
        sums: dict[str, Tensor] = {}
        count = 0
        self.model.train()
        started = time.perf_counter()
        while self.step < settings.steps:
            for name, value in self._train_step(labelled, unlabelled).items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            count += 1
            self.step += 1
            progress.update()
            evaluated = self.step % settings.evaluate_every == 0 or self.step == settings.steps
            # Before every evaluation too: no checkpoint is written of a run that has diverged.
            if evaluated or self.step % settings.log_every == 0:
                figures = {name: (value / count).item() for name, value in sums.items()}
                figures = {name: value for name, value in figures.items() if name == "train/loss" or value == value}
                sums, count = {}, 0
                self._check_finite(figures["train/loss"])
                if log is not None:
                    log.write(self.step, {**figures, "train/rate": self.optimizer.param_groups[0]["lr"]})
                shown = {key.removeprefix("train/"): f"{figures[key]:.3f}" for key in _SHOWN if key in figures}
                progress.set_postfix({**shown, **self._score()})
            if evaluated:
                self.seconds += time.perf_counter() - started
                self._evaluate(log)
                started = time.perf_counter()
            if stopped() and self.step < settings.steps:
                self.seconds += time.perf_counter() - started
                self._save("last.pt")
                tqdm.write(f"stopped after step {self.step}; the same command continues from there", file=sys.stderr)
                raise KeyboardInterrupt

    def _train_step(self, labelled: Any, unlabelled: Any) -> dict[str, Tensor]:
        settings, accelerator = self.settings, self.accelerator
        factor = learning_rate_factor(self.step, settings.steps, settings.warmup_steps, settings.power)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        taught = to_device(next(labelled), accelerator.device)
        free = None if unlabelled is None else to_device(next(unlabelled), accelerator.device)
        # All randomness of a step follows from its number: continuing needs no generator states. Loaders, which draw
        # when they start, come before.
        torch.manual_seed(mixed_seed(settings.seed, self.step, accelerator.process_index))
        with accelerator.autocast():
            output = self.algorithm.step(self.model, self.task, taught, free)
        accelerator.backward(output.loss)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.algorithm.after_step(accelerator.unwrap_model(self.model))
        figures = {"loss": output.loss.detach(), **{f"loss_{name}": value for name, value in output.terms.items()}}
        if output.selection is not None and free is not None:
            figures.update(selection_quality(output.selection, free.get("truth"), self.task.ignore_index))
        return {f"train/{name}": value for name, value in figures.items()}

    def _evaluate(self, log: RunLog | None) -> None:
        accelerator, settings = self.accelerator, self.settings
        network = self.algorithm.evaluated(accelerator.unwrap_model(self.model))
        figures = evaluate_model(
            self.task,
            network,
            accelerator.device,
            batch=settings.evaluation_batch,
            workers=settings.workers,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        self.last = {"step": self.step, **figures}
        main_metric = self.task.main_metric
        better = not self.best or figures[main_metric] > self.best[main_metric]
        if better:
            self.best = self.last
        if log is not None:
            log.write(self.step, {f"validation/{name}": value for name, value in figures.items()})
        # The best first: a run cut off between the two repeats these steps and writes the same again.
        if better:
            self._save("best.pt", weights_of=network)
        self._save("last.pt")

    def _save(self, name: str, weights_of: nn.Module | None = None) -> None:
        if not self.accelerator.is_main_process:
            return
        student = self.accelerator.unwrap_model(self.model)
        content: dict[str, Any] = {
            "model": (weights_of or student).state_dict(),
            "config": asdict(self.settings),
            "class_names": list(self.task.class_names),
            "step": self.step,
        }
        if weights_of is None:
            content |= {
                "algorithm": self.algorithm.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "seconds": self.seconds,
                "best": self.best,
                "last": self.last,
            }
        checkpoint.save(self.run_dir / name, content)

    def _stored(self) -> dict[str, Any] | None:
        path = self.run_dir / "last.pt"
        if not path.exists():
            return None
        stored = checkpoint.load(path)
        if "optimizer" not in stored:
            raise CheckpointError(f"checkpoint {path}: holds weights only, training cannot be continued from it")
        old, new = stored["config"], asdict(self.settings)
        changed = sorted(key for key in new if key not in _FREE_ON_RESUME and old.get(key) != new[key])
        if changed:
            raise ConfigError(
                f"run_dir: {self.run_dir} holds a run with other settings ({', '.join(changed)}); "
                "choose another run_dir, or remove that folder to start again"
            )
        return stored

    def _result(self) -> RunResult:
        memory = None
        if self.accelerator.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated() / 2**30
        figures = training_figures(self.run_dir)
        result = RunResult(self.run_dir, self.last, self.best, figures, self.seconds, memory)
        if self.accelerator.is_main_process:
            result.write(asdict(self.settings))
        return result

    def effective_values(self) -> dict[str, str]:
        """What the run amounts to on this machine, for the console."""
        settings, accelerator = self.settings, self.accelerator
        model = accelerator.unwrap_model(self.model)
        device = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else str(accelerator.device)
        return {
            "run directory": f"{self.run_dir}" + (f" (continued from step {self.step})" if self.step else ""),
            "device": f"{device}, {accelerator.num_processes} process(es), precision {settings.precision}",
            "global batch": f"{settings.labelled_batch} labelled"
            + (f" + {settings.unlabelled_batch} unlabelled" if self.algorithm.needs_unlabelled else ""),
            "steps": f"{settings.steps}, evaluation every {settings.evaluate_every}",
            "learning rate": ", ".join(f"{rate:g}" for rate in self.rates),
            "model": f"{type(model).__name__}, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, "
            f"{self.task.num_classes} classes",
        }

    def _batches(self, dataset: Any, batch: int, stream: int) -> Any:
        return training_batches(
            dataset,
            batch,
            seed=mixed_seed(self.settings.seed, stream),
            start=self.step,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            workers=self.settings.workers,
            pin=self.accelerator.device.type == "cuda",
        )

    def _score(self) -> dict[str, str]:
        metric = self.task.main_metric
        return {metric: f"{self.last[metric]:.1f}"} if self.last else {}

    def _check_finite(self, loss: float) -> None:
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise ResidualSSLError(
                f"loss: got {loss} at step {self.step}; the run diverged. Lower optimizer.lr or raise warmup_steps; "
                f"the checkpoints in {self.run_dir} are from before"
            )


_SHOWN = ("train/loss", "train/coverage", "train/purity")
