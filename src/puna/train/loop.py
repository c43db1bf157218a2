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
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from puna.config import ModelConfig
from puna.kernels.fusion import fused_elementwise
from puna.model import Model
from puna.model.init import initialize
from puna.model.loss import next_token_loss
from puna.train.balance import Balancer, Load
from puna.train.optimizer import build_optimizers
from puna.train.packing import RowSource, TrainingBatch, pack
from puna.train.schedule import warmup_stable_decay
from puna.train.state import Position, load_state, save_state


class TrainingError(RuntimeError):
    """A run that cannot go on. The message names the step and the rows of the batch that did it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stretch of steps over one source. The learning rate is `peak` times the run's, warmed up and decayed inside the stage."""

    name: str
    steps: int
    source: RowSource
    peak: float = 1.0
    warmup: int = 0
    decay: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything that decides what is computed. `lr` is the peak of both optimisers (Muon's updates are scaled to AdamW's).

    `prepare` is called once on the fresh model, before the first step: a vision tower's warm-up, say.
    """

    config: ModelConfig
    stages: Sequence[Stage]
    tokens_per_batch: int
    prepare: Callable[[Model], None] | None = None
    lr: float
    weight_decay: float = 0.0
    z_loss: float = 1e-4
    clip_norm: float = 1.0
    balance_rate: float = 1e-2
    seed: int = 0
    fuse: bool = True
    log_every: int = 10
    checkpoint_every_s: float = 300.0

    @property
    def total_steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage of a step, and the step within it."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise IndexError(f"step lies {step} steps behind the last of {self.total_steps}")

    def identity(self) -> dict[str, object]:
        """What a checkpoint must agree with to be continued by this run. Numbers of steps may change: stages can be cut short."""
        return {"model": self.config.name, "width": self.config.width, "tokens_per_batch": self.tokens_per_batch, "seed": self.seed}


class Outcome(NamedTuple):
    """The model as training left it, and whether that was after the last step."""

    model: Model
    finished: bool


def train(run: Run, out: Path, *, resume: bool = False, console: Console | None = None) -> Outcome:
    """Train to the last step, or until a signal. Writes `out/state/` and `out/log.jsonl`."""
    # A mixed run meets some thousand shapes; oneDNN keeps compiled kernels for the last 1,024 by default (`docs/log.md`).
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "30000")
    console = console or Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    model = initialize(Model(run.config), torch.Generator().manual_seed(run.seed)).train()
    optimizers = build_optimizers(model, run.lr, run.weight_decay)
    position = Position()
    if resume and ((out / "state").exists() or (out / "state.old").exists()):
        position = load_state(out / "state", model, optimizers, run.identity())
        console.print(f"resumed at step {position.step} of {run.total_steps}")
    elif run.prepare is not None:
        run.prepare(model)
    finished = _Loop(run, out, model, optimizers, position, console).go()
    return Outcome(model.eval(), finished)


class _Loop:
    """The state of a running loop: what `train` set up, plus the numbers gathered since the last line of the log."""

    def __init__(
        self, run: Run, out: Path, model: Model, optimizers: list[torch.optim.Optimizer], position: Position, console: Console
    ) -> None:
        self.run, self.out, self.model, self.optimizers, self.position, self.console = run, out, model, optimizers, position, console
        self.balancer = Balancer(model, run.balance_rate)
        self.feed = _Feed(run)
        self.stop = threading.Event()
        self.by_kind: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
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
        save_state(self.out / "state", self.model, self.optimizers, self.position, self.run.identity())

    def _step(self) -> str:
        """One optimiser step; returns the progress bar's text."""
        started = time.monotonic()
        step = self.position.step
        stage, in_stage = self.run.stage_at(step)
        rate = stage.peak * warmup_stable_decay(in_stage, warmup=stage.warmup, total=stage.steps, decay=stage.decay)
        data = self.feed.take(step, self.position.cursor)
        loss, cross_entropy_T = self._differentiate(data)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.run.clip_norm)
        if not (math.isfinite(loss) and math.isfinite(float(norm))):
            raise TrainingError(
                f"step {step} ({stage.name}): loss={loss}, gradient norm={float(norm)}; "
                f"rows {self.position.cursor} to {data.cursor - 1}. The last checkpoint is whole: resume with a lower lr"
            )
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        left = stage.steps - in_stage
        load = self.balancer.step(fade=(left - 1) / left if left <= stage.decay else 1.0)  # a line to exactly zero
        elapsed = time.monotonic() - started
        self.position = Position(step + 1, data.cursor, self.position.seconds + elapsed)
        self._gather(data, cross_entropy_T, elapsed)
        if (step + 1) % self.run.log_every == 0 or step + 1 == self.run.total_steps:
            self._log(stage, rate, loss, float(norm), load)
        return f"{stage.name} loss {loss:.3f} {self.run.tokens_per_batch / elapsed:,.0f} tok/s"

    def _differentiate(self, data: TrainingBatch) -> tuple[float, torch.Tensor]:
        with fused_elementwise(self.run.fuse):
            with torch.autocast("cpu", torch.bfloat16):
                hidden_TD = self.model(data.batch).to(torch.bfloat16)
            loss = next_token_loss(hidden_TD, self.model.text.head.weight, data.targets, data.weights, self.run.z_loss)
            loss.total.backward()
        return float(loss.total.detach()), loss.cross_entropy_T

    def _gather(self, data: TrainingBatch, cross_entropy_T: torch.Tensor, elapsed: float) -> None:
        for kind, (total, count) in data.loss_by_kind(cross_entropy_T).items():
            self.by_kind[kind][0] += total
            self.by_kind[kind][1] += count
        self.since_log_s += elapsed
        self.since_log_steps += 1

    def _log(self, stage: Stage, rate: float, loss: float, norm: float, load: Load) -> None:
        record = {
            "step": self.position.step,
            "stage": stage.name,
            "loss": round(loss, 4),
            "lr": self.run.lr * rate,
            "grad_norm": round(norm, 4),
            "tokens_per_s": round(self.since_log_steps * self.run.tokens_per_batch / self.since_log_s),
            "seconds": round(self.position.seconds, 1),
            "router_entropy": round(load.entropy, 4),
            "largest_expert_share": round(load.largest_share, 4),
            "dead_experts": load.dead,
            "loss_by_kind": {kind: round(total / max(1, count), 4) for kind, (total, count) in sorted(self.by_kind.items())},
        }
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.by_kind.clear()
        self.since_log_s = 0.0
        self.since_log_steps = 0


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
