"""What a run is: models, stages over sources of rows, and every number that decides what is computed. Plain data; the loop runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from puna.config import ModelConfig
from puna.train.objective import NextToken, Objective
from puna.train.optimizer import OptimizerName
from puna.train.packing import RowSource


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A stretch of steps over one source. The learning rate is `peak` times the run's, warmed up and decayed inside the stage.

    `objective` replaces the run's in this stage.
    """

    name: str
    steps: int
    source: RowSource
    peak: float = 1.0
    warmup: int = 0
    decay: int = 0
    objective: Objective | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Everything that decides what is computed. `lr` is the peak of all optimisers (Muon's updates are scaled to AdamW's).

    `config` is the model's, or several by name: models that train side by side on the same batches, each with its own optimisers. All
    start from `seed`. `prepare` is called once with the fresh models, one argument each, before the first step: a vision tower's
    warm-up, say.
    """

    config: ModelConfig | Mapping[str, ModelConfig]
    stages: Sequence[Stage]
    tokens_per_batch: int
    objective: Objective = field(default_factory=NextToken)
    prepare: Callable[..., None] | None = None
    lr: float
    optimizer: OptimizerName = "muon"
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    balance_rate: float = 1e-2
    seed: int = 0
    fuse: bool = True
    log_every: int = 10
    checkpoint_every_s: float = 300.0

    @property
    def configs(self) -> Mapping[str, ModelConfig]:
        """The models' shapes by name; a lone model goes by its config's name."""
        return {self.config.name: self.config} if isinstance(self.config, ModelConfig) else self.config

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
        widths = {name: config.width for name, config in self.configs.items()}
        return {"models": widths, "tokens_per_batch": self.tokens_per_batch, "seed": self.seed}
