"""From logits to the next token: greedy or drawn, with penalties, biases, truncation and a grammar.

A `Sampler` holds one request's way through its tokens. Its chance is a pure function of the seed and of how many tokens it has accepted,
so that a preempted request goes on as if nothing had happened, and a draft is verified by drawing: the token drawn at a position is the
very one that plain decoding would draw there. Knows token ids only; stop strings and text live elsewhere.

What happens to a row of logits, in this order [ours]; log-probabilities are taken before any of it:

1. banned ids fall to minus infinity, `logit_bias` is added;
2. the repetition penalty (CTRL's rule, over prompt and answer), then presence and frequency penalties (OpenAI's, over the answer);
3. the grammar's mask;
4. greedy: the largest logit. Otherwise temperature, top_k, top_p (of what top_k left, made to sum to 1 again), min_p, and a draw.

Step 4 is the order of `transformers`. vLLM applies min_p before top_k and top_p; llama.cpp truncates first and applies the temperature
last, so that its nucleus does not depend on it. The three agree while only one of the options is used and the temperature is 1.

Letters: B rows, T positions, V vocabulary.
"""

import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from puna.engine.grammar import Constraint, GrammarError


class SamplingError(ValueError):
    """A sampling option outside its range, or logits that no token can be chosen from. The message names it, its value and the range."""


class NoTokenError(SamplingError):
    """Options and grammar leave no token to choose: the request's own fault, found while it is answered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to choose tokens. The defaults are greedy.

    max_tokens: the longest answer.
    temperature: 0 is greedy; up to 2.
    top_k: keep the k likeliest tokens; None keeps all.
    top_p: keep the smallest set of tokens with at least that probability.
    min_p: drop tokens less likely than `min_p` times the likeliest.
    repetition_penalty: above 1, tokens of the prompt and the answer become less likely: positive logits are divided, negative multiplied.
    presence_penalty, frequency_penalty: taken off the logit of a token of the answer, once, and as often as it stands there.
    logit_bias: added to the logits of these ids. -100 is as good as a ban, 100 as a command.
    seed: 64 bits; None draws a fresh one. A negative one counts down from 2**64.
    logprobs: how many of the likeliest tokens to report beside the chosen one; 0 reports the chosen one alone, None nothing.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    seed: int | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        _whole("max_tokens", self.max_tokens, 1)
        _real("temperature", self.temperature, 0, 2, "0 (greedy) and 2")
        if self.top_k is not None:
            _whole("top_k", self.top_k, 1, way_out="; leave it out to keep every token")
        if not _is(Real, self.top_p) or not 0 < self.top_p <= 1:
            raise SamplingError(f"top_p={self.top_p!r} must be above 0 and at most 1 (1 keeps every token)")
        _real("min_p", self.min_p, 0, 1, "0 (keeps every token) and 1 (keeps the likeliest)")
        if not _is(Real, self.repetition_penalty) or not 0 < self.repetition_penalty <= 10:
            raise SamplingError(f"repetition_penalty={self.repetition_penalty!r} must be above 0 and at most 10 (1 changes nothing)")
        _real("presence_penalty", self.presence_penalty, -2, 2, "-2 and 2 (0 changes nothing)")
        _real("frequency_penalty", self.frequency_penalty, -2, 2, "-2 and 2 (0 changes nothing)")
        if not isinstance(self.logit_bias, Mapping):
            raise SamplingError(f"logit_bias={self.logit_bias!r} must map token ids to numbers from -100 to 100")
        for token, bias in self.logit_bias.items():
            if not _is(Integral, token) or token < 0:
                raise SamplingError(f"logit_bias names {token!r}; its keys must be token ids, whole numbers from 0")
            _real(f"logit_bias[{token}]", bias, -100, 100, "-100 and 100")
        object.__setattr__(self, "logit_bias", dict(self.logit_bias))  # ours: the caller's may change while we decode
        if self.seed is not None and (not _is(Integral, self.seed) or not -(2**63) <= self.seed < 2**64):
            raise SamplingError(f"seed={self.seed!r} must fit 64 bits: a whole number from -(2**63) to 2**64 - 1")
        if self.logprobs is not None:
            _whole("logprobs", self.logprobs, 0, 20, "; leave it out for none at all")


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _whole(name: str, value: Any, low: int, high: int | None = None, way_out: str = "") -> None:
    if not _is(Integral, value):
        raise SamplingError(f"{name}={value!r} must be a whole number{way_out}")
    if value < low or high is not None and value > high:
        rule = f"be at least {low}" if high is None else f"lie between {low} and {high}"
        raise SamplingError(f"{name}={value} must {rule}{way_out}")


def _real(name: str, value: Any, low: float, high: float, words: str) -> None:
    if not _is(Real, value) or not low <= value <= high:  # NaN lies nowhere
        raise SamplingError(f"{name}={value!r} must lie between {words}")


class TokenLogprobs(NamedTuple):
    """A token's log-probability under the model, and the likeliest tokens with theirs, best first."""

    logprob: float
    top: tuple[tuple[int, float], ...]


class Chosen(NamedTuple):
    """A token, and what was asked about it.

    logprob, top: of the model itself: the log softmax of the raw logits; None and empty unless `Sampling.logprobs` asked for them.
    margin: how far the best of the logits that the choice was made from stood above the second best; infinite if only one token was
    allowed, if the token was drawn, or if nobody wanted to know. A small one says that rounding may turn the choice.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    margin: float = math.inf


class Sampler:
    """One request's way from logits to tokens: `choose`, then `accept`, for each.

    banned: ids that are never chosen, whatever the logits say. constraint: the request's place in its grammar, moved on by `accept`.
    Raises `SamplingError` if an id of the options or of the prompt is outside the vocabulary.
    """

    def __init__(
        self,
        sampling: Sampling,
        prompt_ids: np.ndarray,
        vocab_size: int,
        banned: Collection[int] = (),
        constraint: Constraint | None = None,
    ) -> None:
        outside = [token for token in sampling.logit_bias if token >= vocab_size]
        if outside:
            raise SamplingError(f"logit_bias names id {outside[0]}, but the vocabulary ends at {vocab_size - 1}; use this model's own ids")
        self.sampling = sampling
        self._banned = frozenset(banned)
        self._banned_ids = torch.tensor(sorted(self._banned), dtype=torch.int64)
        self._constraint = constraint
        self._bias_ids = torch.tensor(list(sampling.logit_bias), dtype=torch.int64)
        self._bias = torch.tensor(list(sampling.logit_bias.values()), dtype=torch.float32)
        self._repeats = sampling.repetition_penalty != 1
        self._counts = bool(sampling.presence_penalty or sampling.frequency_penalty)
        self._seen = _Seen(prompt_ids if self._repeats else (), vocab_size) if self._repeats or self._counts else None
        self._seed = secrets.randbits(64) if sampling.seed is None else int(sampling.seed) % 2**64
        self._accepted = 0
        # Rows that one argmax settles, unless it falls on a banned id.
        self._is_plain = not (sampling.temperature or sampling.logit_bias or self._seen or constraint) and sampling.logprobs is None

    def choose(self, logits_V: Tensor) -> Chosen:
        """The next token. Changes nothing: neither this sampler nor `logits_V`; asked again, it answers the same.

        Raises `SamplingError` if the logits are damaged (a NaN or an infinity), or if options and grammar leave no token.
        """
        return self._choose(logits_V, want_margin=True)

    def accept(self, token: int) -> None:
        """The token has become part of the answer: count it and move the grammar and the chance on.

        It need not be the chosen one. Raises `SamplingError` if the grammar forbids it.
        """
        if self._constraint is not None:
            try:
                self._constraint.accept(token)
            except GrammarError as error:
                raise SamplingError(str(error)) from error
        if self._seen is not None:
            self._seen.count(token)
        self._accepted += 1

    @property
    def finished(self) -> bool:
        """Whether the grammar admits nothing more; the answer is whole, even if no end-of-text token has come."""
        return self._constraint is not None and self._constraint.finished

    def _choose(self, logits_V: Tensor, want_margin: bool) -> Chosen:
        raw_V = logits_V.to("cpu", torch.float32)
        _refuse_damaged(float(raw_V.max()))
        logprob, top = None, ()
        if self.sampling.logprobs is not None:
            raw_logprobs_V = raw_V.log_softmax(-1)
            top = _best(raw_logprobs_V, self.sampling.logprobs)
        allowed_V = self._allowed(raw_V.clone())
        largest = float(allowed_V.max())
        if not math.isfinite(largest):
            raise NoTokenError(
                "no token is left to choose: the grammar allows none that the logits and the banned ids admit; loosen the grammar"
                if self._constraint is not None
                else "no token is left to choose: every one that the logits admit is banned"
            )
        margin = math.inf
        if self.sampling.temperature == 0:
            token = int(allowed_V.argmax())
            if want_margin and len(allowed_V) > 1:
                best, second = allowed_V.topk(2).values.tolist()
                margin = best - second
        else:
            token = self._draw(allowed_V, largest)
        if self.sampling.logprobs is not None:
            logprob = float(raw_logprobs_V[token])
        return Chosen(token, logprob, top, margin)

    def _allowed(self, logits_V: Tensor) -> Tensor:
        """Steps 1 to 3, in place."""
        logits_V[self._banned_ids] = -torch.inf
        logits_V[self._bias_ids] += self._bias
        if self._seen is not None:
            ids, counts = self._seen.ids, self._seen.counts
            seen = logits_V[ids]
            if self._repeats:
                seen = torch.where(seen > 0, seen / self.sampling.repetition_penalty, seen * self.sampling.repetition_penalty)
            if self._counts:
                seen -= self.sampling.presence_penalty * (counts > 0) + self.sampling.frequency_penalty * counts
            logits_V[ids] = seen
        if self._constraint is not None:
            try:
                self._constraint.mask_(logits_V)
            except GrammarError as error:
                raise NoTokenError(str(error)) from error
        return logits_V

    def _draw(self, allowed_V: Tensor, largest: float) -> int:
        """The inverse of the distribution function, ids in order, at this position's chance. In double precision."""
        options = self.sampling
        below_V = allowed_V.double() - largest  # before dividing: a tiny temperature then overflows to minus infinity alone
        p_V = torch.softmax(below_V / options.temperature, dim=-1)
        if options.top_k is not None and options.top_k < len(p_V):
            p_V = _only(p_V, _likeliest(p_V, options.top_k))
            p_V /= p_V.sum()
        if options.top_p < 1:
            p_V = _only(p_V, _nucleus(p_V, options.top_p))
        if options.min_p > 0:
            p_V[p_V < options.min_p * p_V.max()] = 0
        cumulative = p_V.cumsum(0).numpy()
        # Not what is left, but its own sum: the tokens that were dropped have no part in the draw.
        token = int(np.searchsorted(cumulative, _chance(self._seed, self._accepted) * cumulative[-1], side="right"))
        return min(token, int(p_V.nonzero()[-1]))  # should rounding ever carry the product to the very end


class _Seen:
    """Which ids stand in prompt and answer, and how often in the answer: lists that grow by what is new, not by the text's length."""

    def __init__(self, prompt_ids: Any, vocab_size: int) -> None:
        ids = np.unique(np.asarray(prompt_ids, dtype=np.int64))
        if len(ids) and not 0 <= ids[0] <= ids[-1] < vocab_size:
            raise SamplingError(f"the prompt holds ids from {ids[0]} to {ids[-1]}, but the vocabulary runs from 0 to {vocab_size - 1}")
        self._places = {token: place for place, token in enumerate(ids.tolist())}
        self._ids = np.concatenate([ids, np.zeros(64, np.int64)])
        self._counts = np.zeros(len(self._ids), np.float32)

    @property
    def ids(self) -> Tensor:
        return torch.from_numpy(self._ids[: len(self._places)])

    @property
    def counts(self) -> Tensor:
        """fp32, how often each of `ids` stands in the answer: 0 for those of the prompt alone."""
        return torch.from_numpy(self._counts[: len(self._places)])

    def count(self, token: int) -> None:
        place = self._places.setdefault(token, len(self._places))
        if place == len(self._ids):
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
            self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
        self._ids[place] = token
        self._counts[place] += 1


def choose_many(samplers: Sequence[Sampler], logits_BV: Tensor, want_margin: bool = False) -> list[Chosen | SamplingError]:
    """A batch's rows at once, on any device: what each sampler's `choose` says, or the error that it raises, returned in its row's place.

    Plain greedy rows share one pass, and only their ids leave the device; others go one by one. Without `want_margin` all margins are
    infinite.
    """
    if not samplers:
        return []
    plain = [row for row, sampler in enumerate(samplers) if sampler._is_plain]
    chosen: list[Chosen | SamplingError | None] = [None] * len(samplers)
    if plain:
        logits = logits_BV if len(plain) == len(samplers) else logits_BV[torch.tensor(plain, device=logits_BV.device)]
        largest, ids = _largest(logits)
        # Two values are enough for a margin, unless one of them is banned.
        two, two_ids = (values.tolist() for values in logits.topk(min(2, logits.shape[1]))) if want_margin else ([()] * len(plain),) * 2
        for row, best, token, pair, pair_ids in zip(plain, largest, ids, two, two_ids, strict=True):
            if math.isfinite(best) and samplers[row]._banned.isdisjoint((token, *pair_ids)):
                chosen[row] = Chosen(token, margin=pair[0] - pair[1] if len(pair) > 1 else math.inf)
    return [_tried(samplers[row], logits_BV[row], want_margin) if done is None else done for row, done in enumerate(chosen)]


def _largest(logits_BV: Tensor) -> tuple[list[float], list[int]]:
    """Each row's largest value, NaN if there is one, and where it stands: the first of equals. numpy's is ten times as fast on a CPU."""
    if logits_BV.device.type != "cpu" or logits_BV.dtype != torch.float32:
        values, ids = logits_BV.max(dim=-1)
        return values.tolist(), ids.tolist()
    rows = logits_BV.numpy()
    ids = [int(row.argmax()) for row in rows]
    return [row.item(token) for row, token in zip(rows, ids, strict=True)], ids


def token_logprobs(logits_TV: Tensor, ids_T: Sequence[int] | np.ndarray | Tensor, top: int) -> list[TokenLogprobs]:
    """The log-probability of `ids_T[t]` under the raw `logits_TV[t]`, and the `top` likeliest tokens there: for a prompt's own tokens.

    Needs as much memory again as the logits. Raises `SamplingError` if the logits are damaged.
    """
    logprobs_TV = logits_TV.float().log_softmax(-1)
    ids = torch.as_tensor(ids_T, device=logits_TV.device)
    for largest in logits_TV.max(dim=-1).values.tolist():
        _refuse_damaged(largest)
    chosen = logprobs_TV.gather(1, ids[:, None])[:, 0].tolist()
    return [TokenLogprobs(logprob, _best(row, top)) for logprob, row in zip(chosen, logprobs_TV, strict=True)]


def _tried(sampler: Sampler, logits_V: Tensor, want_margin: bool) -> Chosen | SamplingError:
    try:
        return sampler._choose(logits_V, want_margin)
    except SamplingError as error:
        return error


def _refuse_damaged(largest: float) -> None:
    """`largest` of a row of logits is NaN if any is. Damaged logits are an error of the model, never a token."""
    if not math.isfinite(largest):
        what = "contain NaN" if math.isnan(largest) else f"reach {largest}"
        raise SamplingError(f"the logits {what}: the weights or the input are damaged")


def _chance(seed: int, position: int) -> float:
    """A number in [0, 1) for this seed and position, whatever was drawn before: Philox turns a key and a counter into random bits."""
    bits = np.random.Philox(key=seed, counter=position).random_raw()
    return (int(bits) >> 11) * 2.0**-53


def _likeliest(values_V: Tensor, count: int) -> Tensor:
    """Ids of the `count` largest values; of equal ones the first: `topk` alone would take any of them."""
    return _down_to(values_V.topk(count).values[-1], values_V, count)


def _nucleus(p_V: Tensor, top_p: float) -> Tensor:
    """Ids of the smallest set that has probability `top_p`; of equally likely ones the first.

    Values are sorted alone, in numpy: for 200,000 of them that is eight times as fast as a sort that says where they stood.
    """
    ordered = np.sort(p_V.numpy())[::-1]
    count = int((ordered.cumsum() - ordered < top_p).sum())
    return _down_to(float(ordered[count - 1]), p_V, count)


def _down_to(floor: Tensor | float, values_V: Tensor, count: int) -> Tensor:
    return torch.cat([(values_V > floor).nonzero()[:, 0], (values_V == floor).nonzero()[:, 0]])[:count]


def _only(p_V: Tensor, ids: Tensor) -> Tensor:
    return torch.zeros_like(p_V).index_copy_(0, ids, p_V[ids])


def _best(logprobs_V: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    if not count:
        return ()
    ids = _likeliest(logprobs_V, min(count, len(logprobs_V)))
    ids = ids[logprobs_V[ids].sort(descending=True, stable=True).indices]
    return tuple(zip(ids.tolist(), logprobs_V[ids].tolist(), strict=True))
