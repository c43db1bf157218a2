"""The parity matrix: however the engine cuts, shares, drops, guesses or shrinks its work, the tokens are those of the naive loop.

Rows are ways to run (`WAYS`), columns are models and page sizes (`MODELS`, `PAGES`): dense and mixture of experts, chunk edges inside and
on page edges, text and pictures. In fp32 greedy and seeded tokens are compared; in bf16 with `batch_invariant=True` also bit by bit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from puna.config import every_nth_layer
from puna.engine import DraftModel, Engine, PromptLookup, Request, Sampling, Settings, generate, load_cache, save_cache
from puna.model import Model
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

PATCH = 348
NEW = 14
KV_BYTES = 2_000_000

MODELS: dict[str, dict[str, Any]] = {
    "moe every second layer": {},
    "moe everywhere": dict(moe_layers=every_nth_layer(1, 8)),
    "dense": dict(moe_layers=(), num_experts=0),
    "no local layers": dict(chunk=None),
    "odd chunk": dict(chunk=11),
    "short": dict(num_layers=4, moe_layers=every_nth_layer(2, 4), nope_layers=every_nth_layer(4, 4)),
}
LONG = [name for name in MODELS if name != "short"]
# Chunks of 8: edges on page edges (1, 4, 8), inside pages (3, 16); of 11: inside nearly always.
PAGES = {name: (1, 3, 4, 8, 16) if name == "moe every second layer" else (3, 8) for name in MODELS}


@cache
def model_of(name: str, dtype: torch.dtype = torch.float32) -> Model:
    return tiny_model(tiny_config(**MODELS[name])).to(dtype)


@cache
def prompts() -> tuple[Stream, ...]:
    """Text that ends before, on and behind chunk and page edges; pictures of one tile and of three, some across an edge."""
    rng = np.random.default_rng(7)
    text = [Stream(rng.integers(0, 256, length)) for length in (1, 7, 8, 9, 16, 31)]
    one, three = (rng.uniform(-1, 1, (count, 3, 16, 16)).astype(np.float32) for count in (1, 3))
    pictures = [
        Stream(np.array([1, 2, *[PATCH] * 4, 3]), one),
        Stream(np.array([9, 8, 7, 6, 5, *[PATCH] * 4, 3, *[PATCH] * 8, 5, 6]), three),
        Stream(np.array([*[PATCH] * 4, 3, *[PATCH] * 8, *range(20)]), three[::-1].copy()),
    ]
    return tuple([*text, *pictures])


GREEDY, SEEDED = Sampling(max_tokens=NEW), Sampling(max_tokens=NEW, temperature=1.2, top_p=0.95, seed=5)


@cache
def naive(name: str, sampling: Sampling, dtype: torch.dtype = torch.float32, is_invariant: bool = False) -> list[list[int]]:
    model = model_of(name, dtype)
    return [list(generate(model, prompt, sampling, (), is_invariant=is_invariant)) for prompt in prompts()]


class Run(NamedTuple):
    """What a way to run is given: model, page size, sampling, further settings."""

    model: Model
    per_page: int
    sampling: Sampling
    settings: dict[str, Any]

    def engine(self, drafter: Any = None, **changes: Any) -> Engine:
        settings = Settings(**dict(tokens_per_page=self.per_page, kv_bytes=KV_BYTES) | self.settings | changes)
        return Engine(self.model, settings, drafter=drafter)

    def requests(self) -> list[Request]:
        return [Request(prompt=prompt, sampling=self.sampling) for prompt in prompts()]


def alone(run: Run) -> list[list[int]]:
    return [run.engine().generate([request])[0] for request in run.requests()]


def together(run: Run) -> list[list[int]]:
    engine = run.engine()
    answers = engine.generate(run.requests())
    assert engine.counters.steps <= NEW + 1, "one prefill, then a token each a step"
    return answers


def in_pieces(run: Run) -> list[list[int]]:
    engine = run.engine(step_tokens=5, max_streams=3)
    answers = engine.generate(run.requests())
    assert engine.counters.steps > 3 * NEW
    return answers


def again(run: Run) -> list[list[int]]:
    """Pages of the first time round are there for the second."""
    engine = run.engine()
    first = engine.generate(run.requests())
    computed = engine.counters.tokens_computed
    second = engine.generate(run.requests())
    assert first == second
    if run.per_page <= 4 or engine.config.chunk is None or engine.config.chunk % run.per_page == 0:
        assert engine.counters.tokens_cached > 20 and engine.counters.tokens_computed < 2 * computed - 20
    return second


def continued(run: Run) -> list[list[int]]:
    """Each prompt again with the first half of its answer behind it: conversations go on from kept pages."""
    engine = run.engine()
    first = engine.generate(run.requests())
    half, answers = NEW // 2, []
    for request, answer in zip(run.requests(), first, strict=True):
        ids = np.concatenate([request.prompt.token_ids, answer[:half]])
        longer = replace(request, prompt=Stream(ids, request.prompt.tiles), sampling=replace(run.sampling, max_tokens=NEW - half))
        if run.sampling.temperature:  # a seeded answer's chance goes on with its place in the answer, which is another now
            answers.append(answer)
        else:
            answers.append(answer[:half] + engine.generate([longer])[0])
    return answers


def preempted(run: Run) -> list[list[int]]:
    """So little memory that running requests lose theirs and come back."""
    plan, count = run.engine().plan, len(prompts())
    longest = max(len(prompt) for prompt in prompts()) + NEW
    local = plan.layout.num_local(plan.max_positions) * plan.local_page_bytes
    answers, num_preempted = [], 0
    for pages in (plan.layout.num_global(longest), 2 * plan.layout.num_global(longest)):
        engine = run.engine(keep_prefixes=False, max_streams=count, kv_bytes=2 * max(pages * plan.global_page_bytes, (count // 2) * local))
        answers = engine.generate(run.requests())
        num_preempted += engine.counters.preempted
    assert num_preempted > 0 or run.per_page == 16  # pages that large seldom run out under an answer this short
    return answers


def guessed(run: Run) -> list[list[int]]:
    engine = run.engine(PromptLookup(num_drafts=4, longest=3, shortest=1))
    answers = engine.generate(run.requests())
    assert engine.counters.drafted > 0
    return answers


def drafted_by_itself(run: Run) -> list[list[int]]:
    """The model as its own draft: where no picture blinds it, all guesses are right."""
    engine = run.engine(DraftModel(run.model, num_drafts=3, kv_bytes=KV_BYTES))
    generations = [engine.submit(request) for request in run.requests()]
    while engine.has_work:
        engine.step()
    if not run.sampling.temperature:
        text = [generation for generation in generations if generation.request.prompt.tiles is None]
        assert sum(each.accepted for each in text) > 0.9 * sum(each.drafted for each in text) > 0
    return [generation.result() for generation in generations]


def drafted_by_another(run: Run) -> list[list[int]]:
    other = tiny_model(tiny_config(vision=None), seed=3)
    return run.engine(DraftModel(other, num_drafts=3, kv_bytes=KV_BYTES)).generate(run.requests())


def sampled_beside(run: Run) -> list[list[int]]:
    """Each request as the second of two answers to its prompt, whose pages it shares."""
    engine = run.engine()
    pairs = []
    for request in run.requests():
        seed = request.sampling.seed
        before = request if seed is None else replace(request, sampling=replace(request.sampling, seed=seed - 1))
        pairs.append(engine.submit_samples(before, 2))
    while engine.has_work:
        engine.step()
    return [second.result() for _, second in pairs]


def interrupted(run: Run) -> list[list[int]]:
    """New weights (the same ones) in the middle of everything: keys are computed anew."""
    engine = run.engine()
    generations = [engine.submit(request) for request in run.requests()]
    for _ in range(NEW // 2):
        engine.step()
    engine.update_weights(dict(run.model.named_parameters()))
    for generation in generations:
        engine.wait(generation)
    assert engine.counters.preempted == len(generations)
    return [generation.result() for generation in generations]


WAYS: dict[str, Callable[[Run], list[list[int]]]] = {
    each.__name__.replace("_", " "): each
    for each in (
        alone,
        together,
        in_pieces,
        again,
        continued,
        preempted,
        guessed,
        drafted_by_itself,
        drafted_by_another,
        sampled_beside,
        interrupted,
    )
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LONG)
def test_greedy_tokens_are_those_of_the_naive_loop(name: str, way: str) -> None:
    for per_page in PAGES[name]:
        assert WAYS[way](Run(model_of(name), per_page, GREEDY, {})) == naive(name, GREEDY), f"{per_page} tokens a page"


@pytest.mark.parametrize("way", WAYS)
def test_in_torch_greedy_tokens_are_those_of_the_naive_loop(way: str) -> None:
    """Where the native library is there the rest of this file runs through it; its reference must stay right as well."""
    assert WAYS[way](Run(model_of("odd chunk"), 3, GREEDY, {"native": False})) == naive("odd chunk", GREEDY)


@pytest.mark.parametrize("way", WAYS)
def test_seeded_tokens_are_those_of_the_naive_loop(way: str) -> None:
    name = "moe every second layer"
    for per_page in (3, 8):
        assert WAYS[way](Run(model_of(name), per_page, SEEDED, {})) == naive(name, SEEDED)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("way", WAYS)
def test_in_invariant_mode_tokens_are_those_of_the_naive_loop(way: str, dtype: torch.dtype) -> None:
    expected = naive("short", GREEDY, dtype, is_invariant=True)
    assert WAYS[way](Run(model_of("short", dtype), 3, GREEDY, {"batch_invariant": True})) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_in_invariant_mode_log_probabilities_are_equal_bit_by_bit(dtype: torch.dtype) -> None:
    """Prefill of prompt and answer at once, in pieces beside others, and decoding: the same numbers."""
    model, sampling = model_of("short", dtype), Sampling(max_tokens=NEW, logprobs=3)

    def engine(**changes: Any) -> Engine:
        return Engine(model, Settings(**dict(tokens_per_page=3, kv_bytes=KV_BYTES, batch_invariant=True) | changes))

    for prompt in prompts():
        decoding = engine()
        generation = decoding.submit(Request(prompt=prompt, sampling=sampling))
        decoding.wait(generation)
        whole = Stream(np.concatenate([prompt.token_ids, generation.token_ids]), prompt.tiles)
        asked = Request(prompt=whole, sampling=Sampling(max_tokens=1), prompt_logprobs=3)
        beside = Request(prompt=prompts()[5], sampling=GREEDY)
        for each, others in ((engine(), []), (engine(step_tokens=5, max_streams=4), [beside, beside])):
            waiting = [each.submit(other) for other in others]
            scored = each.submit(asked)
            each.wait(scored)
            assert [entry.logprob for entry in scored.prompt_logprobs[len(prompt) - 1 :]] == generation.logprobs
            for other in waiting:
                each.cancel(other)


def test_without_it_log_probabilities_agree_within_rounding() -> None:
    for name in LONG:
        generation, scored = scores(Engine(model_of(name), Settings(tokens_per_page=3, kv_bytes=KV_BYTES)), prompts()[-1])
        assert np.abs(np.array(scored) - np.array(generation)).max() < 1e-4


def scores(engine: Engine, prompt: Stream) -> tuple[list[float], list[float]]:
    """Log-probabilities of an answer's tokens: while it was decoded, and when prompt and answer are prefilled."""
    decoded = engine.submit(Request(prompt=prompt, sampling=Sampling(max_tokens=NEW, logprobs=0)))
    engine.wait(decoded)
    whole = Stream(np.concatenate([prompt.token_ids, decoded.token_ids]), prompt.tiles)
    scored = engine.submit(Request(prompt=whole, sampling=Sampling(max_tokens=1), prompt_logprobs=0))
    engine.wait(scored)
    return [float(x) for x in decoded.logprobs if x is not None], [entry.logprob for entry in scored.prompt_logprobs[len(prompt) - 1 :]]


@pytest.mark.parametrize(("kv_dtype", "bound"), [("bfloat16", 0.01), ("int8", 0.03)])
@pytest.mark.parametrize("name", LONG)
def test_smaller_pages_stay_within_their_bound(name: str, kv_dtype: Any, bound: float) -> None:
    """Of log-probabilities of a fixed answer, against pages in fp32; and the way of cutting makes no difference."""
    errors = []
    for prompt, answer in zip(prompts(), naive(name, GREEDY), strict=True):
        whole = Stream(np.concatenate([prompt.token_ids, answer]), prompt.tiles)
        request = Request(prompt=whole, sampling=Sampling(max_tokens=1), prompt_logprobs=0)
        small = [dict(kv_dtype=kv_dtype), dict(kv_dtype=kv_dtype, step_tokens=5, max_streams=4)]
        exact, low, pieces = (logprobs(model_of(name), request, each) for each in ({}, *small))
        errors.append(np.abs(exact - low))
        assert np.abs(low - pieces).mean() < 2e-3
    mean = float(np.concatenate(errors).mean())
    print(f"{name}, {kv_dtype}: mean {mean:.5f}, largest {np.concatenate(errors).max():.4f}")
    assert 0 < mean < bound


def logprobs(model: Model, request: Request, settings: dict[str, Any]) -> np.ndarray:
    engine = Engine(model, Settings(**dict(tokens_per_page=4, kv_bytes=KV_BYTES) | settings))
    generation = engine.submit(request)
    engine.wait(generation)
    return np.array([entry.logprob for entry in generation.prompt_logprobs])


@pytest.mark.parametrize("kv_dtype", ["auto", "int8"])
def test_a_loaded_cache_gives_the_answers_of_the_saved_one(kv_dtype: Any, tmp_path: Path) -> None:
    for name in LONG:
        settings = Settings(tokens_per_page=4, kv_bytes=KV_BYTES, kv_dtype=kv_dtype)
        first, second = (Engine(model_of(name), settings) for _ in range(2))
        asked: Sequence[Request] = [Request(prompt=prompt, sampling=GREEDY) for prompt in prompts()]
        answers = first.generate(asked)
        for place, prompt in enumerate(prompts()):
            if len(prompt) > 8:
                saved = save_cache(first, prompt, tmp_path / f"{place}.safetensors")
                assert load_cache(second, tmp_path / f"{place}.safetensors") == saved and saved.num_tokens >= 4
        assert second.generate(asked) == answers
        assert second.counters.tokens_cached >= 20
