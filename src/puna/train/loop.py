"""The training loop: packed batches in, a model out. One loop for every stage.

A run is a list of stages over one model. It stops at its last step, or between two steps when asked to (SIGINT, SIGTERM); killed at
any moment it resumes from its last checkpoint, and what it then computes is bit-identical to what it would have computed.
"""

import json
import math
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from puna.kernels.fusion import fused_elementwise
from puna.model import Model
from puna.train.learner import Learner
from puna.train.objective import Losses
from puna.train.packing import TrainingBatch, pack
from puna.train.run import Run, Stage
from puna.train.schedule import warmup_stable_decay
from puna.train.state import Position, load_state, save_state


class TrainingError(RuntimeError):
    """A run that cannot go on. The message names the step and the rows of the batch that did it."""


class Outcome(NamedTuple):
    """The models as training left them, by name, and whether that was after the last step."""

    models: Mapping[str, Model]
    finished: bool

    @property
    def model(self) -> Model:
        """The model of a run that trained one."""
        (model,) = self.models.values()
        return model


def train(run: Run, out: Path, *, resume: bool = False, console: Console | None = None) -> Outcome:
    """Train to the last step, or until a signal. Writes `out/state/` and `out/log.jsonl`."""
    # A mixed run meets some thousand shapes; oneDNN keeps compiled kernels for the last 1,024 by default (`docs/log.md`).
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "30000")
    console = console or Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    learners = {
        name: Learner(
            config, seed=run.seed, lr=run.lr, weight_decay=run.weight_decay, balance_rate=run.balance_rate, optimizer=run.optimizer
        )
        for name, config in run.configs.items()
    }
    models = {name: learner.model for name, learner in learners.items()}
    position = Position()
    if resume and ((out / "state").exists() or (out / "state.old").exists()):
        position = load_state(out / "state", learners, run.identity())
        console.print(f"resumed at step {position.step} of {run.total_steps}")
    elif run.prepare is not None:
        run.prepare(*models.values())
    finished = _Loop(run, out, learners, position, console).go()
    return Outcome({name: model.eval() for name, model in models.items()}, finished)


class _Loop:
    """The state of a running loop: what `train` set up, plus the numbers gathered since the last line of the log."""

    def __init__(self, run: Run, out: Path, learners: Mapping[str, Learner], position: Position, console: Console) -> None:
        self.run, self.out, self.learners, self.position, self.console = run, out, learners, position, console
        self.models = {name: learner.model for name, learner in learners.items()}
        self.feed = _Feed(run)
        self.stop = threading.Event()
        self.by_kind: dict[str, dict[str, list[float]]] = {name: defaultdict(lambda: [0.0, 0]) for name in learners}
        self.since_log_s = 0.0
        self.since_log_steps = 0

    def go(self) -> bool:
        """Step until the end or a signal; whether it was the end."""
        before = {s: signal.signal(s, self._ask_to_stop) for s in (signal.SIGINT, signal.SIGTERM)} if _in_main_thread() else {}
        saved_at = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
        try:
            with Progress(*columns, console=self.console) as progress:
                bar = progress.add_task("training", total=self.run.total_steps, completed=self.position.step)
                while self.position.step < self.run.total_steps and not self.stop.is_set():
                    line = self._step()
                    progress.update(bar, completed=self.position.step, description=line)
                    if time.monotonic() - saved_at > self.run.checkpoint_every_s:
                        self._save()
                        saved_at = time.monotonic()
            self._save()
        finally:
            self.feed.close()
            for which, handler in before.items():
                signal.signal(which, handler)
        finished = self.position.step >= self.run.total_steps
        if not finished:
            self.console.print(f"stopped after step {self.position.step} of {self.run.total_steps}; continue with --resume")
        return finished

    def _ask_to_stop(self, *_: object) -> None:
        self.stop.set()

    def _save(self) -> None:
        save_state(self.out / "state", self.learners, self.position, self.run.identity())

    def _step(self) -> str:
        """One optimiser step of every model; returns the progress bar's text."""
        started = time.monotonic()
        step = self.position.step
        stage, in_stage = self.run.stage_at(step)
        rate = stage.peak * warmup_stable_decay(in_stage, warmup=stage.warmup, total=stage.steps, decay=stage.decay)
        data = self.feed.take(step, self.position.cursor)
        objective = stage.objective or self.run.objective
        with fused_elementwise(self.run.fuse):
            losses = objective(self.models, data, step, in_stage / stage.steps)
        norms = {name: float(learner.clip(self.run.clip_norm)) for name, learner in self.learners.items()}
        for name in self.learners:
            loss, norm = float(losses[name].total), norms[name]
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise TrainingError(
                    f"step {step} ({stage.name}): {name} has loss={loss}, gradient norm={norm}; "
                    f"rows {self.position.cursor} to {data.cursor - 1}. The last checkpoint is whole: resume with a lower lr"
                )
        left = stage.steps - in_stage
        for learner in self.learners.values():
            learner.update(rate, fade=(left - 1) / left if left <= stage.decay else 1.0)  # a line to exactly zero
        elapsed = time.monotonic() - started
        self.position = Position(step + 1, data.cursor, self.position.seconds + elapsed)
        self._gather(data, losses, elapsed)
        if (step + 1) % self.run.log_every == 0 or step + 1 == self.run.total_steps:
            self._log(stage, rate, losses, norms)
        shown = " ".join(f"{float(one.total):.3f}" for one in losses.values())
        return f"{stage.name} loss {shown} {self.run.tokens_per_batch / elapsed:,.0f} tok/s"

    def _gather(self, data: TrainingBatch, losses: Mapping[str, Losses], elapsed: float) -> None:
        for name, by_kind in self.by_kind.items():
            for kind, (total, count) in data.loss_by_kind(losses[name].cross_entropy_T).items():
                by_kind[kind][0] += total
                by_kind[kind][1] += count
        self.since_log_s += elapsed
        self.since_log_steps += 1

    def _log(self, stage: Stage, rate: float, losses: Mapping[str, Losses], norms: Mapping[str, float]) -> None:
        record: dict[str, object] = {
            "step": self.position.step,
            "stage": stage.name,
            "lr": self.run.lr * rate,
            "tokens_per_s": round(self.since_log_steps * self.run.tokens_per_batch / self.since_log_s),
            "seconds": round(self.position.seconds, 1),
        }
        told = {name: self._told(name, losses[name], norms[name]) for name in self.learners}
        record |= next(iter(told.values())) if len(told) == 1 else {"models": told}
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        for by_kind in self.by_kind.values():
            by_kind.clear()
        self.since_log_s = 0.0
        self.since_log_steps = 0

    def _told(self, name: str, losses: Losses, norm: float) -> dict[str, object]:
        """One model's part of a line of the log."""
        load = self.learners[name].balancer.load()
        return {
            "loss": round(float(losses.total), 4),
            **{key: round(float(value), 4) for key, value in losses.extra.items()},
            "grad_norm": round(norm, 4),
            "router_entropy": round(load.entropy, 4),
            "largest_expert_share": round(load.largest_share, 4),
            "dead_experts": load.dead,
            "loss_by_kind": {kind: round(total / max(1, count), 4) for kind, (total, count) in sorted(self.by_kind[name].items())},
        }


class _Feed:
    """Packs the next batch in a thread while the current one trains. Batches depend on nothing but step and cursor."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="puna-feed")
        self.next: tuple[int, Future[TrainingBatch]] | None = None

    def take(self, step: int, cursor: int) -> TrainingBatch:
        """The batch of `step`, whose rows begin at `cursor`."""
        data = self.next[1].result() if self.next and self.next[0] == step else self._pack(step, cursor)
        if step + 1 < self.run.total_steps:
            self.next = (step + 1, self.thread.submit(self._pack, step + 1, data.cursor))
        return data

    def _pack(self, step: int, cursor: int) -> TrainingBatch:
        stage, _ = self.run.stage_at(step)
        return pack(stage.source, cursor, step, self.run.tokens_per_batch)

    def close(self) -> None:
        self.thread.shutdown(cancel_futures=True)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
