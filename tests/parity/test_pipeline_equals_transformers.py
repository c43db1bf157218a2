"""A saved checkpoint, loaded by `puna.load`, gives `transformers`' logits at once, and token by token through the engine's cache."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import puna
from puna.engine import Sampling, generate
from puna.engine.cache import HybridCache
from puna.model import Batch
from puna.pipeline import Pipeline
from puna.stream import Stream
from puna.testing.hf_models import SCALED_ROPE, HFModel, hf_logits, hf_text_model, hf_vision_model, save_hf
from puna.testing.parity import assert_same, stream_with, token_ids
from puna.testing.tokenizer import byte_tokenizer
from puna.testing.videos import mp4

NUM_TOKENS = 29  # three chunk edges at chunk 8, and a chunk left open
DENSE = dict(num_local_experts=0, interleave_moe_layer_step=0, moe_layers=[], no_rope_layers=[1] * 8, layer_types=["full_attention"] * 8)
MODELS: dict[str, Callable[[], HFModel]] = {
    "scout_like": lambda: hf_text_model(seed=11, rope_parameters=dict(SCALED_ROPE)),
    "maverick_like": lambda: hf_text_model(seed=12, interleave_moe_layer_step=2, use_qk_norm=False),
    "guard_like": lambda: hf_text_model(seed=13, **DENSE),
}


def loaded(hf: HFModel, directory: Path, **options: Any) -> Pipeline:
    save_hf(hf, directory, **options)
    byte_tokenizer().save_hf(directory)
    return puna.load(directory, dtype="float32")


def reference(hf: HFModel, stream: Stream) -> Tensor:
    return hf_logits(hf, torch.from_numpy(stream.token_ids), None if stream.tiles is None else torch.from_numpy(stream.tiles))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_logits_of_a_loaded_directory_are_equal(make: Callable[[], HFModel], tmp_path: Path) -> None:
    hf = make()
    ids = token_ids(NUM_TOKENS, seed=1)
    logits = loaded(hf, tmp_path, max_shard_size="50KB").logits(ids.tolist())
    assert isinstance(logits, Tensor)
    assert_same(logits, reference(hf, Stream(ids)))


def test_rows_of_unequal_length_are_equal_each_to_itself_alone(tmp_path: Path) -> None:
    hf = MODELS["scout_like"]()
    rows = [token_ids(count, seed=count) for count in (3, 40, 1, 17)]
    for ours, row in zip(loaded(hf, tmp_path).logits([row.tolist() for row in rows]), rows, strict=True):
        assert_same(ours, reference(hf, Stream(row)))


def test_pictures_are_equal(tmp_path: Path) -> None:
    hf = hf_vision_model(seed=16)
    pipeline = loaded(hf, tmp_path)
    for grids in ([(1, 1)], [(2, 2), (1, 1), (3, 1)]):
        stream = stream_with(grids, seed=2)
        logits = pipeline.logits(stream.token_ids.tolist(), stream.tiles)
        assert isinstance(logits, Tensor)
        assert_same(logits, reference(hf, stream))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
@pytest.mark.parametrize("sizes", [[1] * NUM_TOKENS, [11, 1, 1, 9, 1, 6], [8, 8, 13]], ids=["one_by_one", "uneven", "at_edges"])
def test_pieces_through_the_engines_cache_equal_the_whole_forward(make: Callable[[], HFModel], sizes: list[int], tmp_path: Path) -> None:
    hf = make()
    model = loaded(hf, tmp_path).model
    ids, cache, pieces = token_ids(NUM_TOKENS, seed=3), HybridCache(model.config), []
    with torch.no_grad():
        for piece in np.split(ids, np.cumsum(sizes)[:-1]):
            batch = Batch.from_streams([Stream(piece)], cache.next_positions)
            pieces.append(model.logits(model(batch, cache)))
    assert_same(torch.cat(pieces), reference(hf, Stream(ids)))


def test_decoding_several_sequences_side_by_side_equals_each_alone(tmp_path: Path) -> None:
    """Sequences of different lengths stand at different places of their chunks and have different temperatures."""
    hf = MODELS["scout_like"]()
    model = loaded(hf, tmp_path).model
    rows = [token_ids(count + 12, seed=count) for count in (5, 1, 19)]
    cache = HybridCache(model.config, num_sequences=3)
    streams = [Stream(row[:-12]) for row in rows]
    pieces: list[list[Tensor]] = [[] for _ in rows]
    with torch.no_grad():
        for step in range(13):
            batch = Batch.from_streams(streams, cache.next_positions)
            for kept, logits in zip(pieces, model.logits(model(batch, cache)).split(batch.lengths), strict=True):
                kept.append(logits)
            streams = [Stream(row[len(row) - 12 + step : len(row) - 11 + step]) for row in rows]
    for kept, row in zip(pieces, rows, strict=True):
        assert_same(torch.cat(kept), reference(hf, Stream(row)))


def greedy(hf: HFModel, stream: Stream, count: int) -> list[int]:
    """The plainest decoding there is: the whole sequence anew for every token."""
    ids = stream.token_ids
    for _ in range(count):
        best = reference(hf, Stream(ids, stream.tiles))[-1].argmax().item()
        ids = np.append(ids, best)
    return ids[len(stream.token_ids) :].tolist()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS.keys())
def test_greedy_decoding_takes_the_same_tokens(make: Callable[[], HFModel], tmp_path: Path) -> None:
    hf = make()
    prompt = Stream(token_ids(6, seed=4))
    expected = greedy(hf, prompt, 20)
    assert len(set(expected)) > 5
    assert list(generate(loaded(hf, tmp_path).model, prompt, Sampling(max_tokens=20), stop_ids=())) == expected


def test_greedy_decoding_after_pictures_takes_the_same_tokens(tmp_path: Path) -> None:
    hf = hf_vision_model(seed=15, interleave_moe_layer_step=2)
    prompt = stream_with([(1, 2), (1, 1)], seed=5)
    assert list(generate(loaded(hf, tmp_path).model, prompt, Sampling(max_tokens=12), stop_ids=())) == greedy(hf, prompt, 12)


def test_a_question_about_a_video_file_gets_the_same_logits_and_the_same_answer(tmp_path: Path) -> None:
    hf = hf_vision_model(seed=17)
    pipeline = loaded(hf, tmp_path)
    prompt = pipeline.encode([{"role": "user", "content": [{"type": "video", "video": mp4()}, "What moved?"]}])
    assert prompt.num_tiles == 5 and len({tile.tobytes() for tile in prompt.tiles}) == 5
    logits = pipeline.logits(prompt.token_ids.tolist(), prompt.tiles)
    assert isinstance(logits, Tensor)
    assert_same(logits, reference(hf, prompt))
    assert list(generate(pipeline.model, prompt, Sampling(max_tokens=8), stop_ids=())) == greedy(hf, prompt, 8)
