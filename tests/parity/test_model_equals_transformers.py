"""Puna's model and `transformers`' Llama 4 give the same logits, branch by branch, in fp32 on random tiny models.

Weights go the way users' weights go: `save_pretrained`, then `load_model`.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from puna.checkpoint import load_model
from puna.config import LayerSpec
from puna.kernels.attention import reference_attention
from puna.model import Batch, Model
from puna.stream import Stream
from puna.testing.hf_models import SCALED_ROPE, HFModel, hf_logits, hf_text_model, hf_vision_model, save_hf
from puna.testing.parity import MAX_DIFFERENCE, assert_same, picture, stream_with, stream_with_videos, token_ids

NUM_TOKENS = 29  # three chunk edges at chunk 8, and a chunk left open


def puna_model(hf: HFModel, directory: Path) -> Model:
    return load_model(save_hf(hf, directory), torch.float32)


def puna_logits(model: Model, *streams: Stream) -> list[Tensor]:
    with torch.no_grad():
        batch = Batch.from_streams(streams)
        return list(model.logits(model(batch)).split(batch.lengths))


PLAIN_ROPE = dict(rope_type="default", rope_theta=500.0)
SMOOTH_ROPE = {**SCALED_ROPE, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "factor": 8.0}
DENSE = dict(num_local_experts=0, interleave_moe_layer_step=0, moe_layers=[])
TEXT_CASES: dict[str, dict[str, Any]] = {
    f"moe_every_{step}-{'' if qk_norm else 'no_'}qk_norm-{'scaled' if scaled else 'plain'}_rope": dict(
        interleave_moe_layer_step=step, use_qk_norm=qk_norm, rope_parameters=dict(SCALED_ROPE if scaled else PLAIN_ROPE)
    )
    for step in (1, 2)
    for qk_norm in (True, False)
    for scaled in (True, False)
} | {
    "smooth_rope_scaling": dict(rope_parameters=SMOOTH_ROPE),
    "release_theta": dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0)),
    "no_temperature": dict(attn_temperature_tuning=False),
    "strong_temperature": dict(attn_scale=1.5, floor_scale=2),
    "one_expert": dict(num_local_experts=1),
    "many_experts": dict(num_local_experts=32),
    "all_nope": dict(no_rope_layers=[0] * 8),
    "all_rope": dict(no_rope_layers=[1] * 8),
    "uneven_patterns": dict(no_rope_layers=[0, 1, 1, 1, 0, 0, 1, 1], moe_layers=[0, 3, 4]),
    "one_head_group": dict(num_key_value_heads=4),
    "one_kv_head": dict(num_key_value_heads=1),
    "heads_wider_than_model": dict(head_dim=32),
    "guard_like": dict(**DENSE, no_rope_layers=[1] * 8, layer_types=["full_attention"] * 8, rope_parameters=SCALED_ROPE),
    "dense_with_local_layers": DENSE,
    "large_epsilon": dict(rms_norm_eps=0.1),
}


@pytest.mark.parametrize("changes", TEXT_CASES.values(), ids=TEXT_CASES.keys())
def test_text_logits_are_equal(changes: dict[str, Any], tmp_path: Path) -> None:
    hf = hf_text_model(seed=1, **changes)
    ids = token_ids(NUM_TOKENS, seed=2)
    (ours,) = puna_logits(puna_model(hf, tmp_path), Stream(ids))
    assert_same(ours, hf_logits(hf, torch.from_numpy(ids)))


def test_the_reference_really_uses_several_experts_and_scores_that_matter() -> None:
    """Guards the suite itself: a router that always picks one expert with a score of one would prove little."""
    hf = hf_text_model(seed=1)
    chosen, scores = set(), []
    for layer, block in enumerate(hf.model.layers):

        def keep(module: torch.nn.Module, args: Any, output: tuple[Tensor, Tensor], layer: int = layer) -> None:
            chosen.update((layer, e) for e in output[1].argmax(-1).tolist())
            scores.append(output[0].max(-1).values)

        block.feed_forward.router.register_forward_hook(keep)
    hf_logits(hf, torch.from_numpy(token_ids(NUM_TOKENS, seed=2)))
    assert len(chosen) >= 3 * len(hf.model.layers)
    all_scores = torch.cat(scores)
    assert all_scores.min() < 0.6 and all_scores.max() > 0.9


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 16, 17, 24, 25, 70])
def test_every_length_around_the_chunk_edges_is_equal(count: int, tmp_path: Path) -> None:
    hf = hf_text_model(seed=3, rope_parameters=dict(SCALED_ROPE))
    ids = token_ids(count, seed=count)
    (ours,) = puna_logits(puna_model(hf, tmp_path), Stream(ids))
    assert_same(ours, hf_logits(hf, torch.from_numpy(ids)))


def test_each_row_of_an_uneven_batch_equals_transformers_on_that_row_alone(tmp_path: Path) -> None:
    hf = hf_text_model(seed=4, rope_parameters=dict(SCALED_ROPE))
    streams = [Stream(token_ids(count, seed=count)) for count in (13, 1, 29, 8, 40, 2)]
    for ours, stream in zip(puna_logits(puna_model(hf, tmp_path), *streams), streams, strict=True):
        assert_same(ours, hf_logits(hf, torch.from_numpy(stream.token_ids)))


def test_the_chunk_edge_and_the_temperature_show_in_the_logits(tmp_path: Path) -> None:
    """Guards the suite itself: without either branch the same weights give other logits, by far more than the tolerance."""
    ids = torch.from_numpy(token_ids(NUM_TOKENS, seed=2))
    logits = hf_logits(hf_text_model(seed=1), ids)
    for change in (dict(attention_chunk_size=4096), dict(attn_temperature_tuning=False), dict(use_qk_norm=False)):
        assert (logits - hf_logits(hf_text_model(seed=1, **change), ids)).abs().max() > 100 * MAX_DIFFERENCE


def test_pictures_of_several_tilings_in_one_batch_are_equal(tmp_path: Path) -> None:
    hf = hf_vision_model(seed=5, interleave_moe_layer_step=2)
    streams = [
        stream_with([(1, 1)], seed=1),
        stream_with([], seed=2),
        stream_with([(2, 1), (1, 1), (1, 3)], seed=3),
        stream_with([(2, 2)], seed=4),
    ]
    for ours, stream in zip(puna_logits(puna_model(hf, tmp_path), *streams), streams, strict=True):
        tiles = None if stream.tiles is None else torch.from_numpy(stream.tiles)
        assert_same(ours, hf_logits(hf, torch.from_numpy(stream.token_ids), tiles))


def test_videos_packed_with_pictures_and_text_are_equal_each_to_itself_alone(tmp_path: Path) -> None:
    """To both programs a frame is patch ids and a tile; the ids around them are ordinary ones."""
    hf = hf_vision_model(seed=14, interleave_moe_layer_step=2)
    model = puna_model(hf, tmp_path)
    assert model.config.vision is not None
    streams = [
        stream_with_videos([3], seed=1, vision=model.config.vision),
        stream_with([(2, 1)], seed=2),
        stream_with_videos([1, 4], seed=3, vision=model.config.vision),
        stream_with([], seed=4),
    ]
    assert [stream.num_tiles for stream in streams] == [3 + 3, 3, 1 + 3 + 4 + 3, 0]
    for packed, stream in zip(puna_logits(model, *streams), streams, strict=True):
        tiles = None if stream.tiles is None else torch.from_numpy(stream.tiles)
        assert_same(packed, hf_logits(hf, torch.from_numpy(stream.token_ids), tiles))
        assert_same(packed, puna_logits(model, stream)[0])


@pytest.mark.parametrize(
    "vision",
    [dict(image_size=8), dict(image_size=40), dict(patch_size=2), dict(num_attention_heads=1), dict(num_attention_heads=8)],
    ids=lambda change: "-".join(f"{k}={v}" for k, v in change.items()),
)
def test_vision_rows_are_equal(vision: dict[str, Any], tmp_path: Path) -> None:
    hf = hf_vision_model(seed=6, vision=vision)
    size = hf.config.vision_config.image_size
    tiles = torch.from_numpy(picture((2, 2), seed=7, size=size).tiles)
    with torch.no_grad():
        theirs = hf.multi_modal_projector(hf.vision_model(tiles).last_hidden_state).flatten(0, 1)
        ours = puna_model(hf, tmp_path).embed_tiles(tiles)
    assert_same(ours, theirs, least_size=1.0)


class KeepEverything:
    """The plainest cache that keeps the contract of `KVCache`: all keys and values of one sequence, attended by the reference op."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}

    def attend(self, layer: LayerSpec, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, batch: Batch, scale: float) -> Tensor:
        if layer.index in self.kept:
            k_TKH, v_TKH = (torch.cat((old, new)) for old, new in zip(self.kept[layer.index], (k_TKH, v_TKH), strict=True))
        self.kept[layer.index] = (k_TKH, v_TKH)
        return reference_attention(
            q_TNH,
            k_TKH,
            v_TKH,
            q_positions=batch.positions,
            k_positions=torch.arange(len(k_TKH)),
            q_sequences=torch.zeros(len(q_TNH)),
            k_sequences=torch.zeros(len(k_TKH)),
            chunk=layer.chunk,
            scale=scale,
        )


@pytest.mark.parametrize("step", [1, 5])
def test_pieces_with_a_cache_equal_transformers_whole_forward(step: int, tmp_path: Path) -> None:
    hf = hf_text_model(seed=8, rope_parameters=dict(SCALED_ROPE))
    model, ids = puna_model(hf, tmp_path), token_ids(NUM_TOKENS, seed=9)
    cache, pieces = KeepEverything(), []
    with torch.no_grad():
        for first in range(0, NUM_TOKENS, step):
            batch = Batch.from_streams([Stream(ids[first : first + step])], first_positions=[first])
            pieces.append(model.logits(model(batch, cache)))
    assert_same(torch.cat(pieces), hf_logits(hf, torch.from_numpy(ids)))
