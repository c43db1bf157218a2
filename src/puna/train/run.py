"""What a run is: models, stages over sources of rows, and every number that decides what is computed. Plain data; the loop runs it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from puna.config import ModelConfig
from puna.train.guard import SpikeRule
from puna.train.objective import NextToken, Objective
from puna.train.optimizer import OptimizerName
from puna.train.packing import RowSource
from puna.train.schedule import fall, rise

_ROWS_OF_A_FINGERPRINT = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stretch of training over one source, of `steps` steps or of `minutes` minutes of the run's clock.

    The learning rate is `peak` times the run's. It rises over the first `warmup` steps and falls to zero over the last `decay` steps, or
    the last `decay_minutes` minutes of a stage by the clock. A stage by steps is deterministic; one by the clock is as good as its clock.
    `objective` replaces the run's in this stage.
    """

    name: str
    source: RowSource
    steps: int | None = None
    minutes: float | None = None
    peak: float = 1.0
    warmup: int = 0
    decay: int = 0
    decay_minutes: float = 0.0
    objective: Objective | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"stage {self.name!r} has steps={self.steps} and minutes={self.minutes}; give exactly one of them")
        if (self.decay and self.steps is None) or (self.decay_minutes and self.minutes is None):
            raise ValueError(
                f"stage {self.name!r} ends by {'minutes' if self.steps is None else 'steps'}, but has decay={self.decay} and "
                f"decay_minutes={self.decay_minutes}; decay is in steps, decay_minutes in minutes: use the one that the stage ends by"
            )

    def left(self, steps: int, seconds: float) -> float:
        """What remains after so many steps and seconds, in the stage's own unit (steps or seconds); 0 or less when it is over."""
        return self.steps - steps if self.steps is not None else 60 * (self.minutes or 0.0) - seconds

    def progress(self, steps: int, seconds: float) -> float:
        """The share that is done, 0 to 1."""
        whole = self.left(0, 0.0)
        return 1 - max(0.0, self.left(steps, seconds)) / whole if whole else 1.0

    @property
    def decay_length(self) -> float:
        """The decay in the stage's own unit."""
        return self.decay if self.steps is not None else 60 * self.decay_minutes

    def rate(self, steps: int, seconds: float) -> float:
        """The learning rate of the next step as a share of the run's."""
        return self.peak * rise(steps, self.warmup) * fall(self.left(steps, seconds), self.decay_length)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything that decides what is computed. `lr` is the peak of all optimisers (Muon's updates are scaled to AdamW's).

    `config` is the model's, or several by name: models that train side by side on the same batches, each with its own optimisers. All
    start from `seed`. A step has `batches_per_step` batches of `tokens_per_batch` tokens. `prepare` is called once with the fresh
    models, one argument each, before the first step: a vision tower's warm-up, say. `row_processes` make rows beside the training
    process (0: a thread in it does); it changes no number. `on_spike` says what a loss or gradient out of all proportion does: "stop"
    the run, or "skip" the update (see `puna.train.guard`).
    """

    config: ModelConfig | Mapping[str, ModelConfig]
    stages: Sequence[Stage]
    tokens_per_batch: int
    batches_per_step: int = 1
    objective: Objective = field(default_factory=NextToken)
    prepare: Callable[..., None] | None = None
    lr: float
    optimizer: OptimizerName = "muon"
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    balance_rate: float = 1e-2
    seed: int = 0
    device: str = "cpu"
    fuse: bool = True
    on_spike: Literal["stop", "skip"] = "stop"
    spikes: SpikeRule = field(default_factory=SpikeRule)
    row_processes: int = 0
    log_every: int = 10
    checkpoint_every_s: float = 300.0
    picture_every_s: float = 600.0

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a run needs stages, each with a name of its own; these are {names}")
        if self.batches_per_step < 1 or self.row_processes < 0:
            raise ValueError(
                f"batches_per_step={self.batches_per_step} must be at least 1 and row_processes={self.row_processes} at least 0"
            )

    @property
    def configs(self) -> Mapping[str, ModelConfig]:
        """The models' shapes by name; a lone model goes by its config's name."""
        return {self.config.name: self.config} if isinstance(self.config, ModelConfig) else self.config

    @property
    def tokens_per_step(self) -> int:
        return self.tokens_per_batch * self.batches_per_step

    def identity(self) -> dict[str, object]:
        """What a checkpoint must agree with to be continued by this run. Numbers of steps may change: stages can be cut short."""
        widths = {name: config.width for name, config in self.configs.items()}
        return {
            "models": widths,
            "tokens_per_batch": self.tokens_per_batch,
            "batches_per_step": self.batches_per_step,
            "seed": self.seed,
            "optimizer": self.optimizer,
        }

    def settings(self) -> dict[str, object]:
        """What may differ in a run that continues another, but seldom does on purpose: `train` names the differences."""
        flat: dict[str, object] = {
            name: getattr(self, name) for name in ("lr", "weight_decay", "clip_norm", "balance_rate", "fuse", "device", "on_spike")
        }
        for number, stage in enumerate(self.stages):
            for name in ("name", "steps", "minutes", "peak", "warmup", "decay", "decay_minutes"):
                flat[f"stages[{number}].{name}"] = getattr(stage, name)
            flat[f"stages[{number}].source"] = fingerprint(stage.source)
            flat[f"stages[{number}].objective"] = type(stage.objective or self.objective).__name__
        return flat


def fingerprint(source: RowSource) -> str:
    """A short hash of a source's first rows: another mixture or tokenizer gives another one."""
    digest = hashlib.sha256()
    for index in range(_ROWS_OF_A_FINGERPRINT):
        row = source.row(index)
        digest.update(f"{row.kind} {row.weight}".encode())
        digest.update(np.ascontiguousarray(row.stream.token_ids, dtype=np.int64).tobytes())
    return digest.hexdigest()[:12]
