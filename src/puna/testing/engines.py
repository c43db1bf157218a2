"""Engines with very little memory over very small models, and what must hold when all their work is done."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from puna.config import ModelConfig
from puna.engine import Engine, Settings, plan_memory
from puna.model import Model
from puna.stream import Stream
from puna.testing.models import TINY_VISION, tiny_config, tiny_model


def small_config(**changes: Any) -> ModelConfig:
    """`tiny_config` with 4 layers of width 16, of which the last is global, for tests that take thousands of steps."""
    sizes: dict[str, Any] = dict(width=16, num_layers=4, num_heads=2, num_kv_heads=1, expert_width=8, dense_width=16)
    return tiny_config(**(sizes | dict(moe_layers=(1, 3), nope_layers=(3,), initializer_range=0.5) | changes))


def small_model(**changes: Any) -> Model:
    return tiny_model(small_config(**changes))


def engine_with_pages(model: Model, num_global: int, num_local: int, *, parts: Mapping[str, Any] | None = None, **settings: Any) -> Engine:
    """An engine with exactly so many pages; `parts` are `Engine`'s drafter and grammars."""
    with patch("puna.engine.engine.plan_memory", lambda *args: replace(plan_memory(*args), num_global=num_global, num_local=num_local)):
        sizes: dict[str, Any] = dict(max_streams=4, step_tokens=16, tokens_per_page=4)
        return Engine(model, Settings(**(sizes | settings)), **(parts or {}))


def text(length: int, seed: int = 0) -> Stream:
    """Random bytes."""
    return Stream(np.random.default_rng(seed).integers(0, 256, length))


def with_pictures(*parts: Stream | np.ndarray, config: ModelConfig | None = None) -> Stream:
    """Texts and tiles `[3, 16, 16]` one after another, each tile as its patch tokens."""
    config = config or small_config()
    ids = [np.full(TINY_VISION.tokens_per_tile, config.patch_id) if isinstance(part, np.ndarray) else part.token_ids for part in parts]
    return Stream(np.concatenate(ids), np.stack([part for part in parts if isinstance(part, np.ndarray)]))


def tile(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (3, TINY_VISION.tile_size, TINY_VISION.tile_size)).astype(np.float32)


def assert_pages_add_up(engine: Engine) -> None:
    """Every page is free or held, and held as often as somebody names it."""
    for kind, pool in engine.memory.pools.items():
        named = list(engine.memory.prefixes._pages[kind].values())
        for sequence in engine._sequences.values():
            pages = sequence.pages
            named += pages.global_pages if kind == "global" else [page for chunk in pages.local_pages.values() for page in chunk]
        holders = [named.count(page) for page in range(pool.num_pages)]
        assert holders == [pool.num_holders(page) for page in range(pool.num_pages)], f"{kind} pages are held by others than their owners"
        assert sorted(pool._free) == [page for page, count in enumerate(holders) if not count], f"{kind} pages are lost or free twice"


def assert_nothing_is_left(engine: Engine) -> None:
    """No sequence, and no page but those that only the prefix store holds; it lets go of them here."""
    assert not engine.has_work and not engine._sequences and not engine._held
    assert not engine.scheduler.running and not engine.scheduler.waiting
    assert_pages_add_up(engine)
    for kind, pool in engine.memory.pools.items():
        assert pool.num_free + engine.memory.prefixes.num_spare(kind) == pool.num_pages
    engine.memory.prefixes.clear()
    for pool in engine.memory.pools.values():
        assert pool.num_free == pool.num_pages
