"""What answers of chat completions and completions share: their stamp, usage, and tokens with scores."""

import time
import uuid
from dataclasses import dataclass

from puna import pipeline
from puna.pipeline import Scored
from puna.serve.openai.wire import PromptTokensDetails, Usage


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all chunks of one answer share."""

    id: str
    created: int
    model: str

    @classmethod
    def new(cls, prefix: str, model: str) -> "Stamp":
        return cls(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), model)


def usage_of(usage: pipeline.Usage) -> Usage:
    return Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=usage.cached_tokens),
    )


def shown(data: bytes) -> str:
    """A token as text. One that is no whole text is written as OpenAI does: its bytes, so that no two tokens look the same."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def finite(logprob: float) -> float:
    """JSON has no infinity: a token that the model gives no chance at all has the lowest number that clients expect."""
    return max(logprob, -9999.0)


def best_of(score: Scored) -> dict[str, float]:
    """The likeliest tokens by their text, the sampled or given one among them."""
    best = {shown(data): finite(logprob) for _, data, logprob in score.top}
    if score.logprob is not None:
        best.setdefault(shown(score.data), finite(score.logprob))
    return best
