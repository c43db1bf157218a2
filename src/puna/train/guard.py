"""Watching for spikes: a loss or a gradient norm that is no number, or out of all proportion to those before it.

Two rules [ours], each beside the last `window` steps of the same stage: the loss lies `loss_mads` median absolute deviations above their
median, or the gradient norm is `norm_ratio` times their 90 % quantile. Training at nano scale wobbles by a few MADs; what these rules
catch is a broken row, a learning rate too high, or arithmetic gone wrong. Every spike goes to `spikes.jsonl` with the rows of its
batches, from which `puna.train.feed.batches_of` makes them again.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

# A loss that hardly moves has a MAD near zero: its deviations count as at least this share of the median.
_LEAST_MAD = 0.02
_QUANTILE = 0.9
_MAD_OF_NORMAL = 1.4826  # a normal distribution's standard deviation in MADs


class TrainingError(RuntimeError):
    """A run that cannot go on. The message names the step and the rows of the batch that did it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeRule:
    """When a step is a spike, and how many may be skipped one after another. The first `least` steps of a stage are never judged."""

    loss_mads: float = 10.0
    norm_ratio: float = 10.0
    window: int = 64
    least: int = 24
    most_skips: int = 5


class Reading(NamedTuple):
    """One model's step: its loss and the norm of its gradient before clipping."""

    loss: float
    norm: float


class Where(NamedTuple):
    """Which batches a step trained on: its number as the log counts (from 1), its stage, the cursor before it, and (index, kind, tokens)
    of each row; filler has index -1.
    """

    step: int
    stage: str
    cursor: int
    rows: Sequence[tuple[int, str, int]]


@dataclass(slots=True)
class History:
    """What the guard remembers; part of a run's state, since what it decides depends on it."""

    recent: dict[str, list[Reading]] = field(default_factory=dict)
    skipped_in_a_row: int = 0
    skipped: int = 0

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "History":
        history = cls(**saved)
        history.recent = {name: [Reading(*numbers) for numbers in readings] for name, readings in history.recent.items()}
        return history


class Guard:
    """Judges each step's readings against those before it."""

    def __init__(self, rule: SpikeRule, on_spike: str, history: History, file: Path) -> None:
        self.rule, self.on_spike, self.history, self.file = rule, on_spike, history, file

    def new_stage(self) -> None:
        """Other rows, other losses: nothing before this counts."""
        self.history.recent.clear()

    def is_spike(self, readings: Mapping[str, Reading], locate: Callable[[], Where]) -> bool:
        """Whether this step's update must not happen. Raises `TrainingError` if the run must not go on. `locate` is asked about a spike."""
        found = {name: why for name, reading in readings.items() if (why := self._why(name, reading))}
        if not found:
            for name, reading in readings.items():
                self.history.recent[name] = [*self.history.recent.get(name, []), reading][-self.rule.window :]
            self.history.skipped_in_a_row = 0
            return False
        self.history.skipped_in_a_row += 1
        self.history.skipped += 1
        where = locate()
        self._write(readings, where, found)
        if self.on_spike == "stop":
            raise TrainingError(
                f"{told(readings, where, found)}. {self.file.name} says which rows these are. The last checkpoint is whole: resume with "
                "a lower lr, with other rows, or with on_spike='skip'"
            )
        if self.history.skipped_in_a_row > self.rule.most_skips:
            raise TrainingError(
                f"{told(readings, where, found)}; {self.rule.most_skips} steps before it were skipped too. {self.file.name} lists "
                "them all. The last checkpoint is whole: resume with a lower lr or with other rows"
            )
        return True

    def _why(self, name: str, reading: Reading) -> str:
        """Empty if nothing is wrong."""
        if not (math.isfinite(reading.loss) and math.isfinite(reading.norm)):
            return "is no number"
        recent = self.history.recent.get(name, [])
        if len(recent) < self.rule.least:
            return ""
        losses = [one.loss for one in recent]
        middle = median(losses)
        mad = max(_MAD_OF_NORMAL * median(abs(loss - middle) for loss in losses), _LEAST_MAD * abs(middle))
        if reading.loss > middle + self.rule.loss_mads * mad:
            return f"loss spikes above {middle + self.rule.loss_mads * mad:.4g} (median {middle:.4g})"
        usual = sorted(one.norm for one in recent)[int(_QUANTILE * len(recent))]
        if reading.norm > self.rule.norm_ratio * usual:
            return f"gradient norm spikes above {self.rule.norm_ratio * usual:.4g} (nine of ten lie below {usual:.4g})"
        return ""

    def _write(self, readings: Mapping[str, Reading], where: Where, found: Mapping[str, str]) -> None:
        record = {
            "step": where.step,
            "stage": where.stage,
            "why": found,
            "readings": {name: [str(number) if not math.isfinite(number) else number for number in one] for name, one in readings.items()},
            "cursor": where.cursor,
            "rows": where.rows,
        }
        with self.file.open("a") as file:
            file.write(json.dumps(record) + "\n")


def told(readings: Mapping[str, Reading], where: Where, found: Mapping[str, str]) -> str:
    """A spike in words."""
    parts = [f"{name} has loss={readings[name].loss:.6g}, gradient norm={readings[name].norm:.6g}: {why}" for name, why in found.items()]
    indices = [index for index, _, _ in where.rows if index >= 0]
    return f"step {where.step} ({where.stage}): {'; '.join(parts)}; rows {min(indices, default=where.cursor)} to {max(indices, default=-1)}"
