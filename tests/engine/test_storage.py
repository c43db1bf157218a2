"""Where keys and values lie: what is written is read, int8 is as near as it says, and old contents reach nobody."""

import numpy as np
import pytest
import torch

from puna.engine import DraftModel, Engine, PromptLookup, Request, Sampling, generate
from puna.engine.storage import PageStorage, bytes_per_token
from puna.testing.engines import assert_nothing_is_left, engine_with_pages, small_model, text, tile, with_pictures
from puna.testing.models import tiny_config

CONFIG = tiny_config()  # 2 key/value heads of width 8


def storage(dtype: torch.dtype, pages: int = 5) -> PageStorage:
    return PageStorage(CONFIG, (3, 7), pages, 4, dtype, "cpu")


def rows(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, 8, generator=generator), torch.randn(count, 2, 8, generator=generator)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_written_in_any_slots_is_read_page_by_page(dtype: torch.dtype) -> None:
    kept, (k, v) = storage(dtype), rows(6)
    kept.write(7, torch.tensor([17, 4, 5, 6, 7, 16]), k, v)  # pages 4 and 1
    keys, values = kept.read(7, torch.tensor([1, 4]))
    assert keys.shape == (2, 8, 8)
    assert torch.equal(keys.transpose(0, 1)[[5, 0, 1, 2, 3, 4]], k.to(dtype))
    assert torch.equal(values.transpose(0, 1)[[5, 0, 1, 2, 3, 4]], v.to(dtype))
    assert not keys[:, 6:].any() and not kept.read(3, torch.arange(5)).keys.any(), "nothing else was touched"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_int8_is_off_by_at_most_half_a_step_of_each_heads_largest_value(scale: float) -> None:
    kept = storage(torch.int8, 50)
    k, v = (scale * x for x in rows(200))
    kept.write(3, torch.arange(200), k, v)
    worst = 0.0
    for x, read in zip((k, v), kept.read(3, torch.arange(50)), strict=True):
        step = x.abs().amax(-1, keepdim=True) / 127
        error = ((read.transpose(0, 1) - x).abs() / step).max()
        worst = max(worst, float(error))
        relative = (read.transpose(0, 1) - x).square().mean().sqrt() / x.square().mean().sqrt()
        assert relative < 0.006, "the bound below, seen over all: 0.4 % is measured"
    assert 0.45 < worst <= 0.5001


def test_int8_keeps_zeros_and_the_largest_value_exactly() -> None:
    kept = storage(torch.int8)
    k = torch.zeros(2, 2, 8)
    k[1, 0, 3] = -5.0
    kept.write(3, torch.arange(2), k, k)
    assert torch.equal(kept.read(3, torch.tensor([0])).keys.transpose(0, 1)[:2], k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_cleared_pages_hold_zeros_and_others_what_they_held(dtype: torch.dtype) -> None:
    kept, (k, v) = storage(dtype), rows(20)
    for layer in (3, 7):
        kept.write(layer, torch.arange(20), k, v)
    before = [kept.read(layer, torch.tensor([0, 2, 4])) for layer in (3, 7)]
    kept.clear([1, 3])
    for layer, others in zip((3, 7), before, strict=True):
        assert not any(x.any() for x in kept.read(layer, torch.tensor([1, 3])))
        assert all(torch.equal(a, b) and a.any() for a, b in zip(kept.read(layer, torch.tensor([0, 2, 4])), others, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_exported_pages_come_back_the_same_elsewhere(dtype: torch.dtype) -> None:
    first, second, (k, v) = storage(dtype), storage(dtype), rows(20)
    first.write(3, torch.arange(20), k, v)
    parts = first.export([4, 1])
    assert second.fits(2, parts) and not second.fits(3, parts) and not second.fits(2, {})
    second.insert([0, 3], parts)
    assert torch.equal(second.read(3, torch.tensor([0, 3])).keys, first.read(3, torch.tensor([4, 1])).keys)
    assert not second.read(3, torch.tensor([1, 2, 4])).values.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_bytes_are_what_the_plan_counts(dtype: torch.dtype) -> None:
    assert storage(dtype).num_bytes == 2 * 5 * 4 * bytes_per_token(CONFIG, dtype)


def poisoned(engine: Engine) -> Engine:
    """Every place that nobody has written yet holds NaN (int8: the largest value at an infinite scale)."""
    for kept in engine.memory.storages.values():
        kept.data.fill_(127 if kept.scales is not None else float("nan"))
        if kept.scales is not None:
            kept.scales.fill_(float("inf"))
    return engine


REQUESTS = [
    Request(prompt=text(length, seed), sampling=Sampling(max_tokens=count))
    for seed, (length, count) in enumerate([(1, 20), (3, 5), (7, 9), (8, 8), (17, 12), (30, 3)])
] + [Request(prompt=with_pictures(text(5, 9), tile(1), tile(2), text(6, 10)), sampling=Sampling(max_tokens=9))]


@pytest.mark.parametrize("options", [{}, {"batch_invariant": True}, {"keep_prefixes": False}], ids=["plain", "invariant", "nothing kept"])
@pytest.mark.parametrize("drafts", [False, True], ids=["", "drafts"])
def test_poison_in_fresh_memory_reaches_no_answer(options: dict, drafts: bool, poisoned_memory: None) -> None:
    model = small_model()
    parts = {"drafter": PromptLookup(shortest=1) if drafts else None}
    engine = poisoned(engine_with_pages(model, 16, 6, tokens_per_page=3, parts=parts, **options))
    answers = [list(generate(model, request.prompt, request.sampling, ())) for request in REQUESTS]
    assert engine.generate(REQUESTS) == answers
    assert engine.generate(REQUESTS[::-1]) == answers[::-1]
    assert_nothing_is_left(engine)


def test_poison_reaches_no_answer_from_int8_pages() -> None:
    model = small_model()
    clean, dirty = (engine_with_pages(model, 16, 6, kv_dtype="int8") for _ in range(2))
    answers = clean.generate(REQUESTS)
    assert poisoned(dirty).generate(REQUESTS) == answers
    assert_nothing_is_left(dirty)


def test_poison_reaches_no_draft_of_a_draft_model() -> None:
    model = small_model()
    drafter = DraftModel(model, num_drafts=3, kv_bytes=1 << 20)
    for kept in drafter.memory.storages.values():
        kept.data.fill_(float("nan"))
    engine = engine_with_pages(model, 30, 12, parts={"drafter": drafter})
    answers = engine.generate(REQUESTS[:-1])  # without the picture, which a draft model cannot see
    assert answers == [list(generate(model, request.prompt, request.sampling, ())) for request in REQUESTS[:-1]]
    assert engine.counters.accepted == engine.counters.drafted > 20, "the same model guesses right every time"
    assert not drafter._kept and drafter.memory.pools["global"].num_free == drafter.plan.num_global
    assert drafter.memory.pools["local"].num_free == drafter.plan.num_local
    assert_nothing_is_left(engine)


def test_int8_answers_stay_near_those_in_fp32() -> None:
    model = small_model()
    rows = {}
    for dtype in ("float32", "int8"):
        engine = engine_with_pages(model, 30, 12, kv_dtype=dtype)
        request = Request(prompt=text(30, 4), sampling=Sampling(max_tokens=1), prompt_logprobs=0)
        generation = engine.submit(request)
        engine.wait(generation)
        rows[dtype] = np.array([logprob for logprob, _ in generation.prompt_logprobs])
    assert 0 < np.abs(rows["int8"] - rows["float32"]).max() < 0.25
    assert np.abs(rows["int8"] - rows["float32"]).mean() < 0.05
