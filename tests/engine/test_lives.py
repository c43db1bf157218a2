"""Random lives of many requests in too little memory: whatever happens to the others, each answer is the one it has alone, and no page
is lost.

`PUNA_LIVES=10000 pytest tests/engine/test_lives.py` lives the long version.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import pytest

from puna.engine import (
    Engine,
    Generation,
    Grammar,
    GrammarCompiler,
    GrammarError,
    PromptError,
    PromptLookup,
    Request,
    Sampling,
    SamplingError,
    generate,
)
from puna.model import Model
from puna.stream import Stream
from puna.testing.engines import (
    assert_nothing_is_left,
    assert_pages_add_up,
    engine_with_pages,
    small_config,
    small_model,
    text,
    tile,
    with_pictures,
)
from puna.testing.tokenizer import byte_tokenizer

LIVES = int(os.environ.get("PUNA_LIVES", "420"))
A_ROUND = 70  # lives of one engine
LONGEST = 12  # tokens of an answer
SEEDS = (7, 8, 9)
GRAMMAR = Grammar.choice(["llama", "llano", "alpaca", "al"])

# Never enough for five streams: 14 global pages are the longest request and a short one, 4 local ones are two open chunks.
ENGINES: dict[str, dict[str, Any]] = {
    "plain": dict(num_global=14, num_local=4, step_tokens=11),
    "drafts": dict(num_global=14, num_local=5, drafts=True),
    "int8": dict(num_global=14, num_local=4, step_tokens=9, kv_dtype="int8"),
    "int8 and drafts": dict(num_global=18, num_local=6, kv_dtype="int8", drafts=True),
    "pages that divide no chunk": dict(num_global=17, num_local=6, tokens_per_page=3, step_tokens=11, drafts=True),
    "nothing kept": dict(num_global=14, num_local=4, keep_prefixes=False, step_tokens=7),
}


def prompts() -> list[Stream]:
    """Texts and pictures; many begin alike, some are whole beginnings of others."""
    base, other, llamas = text(30, 1), text(17, 2), np.frombuffer(b"llama llama llama", np.uint8).astype(np.int64)
    made = [Stream(base.token_ids[:n]) for n in (1, 4, 8, 9, 16, 23, 30)]
    made += [Stream(np.concatenate([base.token_ids[:n], text(5, 10 + n).token_ids])) for n in (8, 12, 20)]
    made += [other, Stream(llamas), Stream(llamas[:7])]
    made += [with_pictures(Stream(base.token_ids[:6]), tile(1), Stream(other.token_ids[:k])) for k in (1, 7)]
    made += [with_pictures(Stream(base.token_ids[:6]), tile(2), Stream(other.token_ids[:7]))]  # same ids, other picture
    made += [with_pictures(tile(1), tile(2), text(3, 3)), with_pictures(tile(1), tile(3), text(3, 3))]
    return made


def broken_pictures() -> list[Stream]:
    broken = tile(1)
    broken[1, 3, 3] = np.nan
    base = text(30, 1).token_ids
    return [with_pictures(Stream(base[:6]), broken, text(9, 4)), with_pictures(tile(1), broken, text(3, 3))]


@dataclass
class Ways:
    """The answers that requests have alone, worked out when they are first asked for."""

    model: Model
    known: dict[tuple[Any, ...], list[int]] = field(default_factory=dict)

    def alone(self, request: Request, number: int, is_int8: bool) -> list[int]:
        """Up to its own length and stop ids: an answer's beginning owes nothing to where it would end."""
        sampling = request.sampling
        key = (number, sampling.temperature, sampling.seed, request.grammar, is_int8)
        if key not in self.known:
            self.known[key] = self._work_out(
                replace(request, sampling=replace(sampling, max_tokens=LONGEST), stop_ids=frozenset()), is_int8
            )
        ids = self.known[key][: sampling.max_tokens]
        stops = [place for place, token in enumerate(ids) if token in request.stop_ids]
        return ids[: stops[0] + 1] if stops else ids

    def _work_out(self, request: Request, is_int8: bool) -> list[int]:
        if request.sampling.temperature == 0 and request.grammar is None and not is_int8:
            return list(generate(self.model, request.prompt, request.sampling, ()))
        settings = dict(max_streams=1, kv_dtype="int8" if is_int8 else "auto", keep_prefixes=False, step_tokens=64)
        return engine_with_pages(self.model, 16, 16, parts={"grammars": compiler}, **settings).generate([request])[0]


def _compiler() -> Callable[[], GrammarCompiler]:
    tokens = byte_tokenizer()
    special = range(tokens.special.base, tokens.vocab_size)
    made = GrammarCompiler([tokens.token_bytes(i) for i in range(384)], special, small_config().eos_ids, tokens.encode)
    return lambda: made


compiler = _compiler()


@pytest.fixture(scope="module")
def ways() -> Ways:
    return Ways(small_model())


class Crowd:
    """One engine and those who ask it things. `live()` is one random life, as far as steps of others go on meanwhile."""

    def __init__(self, ways: Ways, kind: dict[str, Any], seed: int) -> None:
        kind = dict(kind)
        parts = {"grammars": compiler, "drafter": PromptLookup(3, 3, 1) if kind.pop("drafts", False) else None}
        self.engine: Engine = engine_with_pages(ways.model, **(dict(max_streams=5) | kind), parts=parts)
        self.is_int8 = kind.get("kv_dtype") == "int8"
        self.ways, self.random = ways, Random(seed)
        self.prompts = prompts()
        self.finished = self.failed = self.cancelled = self.refused = self.short = 0
        self.alive: list[Iterator[None]] = []

    def run(self, count: int) -> None:
        begun = steps = 0
        while begun < count or self.alive:
            crowd = self.random.choice((2, 6, 9))
            while begun < count and len(self.alive) < crowd:
                self.alive.append(self.live(begun))
                begun += 1
            self.alive = [life for life in self.alive if next(life, "over") != "over"]
            self.engine.step()
            steps += 1
            assert len(self.engine.scheduler.running) <= 5
            self.short += bool(self.engine.scheduler.waiting) and len(self.engine.scheduler.running) < 5
            if self.random.random() < 0.03:  # everybody is put back, and everything that is kept forgotten
                self.engine.update_weights({})
            if steps % 10 == 0:
                assert_pages_add_up(self.engine)
            assert steps < 200 * count, "requests are stuck"
        while self.engine.has_work:
            self.engine.step()

    def live(self, number: int) -> Iterator[None]:
        kind = number / 20 if number < 4 else self.random.random()  # at first some of each
        if kind < 0.05:
            return self.be_damaged()
        if kind < 0.1:
            return self.be_refused()
        if kind < 0.17:
            return self.ask_for_samples()
        return self.ask(leaves_after=self.random.choice((None, None, None, 0, 0, 2, 5)))

    def request(self) -> tuple[Request, int]:
        number = self.random.randrange(len(self.prompts))
        options: dict[str, Any] = {"max_tokens": self.random.randint(1, LONGEST)}
        way = self.random.random()
        if way < 0.5 and number % 3 == 0:
            options |= {"temperature": 1.0, "seed": self.random.choice(SEEDS)}
        stops = frozenset(self.random.sample(range(384), 10))
        grammar = GRAMMAR if way > 0.7 and number % 4 == 3 else None
        request = Request(
            prompt=self.prompts[number],
            sampling=Sampling(**options),
            stop_ids=stops,
            grammar=grammar,
            priority=self.random.choice((0, 0, 0, -1, 2)),
        )
        return request, number

    def ask(self, leaves_after: int | None) -> Iterator[None]:
        """Ask, take tokens as they come, and stay to the end or leave after some of them (0: perhaps while waiting)."""
        request, number = self.request()
        generation = self.engine.prepare(request)
        if leaves_after == 0 and self.random.random() < 0.3:
            self.engine.cancel(generation)  # changed its mind at the door
        self.engine.enter(generation)
        taken: list[int] = []
        patience = self.random.randint(0, 3)
        while not generation.is_done:
            yield
            while generation.pending:
                taken.append(generation.pending.popleft().id)
            patience -= 1
            if leaves_after is not None and len(taken) >= leaves_after and patience < 0:
                self.engine.cancel(generation)
        taken += [token.id for token in generation.pending]
        self.check(generation, number, taken)

    def ask_for_samples(self) -> Iterator[None]:
        request, number = self.request()
        number = number // 3 * 3
        request = replace(request, prompt=self.prompts[number], grammar=None)
        request = replace(request, sampling=replace(request.sampling, temperature=1.0, seed=SEEDS[0]))
        generations = self.engine.submit_samples(request, 3)
        leaver = self.random.choice((None, None, 0, 1, 2))
        yield
        if leaver is not None:
            self.engine.cancel(generations[leaver])
        while not all(generation.is_done for generation in generations):
            yield
        for generation in generations:
            self.check(generation, number, generation.token_ids)

    def be_damaged(self) -> Iterator[None]:
        """A picture with a NaN in it: its own request fails, before the first token."""
        request, _ = self.request()
        generation = self.engine.submit(replace(request, prompt=self.random.choice(broken_pictures())))
        while not generation.is_done:
            yield
        assert isinstance(generation.error, SamplingError) and not generation.token_ids
        self.failed += 1

    def be_refused(self) -> Iterator[None]:
        request, _ = self.request()
        wrong = self.random.choice(
            (
                dict(grammar=Grammar.regex("(")),
                dict(prompt=Stream(np.array([1, 384]))),
                dict(prompt=Stream(request.prompt.token_ids[:0])),
                dict(prompt=text(200)),
                dict(prompt=replace(self.prompts[-1], tiles=None)),
            )
        )
        with pytest.raises((GrammarError, PromptError)):
            self.engine.submit(replace(request, **wrong))
        self.refused += 1
        yield

    def check(self, generation: Generation, number: int, taken: list[int]) -> None:
        assert generation.error is None
        whole = self.ways.alone(generation.request, number, self.is_int8)
        assert taken == generation.token_ids
        if generation.finish_reason == "cancelled":
            assert taken == whole[: len(taken)], f"prompt {number}"
            self.cancelled += 1
            return
        assert taken == whole, f"prompt {number}"
        is_stop = whole[-1] in generation.request.stop_ids or generation.request.grammar is not None and len(whole) < LONGEST
        if generation.request.grammar is None:
            assert generation.finish_reason == ("stop" if is_stop else "length")
        self.finished += 1


def rounds() -> list[tuple[str, int]]:
    kinds = list(ENGINES)
    return [(kinds[number % len(kinds)], number) for number in range(-(-LIVES // A_ROUND))]


@pytest.mark.parametrize(("kind", "seed"), rounds())
def test_lives_in_a_crowd_are_those_alone_and_leave_nothing_behind(kind: str, seed: int, ways: Ways) -> None:
    crowd = Crowd(ways, ENGINES[kind], seed)
    crowd.run(A_ROUND)
    counters = crowd.engine.counters
    assert crowd.finished >= A_ROUND // 3 and crowd.cancelled and crowd.failed and crowd.refused
    assert counters.preempted > 0 and crowd.short > 0, "memory was never short"
    assert (counters.tokens_cached > 0) == (ENGINES[kind].get("keep_prefixes", True))
    assert 0 <= counters.accepted <= counters.drafted and (counters.drafted > 0) == ENGINES[kind].get("drafts", False)
    assert counters.tokens_computed >= counters.tokens_sampled - counters.accepted
    assert_nothing_is_left(crowd.engine)
