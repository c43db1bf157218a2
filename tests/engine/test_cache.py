"""Cached equals uncached: token by token, in odd pieces, for several sequences; and local layers keep no more than a chunk."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from puna.engine import HybridCache
from puna.model import Batch, Model
from puna.presets import preset
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

CHUNK = 8
LENGTH = 29  # three chunk edges, and a chunk left open
PATCH = 348


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def ids(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, count)


def whole(model: Model, stream: Stream) -> Tensor:
    with torch.inference_mode():
        return model.logits(model(Batch.from_streams([stream])))


def in_pieces(model: Model, token_ids: np.ndarray, pieces: tuple[int, ...]) -> Tensor:
    cache, out = HybridCache(model.config), []
    edges = [0, *np.cumsum(pieces).tolist()]
    with torch.inference_mode():
        for start, end in pairwise(edges):
            batch = Batch.from_streams([Stream(token_ids[start:end])], cache.next_positions)
            out.append(model.logits(model(batch, cache)))
            assert cache.next_positions == [end]
    return torch.cat(out)


PIECES = {
    "token by token": (1,) * LENGTH,
    "at once": (LENGTH,),
    "odd pieces": (3, 1, 9, 2, 7, 1, 6),
    "pieces that end at chunk edges": (8, 8, 8, 5),
    "pieces that cross two edges": (7, 18, 4),
    "a prompt, then tokens": (23, 1, 1, 1, 1, 1, 1),
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
def test_any_pieces_equal_one_call_without_a_cache(model: Model, pieces: tuple[int, ...], poisoned_memory: None) -> None:
    torch.testing.assert_close(in_pieces(model, ids(LENGTH), pieces), whole(model, Stream(ids(LENGTH))), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", [dict(qk_norm=False), dict(chunk=None), dict(nope_layers=()), dict(num_kv_heads=1), dict(chunk=1)])
def test_every_kind_of_layer_is_cached_exactly(changes: dict, poisoned_memory: None) -> None:
    model = tiny_model(tiny_config(**changes))
    torch.testing.assert_close(in_pieces(model, ids(20), (5, 1, 1, 9, 4)), whole(model, Stream(ids(20))), atol=1e-4, rtol=1e-4)


def test_bf16_in_pieces_stays_as_near_to_fp32_as_bf16_at_once() -> None:
    exact, low = tiny_model(), tiny_model(dtype=torch.bfloat16)
    truth = whole(exact, Stream(ids(LENGTH)))
    scale = float(truth.square().mean().sqrt())
    for out in (whole(low, Stream(ids(LENGTH))), in_pieces(low, ids(LENGTH), PIECES["odd pieces"])):
        assert float((out - truth).square().mean().sqrt()) < 0.05 * scale


def test_a_picture_may_come_with_a_later_piece(model: Model) -> None:
    tiles = np.random.default_rng(1).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    later = Stream(np.array([*ids(2, 1), *[PATCH] * 4, *ids(3, 2)]), tiles)
    cache = HybridCache(model.config)
    with torch.inference_mode():
        model(Batch.from_streams([Stream(ids(5))], cache.next_positions), cache)
        out = model.logits(model(Batch.from_streams([later], cache.next_positions), cache))
    expected = whole(model, Stream(np.concatenate((ids(5), later.token_ids)), tiles))[5:]
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)


def test_several_sequences_go_on_at_their_own_pace(model: Model, poisoned_memory: None) -> None:
    sequences = [ids(24, 1), ids(17, 2), ids(30, 3)]
    steps = [(7, 1, 16), (1, 1, 1), (9, 0, 1), (6, 15, 0), (1, 0, 12)]  # tokens of each sequence in each call; 0 sits it out
    cache, out = HybridCache(model.config, 3), [[], [], []]
    with torch.inference_mode():
        for counts in steps:
            firsts = list(cache.next_positions)
            streams = [Stream(s[first : first + count]) for s, first, count in zip(sequences, firsts, counts, strict=True)]
            batch = Batch.from_streams(streams, firsts)
            for kept, logits in zip(out, model.logits(model(batch, cache)).split(batch.lengths), strict=True):
                kept.append(logits)
    assert cache.next_positions == [24, 17, 30]
    for logits, sequence in zip(out, sequences, strict=True):
        torch.testing.assert_close(torch.cat(logits), whole(model, Stream(sequence)), atol=1e-4, rtol=1e-4)


def test_local_layers_keep_at_most_one_chunk_and_nope_layers_everything(model: Model) -> None:
    config = model.config
    per_row = 2 * config.num_kv_heads * config.head_width * 4
    num_global = sum(not layer.is_local for layer in config.layers())
    num_local = config.num_layers - num_global
    assert (num_global, num_local) == (2, 6)
    cache = HybridCache(config)
    assert cache.num_bytes == 0
    with torch.inference_mode():
        for position, token in enumerate(ids(3 * CHUNK)):
            model(Batch.from_streams([Stream(np.array([token]))], cache.next_positions), cache)
            assert cache.num_bytes == per_row * (num_global * (position + 1) + num_local * (position % CHUNK + 1))


def test_a_long_prompt_leaves_one_chunk_behind_in_local_layers() -> None:
    model = tiny_model(tiny_config(nope_layers=()))
    cache = HybridCache(model.config)
    with torch.inference_mode():
        model(Batch.from_streams([Stream(ids(1003))], cache.next_positions), cache)
    assert cache.num_bytes == 8 * 3 * 2 * 2 * 8 * 4  # layers, open rows, keys and values, heads, width, bytes


def test_the_nano_holds_what_its_count_says() -> None:
    from puna.model.count import cache_bytes

    model = tiny_model(preset("scout-nano"), dtype=torch.bfloat16)
    cache = HybridCache(model.config)
    with torch.inference_mode():
        model(Batch.from_streams([Stream(ids(300))], cache.next_positions), cache)
    count = cache_bytes(model.config)
    assert cache.num_bytes == 300 * count.global_per_token + (300 - 256) * count.local_per_token
    assert cache.num_bytes <= count.sequence(300)


@pytest.mark.parametrize(
    ("lengths", "firsts"), [((3,), (5,)), ((3, 2), (4, 1)), ((3, 2), (0, 0)), ((3, 2, 1), (4, 0, 0)), ((2, 3), (0, 4))]
)
def test_a_batch_that_does_not_go_on_where_the_cache_stands_is_refused_and_harms_nothing(
    model: Model, lengths: tuple[int, ...], firsts: tuple[int, ...]
) -> None:
    cache = HybridCache(model.config, 2)
    with torch.inference_mode():
        model(Batch.from_streams([Stream(ids(4)), Stream(ids(0))], cache.next_positions), cache)
        before = cache.num_bytes
        with pytest.raises(ValueError, match=r"the cache stands at \[4, 0\]"):
            model(Batch.from_streams([Stream(ids(n)) for n in lengths], firsts), cache)
        assert (cache.next_positions, cache.num_bytes) == ([4, 0], before)
        batch = Batch.from_streams([Stream(ids(9)[4:]), Stream(ids(3, 1))], cache.next_positions)
        first, second = model.logits(model(batch, cache)).split(batch.lengths)
    torch.testing.assert_close(first, whole(model, Stream(ids(9)))[4:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second, whole(model, Stream(ids(3, 1))), atol=1e-4, rtol=1e-4)


def test_keys_are_kept_without_temperature(model: Model) -> None:
    """Temperature grows with the query's position: were it in the keys, an early key would carry the wrong one."""
    flat = tiny_model(tiny_config(temperature_tuning=False))
    kept = []
    for each in (model, flat):
        cache = HybridCache(each.config)
        with torch.inference_mode():
            each(Batch.from_streams([Stream(ids(3))], cache.next_positions), cache)  # floor_scale 4: temperature 1 so far
            kept.append(cache.num_bytes)
            x = torch.ones(6, 32)
            batch = Batch.from_streams([Stream(ids(6))], [3])
            from puna.model.attention import PositionTerms

            each.text.layers[3].attention(x, PositionTerms.of(batch.positions, each.config, "modulo"), batch, cache)
            kept.append(cache._keys[0][3].view().clone())
    assert torch.equal(kept[1], kept[3])
