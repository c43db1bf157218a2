"""From logits to the next token: greedy, temperature, nucleus, seeded.

Letters: V vocabulary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


class SamplingError(ValueError):
    """A sampling option outside its range. The message names it, its value and the range."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to choose tokens. `temperature` 0 is greedy; `top_p` keeps the smallest set of tokens with at least that probability."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise SamplingError(f"max_tokens={self.max_tokens} must be at least 1")
        if not 0.0 <= self.temperature <= 2.0:
            raise SamplingError(f"temperature={self.temperature} must lie between 0 (greedy) and 2")
        if not 0.0 < self.top_p <= 1.0:
            raise SamplingError(f"top_p={self.top_p} must be above 0 and at most 1 (1 keeps every token)")
        if self.seed is not None and not -(2**63) <= self.seed < 2**64:
            raise SamplingError(f"seed={self.seed} must fit 64 bits: from -(2**63) to 2**64 - 1")


def choose(logits_V: Tensor, sampling: Sampling, generator: torch.Generator | None) -> int:
    """The next token id; a logit of minus infinity excludes its token. Damaged logits are an error of the model, never a token."""
    largest = logits_V.max()  # NaN if any is
    if not torch.isfinite(largest):
        what = "contain NaN" if torch.isnan(largest) else f"reach {float(largest)}"
        raise SamplingError(f"the logits {what}: the weights or the input are damaged")
    if sampling.temperature == 0:
        return int(logits_V.argmax())
    below_V = logits_V.double() - largest.double()  # before dividing: a tiny temperature then overflows to minus infinity alone
    probabilities = torch.softmax(below_V / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        before = ordered.cumsum(0) - ordered
        probabilities = torch.zeros_like(probabilities).index_copy_(0, order, torch.where(before < sampling.top_p, ordered, 0.0))
    return int(torch.multinomial(probabilities, 1, generator=generator))
