"""What a run tells: one JSON line every few steps, the same as TensorBoard curves, and the words beside the progress bar.

Between two lines everything stays where it was computed, so that a GPU is asked for numbers once a line. A run that resumes cuts from
`log.jsonl` and `spikes.jsonl` what lies behind its checkpoint: no step stands there twice.
"""

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from torch import Tensor

from puna.kernels.precision import fast_dtype
from puna.train.events import EventFile
from puna.train.guard import Reading
from puna.train.learner import Learner
from puna.train.machine import flops_per_tile, flops_per_token, matmul_limit
from puna.train.objective import Losses
from puna.train.packing import GROUPINGS, TrainingBatch
from puna.train.run import Run
from puna.train.state import Position

_FILES = ("log.jsonl", "spikes.jsonl")


class _Sums(NamedTuple):
    """A batch's cross-entropy by row: who the rows are, how many tokens each was scored on, and the sums, still on the device."""

    groups: Mapping[str, tuple[str, ...]]
    scored: tuple[int, ...]
    loss: Tensor


class Logbook:
    """Gathers each step, writes a line when asked to."""

    def __init__(self, run: Run, out: Path, position: Position, console: Console) -> None:
        self.run, self.out = run, out
        for name in _FILES:
            cut_behind(out / name, position.step)
        self.events = EventFile(out / "tensorboard", position.step + 1)
        self.limit = matmul_limit(run.device)
        precision = str(fast_dtype(torch.device(run.device).type)).removeprefix("torch.")
        console.print(f"{run.device} multiplies {precision} matrices at {self.limit / 1e9:,.0f} GFLOP/s; training runs in {precision}")
        self.token_flops = sum(flops_per_token(config) for config in run.configs.values())
        self.tile_flops = sum(flops_per_tile(config) for config in run.configs.values())
        self.names = tuple(run.configs)
        self.tokens_per_s = 0.0
        self.latest: dict[str, float] = {}
        self._begin(position)

    def _begin(self, position: Position) -> None:
        self.since = replace(position)
        self.sums: dict[str, list[_Sums]] = {name: [] for name in self.names}
        self.readings: dict[str, list[Reading]] = {name: [] for name in self.names}
        self.flops = 0.0

    def gather(self, packed: Sequence[TrainingBatch], losses: Sequence[Mapping[str, Losses]]) -> None:
        """Remember a step's batches and what they cost; reads nothing from the device."""
        for data, of_models in zip(packed, losses, strict=True):
            tiles = 0 if data.batch.tiles is None else len(data.batch.tiles)
            self.flops += self.token_flops * len(data.batch) + self.tile_flops * tiles
            for name in self.names:
                self.sums[name].append(_Sums(data.groups, data.scored, data.sum_rows(of_models[name].cross_entropy_T)))

    def read(self, readings: Mapping[str, Reading]) -> None:
        """Remember what a step was found to cost."""
        for name, reading in readings.items():
            self.readings[name].append(reading)
            self.latest[name] = reading.loss

    def write(
        self, position: Position, stage: str, rate: float, learners: Mapping[str, Learner], extra: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """A line for the steps since the last one."""
        steps, seconds = position.step - self.since.step, position.seconds - self.since.seconds
        self.tokens_per_s = steps * self.run.tokens_per_step / max(seconds, 1e-9)
        record: dict[str, object] = {
            "step": position.step,
            "stage": stage,
            "lr": self.run.lr * rate,
            "tokens_per_s": round(self.tokens_per_s),
            "share_of_matmul_limit": round(self.flops / max(seconds, 1e-9) / self.limit, 4),
            "seconds": round(position.seconds, 1),
            "skipped_steps": position.history.skipped,
        }
        told = {name: self._of_model(name, learners[name], extra.get(name, {})) for name in self.names}
        record |= next(iter(told.values())) if len(told) == 1 else {"models": told}
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.events.numbers(position.step, {name: value for name, value in flat_numbers(record).items() if name != "step"})
        self._begin(position)

    def _of_model(self, name: str, learner: Learner, extra: Mapping[str, Tensor]) -> dict[str, object]:
        load = learner.balancer.load()
        losses, norms = zip(*self.readings[name], strict=True) if self.readings[name] else ((), ())
        told: dict[str, object] = {
            "loss": _mean(losses),
            **{key: round(float(value), 4) for key, value in extra.items()},
            "grad_norm": _mean(norms),
            "router_entropy": round(load.entropy, 4),
            "largest_expert_share": round(load.largest_share, 4),
            "dead_experts": load.dead,
        }
        sums = [(one, one.loss.tolist()) for one in self.sums[name]]
        for grouping in GROUPINGS:
            totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
            for one, by_row in sums:
                for group, loss, scored in zip(one.groups[grouping], by_row, one.scored, strict=True):
                    totals[group][0] += loss
                    totals[group][1] += scored
            told[f"loss_by_{grouping}"] = {
                group: round(loss / max(1, scored), 4) for group, (loss, scored) in sorted(totals.items()) if group
            }
        return told

    def in_words(self, position: Position) -> str:
        """The progress bar's text: the stage, each model's last loss, speed, time to the end."""
        stage = self.run.stages[min(position.stage, len(self.run.stages) - 1)]
        shown = " ".join(f"{loss:.3f}" for loss in self.latest.values())
        seconds = position.seconds - self.since.seconds
        steps = position.step - self.since.step
        speed = steps * self.run.tokens_per_step / seconds if steps and seconds > 0 else self.tokens_per_s
        eta = timedelta(seconds=round(seconds_left(self.run, position, speed))) if speed else "?"
        return f"{stage.name}, step {position.step}, loss {shown or '-'}, {speed:,.0f} tok/s, {eta} left"

    def close(self) -> None:
        self.events.close()


def _mean(numbers: Sequence[float]) -> float | None:
    return round(sum(numbers) / len(numbers), 4) if numbers else None


def seconds_left(run: Run, position: Position, tokens_per_s: float) -> float:
    """To the end of the run: stages by the clock as they say, steps at `tokens_per_s`."""
    left = 0.0
    for number, stage in enumerate(run.stages[position.stage :]):
        done = (position.stage_step, position.stage_seconds) if number == 0 else (0, 0.0)
        left += max(0.0, stage.left(*done)) * (run.tokens_per_step / tokens_per_s if stage.steps is not None else 1.0)
    return left


def flat_numbers(record: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """A line's numbers by path: {"models": {"scout": {"loss": 2}}} gives {"models/scout/loss": 2.0}."""
    flat: dict[str, float] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            flat |= flat_numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            flat[prefix + key] = float(value)
    return flat


def cut_behind(file: Path, step: int) -> None:
    """Drop the lines of later steps than `step`, and one that a kill left half-written."""
    if not file.exists():
        return
    text = file.read_text()
    kept = [line for line in text.splitlines() if _step_of(line) <= step]
    cut = "".join(line + "\n" for line in kept)
    if cut != text:
        fresh = file.with_name(file.name + ".new")
        fresh.write_text(cut)
        os.replace(fresh, file)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return float("inf")  # half a line
