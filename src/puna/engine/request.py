"""What is asked of the engine, and what it tells back. Token ids only.

A `Request` is plain data. The engine answers with a `Generation`: it fills while the engine steps, and whoever asked reads `token_ids`,
takes `Token`s as they come, or waits for `finish_reason`.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from torch import Tensor

from puna.config import ModelConfig
from puna.engine.grammar import Grammar
from puna.engine.sampling import Sampling
from puna.stream import Stream

if TYPE_CHECKING:
    from puna.engine.sequence import Sequence

FinishReason = Literal["stop", "length", "cancelled", "error"]
TopLogprobs = tuple[tuple[int, float], ...]


class PromptError(ValueError):
    """A request that this engine can never answer. The message names what is wrong, the rule, and the way out."""


class ContextError(PromptError):
    """A prompt, or a prompt and its answer, longer than the model's context."""


class CapacityError(ContextError):
    """A prompt that fits the model's context but not the memory that this engine was given."""


def check_prompt(config: ModelConfig, prompt: Stream) -> int:
    """The model's context in tokens; `ContextError` if the prompt is empty or leaves no room for an answer."""
    limit = config.max_positions
    if not len(prompt):
        raise ContextError("the prompt is empty; give at least one token")
    if len(prompt) >= limit:
        way_out = f"shorten it, or send fewer pictures and videos: {prompt.num_tiles} tiles are in it" if prompt.num_tiles else "shorten it"
        raise ContextError(f"the prompt has {len(prompt)} tokens, but {config.name} reads at most {limit}, answer included; {way_out}")
    return limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """What to look at beside the tokens. `expert_ids`: the chosen expert of every token in every MoE layer. `attention_rows`: positions
    whose attention probabilities are wanted, in every layer.
    """

    expert_ids: bool = False
    attention_rows: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A prompt and how to go on from it.

    `stop_ids` end the answer, the id itself included. `priority`: smaller goes first; equals go in order of arrival. `prompt_logprobs`:
    report the log-probability of every prompt token but the first, and so many best alternatives.
    """

    prompt: Stream
    sampling: Sampling = field(default_factory=Sampling)
    stop_ids: frozenset[int] = frozenset()
    grammar: Grammar | None = None
    priority: int = 0
    prompt_logprobs: int | None = None
    watch: Watch = field(default_factory=Watch)


class Token(NamedTuple):
    """One sampled token; `finish_reason` is set on the last. Log-probabilities are the model's own, before sampling's options."""

    id: int
    logprob: float | None
    top: TopLogprobs
    finish_reason: FinishReason | None


class PromptLogprob(NamedTuple):
    """A prompt token under the model: its log-probability after the tokens before it, and the best alternatives."""

    logprob: float
    top: TopLogprobs


@dataclass(slots=True, eq=False)
class Generation:
    """A request under way or done.

    `pending` holds tokens that nobody has taken yet. `cached_tokens` of the prompt were not computed, since their keys were at hand.
    `started_s` is when its first step began (`time.perf_counter`). `error` is set with finish_reason "error". `expert_ids` int16
    `[tokens, MoE layers]` and `attention[position][layer]` `[N, S]` fill if the request watches.
    """

    id: int
    request: Request
    token_ids: list[int] = field(default_factory=list)
    pending: deque[Token] = field(default_factory=deque)
    finish_reason: FinishReason | None = None
    error: Exception | None = None
    cached_tokens: int = 0
    started_s: float | None = None
    prompt_logprobs: list[PromptLogprob] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    attention: dict[int, dict[int, Tensor]] = field(default_factory=dict)
    drafted: int = 0
    accepted: int = 0
    expert_ids: np.ndarray | None = None
    sequence: "Sequence | None" = field(default=None, repr=False)  # the engine's own, while it is under way

    @property
    def is_done(self) -> bool:
        return self.finish_reason is not None

    def result(self) -> list[int]:
        """All tokens of a finished generation; raises what went wrong, if something did."""
        if self.error is not None:
            raise self.error
        assert self.is_done, f"generation {self.id} is still under way"
        return self.token_ids
