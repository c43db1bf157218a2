"""Batch invariance, bit for bit: products, activations, norms, experts, attention, and a whole model in any company and any pieces.

Letters: T tokens, S keys, N query heads, K key/value heads, H head width, D model width, F expert width, E experts.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.config import LayerSpec
from puna.kernels import invariant
from puna.kernels.attention import invariant_attention, invariant_batched_attention, reference_attention, verify_attention
from puna.kernels.experts import grouped_experts, reference_experts
from puna.kernels.invariant import batch_invariant, cuts, multiply_rows, verify
from puna.model import Batch, Model
from puna.model.norm import rms_normalize
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

FP32_TOLERANCE = 1e-5  # sums in another order, as a share of the largest value
BF16_TOLERANCE = 2e-2  # 8 bits of mantissa
PATCH = 348
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """For tests of few products: where other processes hold the cores, each that two threads share waits for them."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def fresh_measurements() -> Iterator[None]:
    """Nothing is known about this machine before, and what a test makes it believe is forgotten after."""
    caches = (invariant._row_steps, invariant.item_row_steps, invariant._item_steps, invariant._broken_row_functions)
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def near(got: Tensor, expected: Tensor, tolerance: float) -> bool:
    return got.shape == expected.shape and float((got.float() - expected.float()).abs().max()) <= tolerance * float(expected.abs().max())


# ---- products and functions of rows


@DTYPES
@pytest.mark.parametrize("shape", [(32, 32), (48, 32), (32, 3), (33, 17), (192, 512), (512, 192), (256, 300)])
def test_a_row_of_a_product_is_the_same_among_any_number_of_rows(shape: tuple[int, int], dtype: torch.dtype, poisoned_memory: None) -> None:
    x, weight, bias = random(71, shape[0], dtype=dtype), random(shape[1], shape[0], dtype=dtype, seed=1), random(shape[1], dtype=dtype)
    with torch.inference_mode(), batch_invariant():
        alone = torch.cat([F.linear(row[None], weight) for row in x])
        for rows in range(1, 71):
            assert torch.equal(F.linear(x[:rows], weight), alone[:rows])
            assert torch.equal(F.linear(x[71 - rows :], weight), alone[71 - rows :])
        assert torch.equal(F.linear(x[None, None, :9], weight, bias), (alone[:9] + bias)[None, None])
        assert torch.equal(F.linear(x[5], weight), alone[5])
    assert near(alone, x.double() @ weight.double().t(), FP32_TOLERANCE if dtype == torch.float32 else BF16_TOLERANCE)


def test_the_wide_head_of_a_vocabulary_too() -> None:
    x, weight = random(40, 192), random(8320, 192, seed=1)
    alone = torch.cat([multiply_rows(row[None], weight.t()) for row in x])
    for rows in (2, 3, 5, 8, 13, 16, 31, 40):
        assert torch.equal(multiply_rows(x[:rows], weight.t()), alone[:rows])


def test_a_prefill_of_hundreds_of_rows_gives_the_bits_of_single_ones(threads: int) -> None:
    x, weight = random(1100, 192), random(512, 192, seed=1)
    whole = multiply_rows(x, weight.t())
    for first, last in [(0, 1), (5, 7), (6, 9), (10, 19), (3, 36), (511, 514), (700, 1099), (99, 811)]:
        assert torch.equal(multiply_rows(x[first:last], weight.t()), whole[first:last])


@DTYPES
def test_no_rows_give_no_rows(dtype: torch.dtype) -> None:
    assert multiply_rows(random(0, 8, dtype=dtype), random(8, 5, dtype=dtype)).shape == (0, 5)


def test_rows_need_not_lie_side_by_side_nor_weights_at_the_start_of_their_memory() -> None:
    x, weight = random(20, 64), random(1 + 48 * 32)[1:].view(48, 32)
    with torch.inference_mode(), batch_invariant():
        expected = F.linear(x[:, 7:39].contiguous(), weight)
        assert torch.equal(F.linear(x[:, 7:39], weight), expected)
        assert torch.equal(F.linear(x[3:8, 7:39], weight), expected[3:8])
        assert torch.equal(
            multiply_rows(x[:, 7:39], random(48, 64)[:, :32].t())[:5], multiply_rows(x[:5, 7:39], random(48, 64)[:, :32].t())
        )


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11, 12, 27, 600])
def test_cuts_cover_all_rows_once(count: int) -> None:
    for steps in ((16, 8, 4), (512, 16), (1,)):
        for fill in (True, False) if steps[-1] == 1 else (True,):
            found = cuts(count, steps, fill)
            assert [row for first, _, used in found for row in range(first, first + used)] == list(range(count))
            assert all(used <= step and (used == step or fill) for _, step, used in found)


@DTYPES
@pytest.mark.parametrize("function", [F.silu, F.gelu, torch.sigmoid, torch.Tensor.sigmoid], ids=["silu", "gelu", "sigmoid", "method"])
def test_activations_do_not_know_where_an_element_stands(
    function: Callable[[Tensor], Tensor], dtype: torch.dtype, threads: int, poisoned_memory: None
) -> None:
    x = random(70_001, dtype=dtype) * 4
    with torch.inference_mode(), batch_invariant():
        whole = function(x)
        for size in (1, 7, 24):
            assert torch.equal(torch.cat([function(part) for part in x[:4800].split(size)]), whole[:4800])
        assert torch.equal(function(x[: 24 * 100].view(100, 24)[:, :11]), whole[: 24 * 100].view(100, 24)[:, :11])
        extremes = torch.tensor([-1e4, -100.0, -1e-30, 0.0, 100.0, 1e4], dtype=dtype)
        assert near(function(extremes), function(extremes.double()).to(dtype), 1e-6) and function(extremes).isfinite().all()
    assert whole.dtype == dtype and near(whole, function(x.double()), FP32_TOLERANCE if dtype == torch.float32 else BF16_TOLERANCE)


@DTYPES
@pytest.mark.parametrize("width", [8, 33, 192, 5120])
def test_norms_and_softmax_work_row_by_row(width: int, dtype: torch.dtype) -> None:
    x = random(33, width, dtype=dtype)
    norm = nn.LayerNorm(width).to(dtype)
    with torch.inference_mode(), batch_invariant():
        for function in (lambda rows: rms_normalize(rows, 1e-5), norm, lambda rows: rows.softmax(-1), lambda rows: rows.argmax(-1)):
            alone = torch.cat([function(row[None]) for row in x])
            for rows in (2, 7, 33):
                assert torch.equal(function(x[:rows]), alone[:rows])


@DTYPES
def test_an_expert_does_not_know_how_many_rows_chose_it(dtype: torch.dtype, poisoned_memory: None) -> None:
    x, scores = random(70, 32, dtype=dtype), random(70, dtype=dtype).sigmoid()
    w_gate_up, w_down = random(5, 32, 48, dtype=dtype) / 6, random(5, 24, 32, dtype=dtype) / 5
    ids = torch.randint(4, (70,), generator=torch.Generator().manual_seed(0))  # the last expert stays idle
    with torch.inference_mode(), batch_invariant():
        alone = torch.cat([grouped_experts(x[t, None], ids[t, None], scores[t, None], w_gate_up, w_down) for t in range(70)])
        for rows in (1, 2, 7, 9, 33, 70):
            assert torch.equal(grouped_experts(x[:rows], ids[:rows], scores[:rows], w_gate_up, w_down), alone[:rows])
        assert torch.equal(
            grouped_experts(x.flip(0), ids.flip(0), None, w_gate_up, w_down)[0],
            grouped_experts(x[-1:], ids[-1:], None, w_gate_up, w_down)[0],
        )
        assert grouped_experts(x[:0], ids[:0], None, w_gate_up, w_down).shape == (0, 32)
    assert near(alone, reference_experts(x, ids, scores, w_gate_up, w_down), FP32_TOLERANCE if dtype == torch.float32 else BF16_TOLERANCE)


def test_tiles_attend_the_same_alone_and_together() -> None:
    q, k, v = (random(5, 17, 2, 8, seed=seed).transpose(1, 2) for seed in range(3))
    with torch.inference_mode(), batch_invariant():
        together = F.scaled_dot_product_attention(q, k, v)
        for i in range(5):
            assert torch.equal(F.scaled_dot_product_attention(q[i : i + 1], k[i : i + 1], v[i : i + 1])[0], together[i])
    assert near(together, F.scaled_dot_product_attention(q, k, v), FP32_TOLERANCE)


# ---- what is refused, and what a bad machine gets


@pytest.mark.parametrize(
    "product",
    [
        torch.mm,
        torch.matmul,
        Tensor.matmul,
        lambda a, b: a @ b,
        lambda a, b: torch.einsum("tk,kn->tn", a, b),
        lambda a, b: a[None].bmm(b[None]),
    ],
)
def test_a_product_that_depends_on_the_batch_is_refused(product: Callable[[Tensor, Tensor], Tensor]) -> None:
    with torch.inference_mode(), batch_invariant(), pytest.raises(ValueError, match="is not batch-invariant"):
        product(random(4, 4), random(4, 4))


def test_attention_without_an_invariant_cache_is_refused() -> None:
    from puna.engine.cache import HybridCache

    model = tiny_model()
    stream = Stream(np.arange(5))
    with torch.inference_mode(), batch_invariant():
        with pytest.raises(ValueError, match="is not batch-invariant"):
            model(Batch.from_streams([stream]))
        with pytest.raises(ValueError, match="use puna.kernels.attention.invariant_attention"):
            model(Batch.from_streams([stream]), HybridCache(model.config))


def test_training_and_other_devices_are_refused() -> None:
    with batch_invariant(), pytest.raises(ValueError, match="under torch.inference_mode"):
        nn.Linear(4, 4)(torch.ones(2, 4, requires_grad=True))
    with batch_invariant(), pytest.raises(ValueError, match="runs on a CPU only so far"):
        nn.Linear(4, 4, device="meta")(torch.ones(2, 4, device="meta"))
    elsewhere = torch.ones(2, 2, 4, device="meta")
    with pytest.raises(ValueError, match="runs on a CPU only so far"):
        invariant_attention(elsewhere, elsewhere, elsewhere, 1.0)


def test_outside_and_switched_off_nothing_changes() -> None:
    x, weight = random(5, 32), random(8, 32, seed=1)
    plain = F.linear(x, weight)
    with batch_invariant(enabled=False):
        assert not invariant.is_active() and torch.equal(F.linear(x, weight), plain) and torch.equal(x @ weight.t(), plain)
    with batch_invariant():
        assert invariant.is_active()
    assert not invariant.is_active() and torch.equal(x @ weight.t(), plain)


def feels_its_place(x: Tensor, w: Tensor, **kwargs: Tensor) -> Tensor:
    """A product whose rows are not invariant: each is a bit larger than the one before, unless it is alone."""
    return TORCH_MM(x * (1 + torch.arange(len(x))[:, None] / 1024), w, **kwargs)


def feels_the_number_of_rows(x: Tensor, w: Tensor, **kwargs: Tensor) -> Tensor:
    return TORCH_MM(x * (1 if len(x) in (8, 16, 64) else 1 + 1 / 1024), w, **kwargs)


TORCH_MM = torch.mm


def test_a_machine_whose_blocks_fail_multiplies_one_by_one_and_says_so(monkeypatch: pytest.MonkeyPatch, fresh_measurements: None) -> None:
    weights = [random(8, 32), random(3, 32, 16), random(32)]
    assert verify(weights).one_by_one == ()
    invariant._row_steps.cache_clear()
    monkeypatch.setattr(torch, "mm", feels_its_place)
    assert verify(weights).one_by_one == ((32, 8), (32, 16))
    x = random(21, 32)
    assert torch.equal(multiply_rows(x, weights[0].t()), torch.cat([multiply_rows(row[None], weights[0].t()) for row in x]))


def test_only_steps_that_agree_are_taken(monkeypatch: pytest.MonkeyPatch, fresh_measurements: None) -> None:
    monkeypatch.setattr(torch, "mm", feels_the_number_of_rows)
    weight = random(8, 32)
    assert verify([weight]).one_by_one == () and invariant._steps_of(weight.t()) == (64, 16, 8)
    x = random(150, 32)
    assert torch.equal(multiply_rows(x, weight.t()), torch.cat([multiply_rows(row[None], weight.t()) for row in x]))


def test_a_machine_on_which_nothing_helps_is_an_error(monkeypatch: pytest.MonkeyPatch, fresh_measurements: None) -> None:
    monkeypatch.setattr(torch, "exp", lambda x: x + len(x))
    with pytest.raises(RuntimeError, match="exp of torch .* cannot be kept batch-invariant"):
        verify([random(8, 32)])


def test_bf16_products_of_this_torch_are_measured_like_any_other(monkeypatch: pytest.MonkeyPatch, fresh_measurements: None) -> None:
    monkeypatch.setattr(invariant, "fast_dtype", lambda device: torch.bfloat16)
    x, weight = random(21, 32, dtype=torch.bfloat16), random(8, 32, dtype=torch.bfloat16)
    assert invariant.computing_dtype(torch.bfloat16) == torch.bfloat16
    alone = torch.cat([multiply_rows(row[None], weight.t()) for row in x])
    for rows in (2, 5, 16, 21):
        assert torch.equal(multiply_rows(x[:rows], weight.t()), alone[:rows])


# ---- attention


def attention_inputs(keys: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(random(keys, h, width, dtype=dtype, seed=seed) for seed, h in enumerate((heads, kv_heads, kv_heads)))  # type: ignore


@DTYPES
@pytest.mark.parametrize("shape", [(4, 2, 8), (5, 1, 16), (3, 3, 64)])
def test_a_query_does_not_know_what_is_computed_with_it(shape: tuple[int, int, int], dtype: torch.dtype, poisoned_memory: None) -> None:
    keys, scale = 203, 0.3
    q, k, v = attention_inputs(keys, *shape, dtype)
    whole = invariant_attention(q, k, v, scale)
    for i in (0, 1, 2, 62, 63, 64, 65, 127, 128, 129, 180, 202):
        assert torch.equal(invariant_attention(q[i : i + 1], k[: i + 1], v[: i + 1], scale)[0], whole[i])
    for first, last in [(0, 1), (0, 64), (0, 65), (63, 65), (64, 128), (1, 200), (130, 133), (120, 203)]:
        assert torch.equal(invariant_attention(q[first:last], k[:last], v[:last], scale), whole[first:last])
    position, sequence = torch.arange(keys), torch.zeros(keys)
    expected = reference_attention(
        q, k, v, q_positions=position, k_positions=position, q_sequences=sequence, k_sequences=sequence, chunk=None, scale=scale
    )
    assert whole.dtype == dtype and near(whole, expected, FP32_TOLERANCE if dtype == torch.float32 else BF16_TOLERANCE)


@pytest.mark.parametrize("tokens", [1, 3])
def test_sequences_side_by_side_give_what_each_gives_alone(tokens: int, poisoned_memory: None) -> None:
    lengths = [5, 64, 130, 3, 200]
    each = [attention_inputs(length, 4, 2, 8, torch.float32) for length in lengths]
    q = torch.stack([q[-tokens:] for q, _, _ in each])
    k, v = torch.full((2, 5, 210, 8), 7.0), torch.full((2, 5, 210, 8), -3.0)  # places that nobody wrote hold finite numbers
    for i, (_, keys, values) in enumerate(each):
        k[:, i, : len(keys)], v[:, i, : len(keys)] = keys.transpose(0, 1), values.transpose(0, 1)
    out = invariant_batched_attention(q, k, v, torch.tensor(lengths), 0.4)
    for i, (queries, keys, values) in enumerate(each):
        assert torch.equal(out[i], invariant_attention(queries[-tokens:], keys, values, 0.4))


def test_large_scores_and_a_whole_block_that_weighs_nothing_are_exact() -> None:
    q, k, v = attention_inputs(150, 2, 1, 8, torch.float32)
    k[:70] *= -1e3
    k[70:] *= 1e3
    alone = torch.cat([invariant_attention(q[i : i + 1], k[: i + 1], v[: i + 1], 1.0) for i in range(150)])
    assert alone.isfinite().all() and torch.equal(invariant_attention(q, k, v, 1.0), alone)


def test_few_scores_at_a_time_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = attention_inputs(150, 4, 2, 8, torch.float32)
    whole = invariant_attention(q, k, v, 0.3)
    monkeypatch.setattr("puna.kernels.attention.invariant._MAX_SCORES", 1000)
    assert torch.equal(invariant_attention(q, k, v, 0.3), whole)


def test_attention_is_verified_before_use_and_goes_one_by_one_where_it_must(
    monkeypatch: pytest.MonkeyPatch, fresh_measurements: None
) -> None:
    assert verify_attention(8)
    for cache in (invariant.item_row_steps, invariant._item_steps):
        cache.cache_clear()
    bmm = torch.bmm

    def feels_its_place(a: Tensor, b: Tensor, **kwargs: Tensor) -> Tensor:
        return bmm(a * (1 + torch.arange(a.shape[1])[:, None] / 1024 + torch.arange(len(a))[:, None, None] / 512), b, **kwargs)

    monkeypatch.setattr(torch, "bmm", feels_its_place)
    assert not verify_attention(8)
    q, k, v = attention_inputs(70, 4, 2, 8, torch.float32)
    alone = torch.cat([invariant_attention(q[i : i + 1], k[: i + 1], v[: i + 1], 0.3) for i in range(70)])
    assert torch.equal(invariant_attention(q, k, v, 0.3), alone)


# ---- a whole model


class PlainCache:
    """Every sequence's keys and values in one piece a layer; of a local layer those of the open chunk."""

    def __init__(self, model: Model, num_sequences: int) -> None:
        self.next_positions = [0] * num_sequences
        width, heads = model.config.head_width, model.config.num_kv_heads
        empty = torch.zeros(0, heads, width, dtype=model.dtype)
        self.kept = [[(empty, empty) for _ in model.config.layers()] for _ in range(num_sequences)]
        self.last_layer = model.config.num_layers - 1

    def attend(self, layer: LayerSpec, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, batch: Batch, scale: float) -> Tensor:
        out = [q_TNH[:0]]
        for i, (q, k, v) in enumerate(zip(*(x.split(batch.lengths) for x in (q_TNH, k_TKH, v_TKH)), strict=True)):
            position = batch.first_positions[i]
            while len(q):
                size = len(q) if layer.chunk is None else min(len(q), layer.chunk - position % layer.chunk)
                before = self.kept[i][layer.index]
                if layer.chunk is not None and position % layer.chunk == 0:
                    before = tuple(x[:0] for x in before)
                keys, values = (torch.cat((old, new[:size])) for old, new in zip(before, (k, v), strict=True))
                self.kept[i][layer.index] = keys, values
                out.append(invariant_attention(q[:size], keys, values, scale))
                q, k, v, position = q[size:], k[size:], v[size:], position + size
            if layer.index == self.last_layer:
                self.next_positions[i] = position
        return torch.cat(out)


def run(model: Model, streams: Sequence[Stream], steps: Sequence[Sequence[int]]) -> list[Tensor]:
    """Logits of each stream, fed in steps: how many tokens of each sequence a step takes. A picture's patches must lie in one step."""
    cache, out = PlainCache(model, len(streams)), [[] for _ in streams]
    with torch.inference_mode(), batch_invariant():
        for counts in steps:
            firsts = list(cache.next_positions)
            parts = []
            for stream, first, count in zip(streams, firsts, counts, strict=True):
                ids = stream.token_ids[first : first + count]
                parts.append(Stream(ids, stream.tiles if PATCH in ids else None))
            batch = Batch.from_streams(parts, firsts)
            for kept, logits in zip(out, model.logits(model(batch, cache)).split(batch.lengths), strict=True):
                kept.append(logits)
    return [torch.cat(pieces) for pieces in out]


def text(length: int, seed: int) -> Stream:
    return Stream(np.random.default_rng(seed).integers(0, 256, length))


def in_pieces(length: int, size: int) -> list[tuple[int]]:
    return [(min(size, length - first),) for first in range(0, length, size)]


@DTYPES
def test_a_text_has_the_same_logits_in_any_pieces_and_any_company(dtype: torch.dtype, poisoned_memory: None) -> None:
    model, stream = tiny_model(dtype=dtype), text(75, 0)
    (whole,) = run(model, [stream], [(75,)])
    for size in (1, 3, 7):
        assert torch.equal(run(model, [stream], in_pieces(75, size))[0], whole)
    others = [text(30, 1), text(40, 2), text(9, 3)]
    assert torch.equal(run(model, [stream, *others], [(75, 30, 40, 9)])[0], whole)
    together = run(model, [*others, stream], [(1, 5, 0, 20), (1, 1, 9, 1), (7, 0, 0, 1), (1, 30, 0, 53)])
    assert torch.equal(together[3], whole)
    decode = [(30, 40, 9, 70), *[(0, 0, 0, 1)] * 5]
    assert torch.equal(run(model, [*others, stream], decode)[3], whole)


def test_two_threads_share_a_model_and_change_no_bit() -> None:
    model, stream, before = tiny_model(), text(20, 0), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (whole,) = run(model, [stream], [(20,)])
        assert torch.equal(run(model, [stream], [(9,), (1,), (10,)])[0], whole)
        assert torch.equal(run(model, [text(40, 1), stream], [(13, 13), (27, 7)])[1], whole)
    finally:
        torch.set_num_threads(before)


@DTYPES
def test_a_picture_has_the_same_logits_in_any_company(dtype: torch.dtype, poisoned_memory: None) -> None:
    model = tiny_model(dtype=dtype)
    rng = np.random.default_rng(0)

    def seen(num_tiles: int, seed: int) -> Stream:
        tiles = rng.uniform(-1, 1, (num_tiles, 3, 16, 16)).astype(np.float32)
        return Stream(np.concatenate((text(5, seed).token_ids, [PATCH] * 4 * num_tiles, text(11, seed + 1).token_ids)), tiles)

    stream, other = seen(1, 0), seen(4, 1)
    (whole,) = run(model, [stream], [(20,)])
    assert torch.equal(run(model, [stream], [(3,), (8,), *[(1,)] * 9])[0], whole)
    assert torch.equal(run(model, [other, text(9, 4), stream], [(32, 9, 20)])[2], whole)
    assert torch.equal(run(model, [stream, other], [(2, 25), (10, 7), (8, 0)])[0], whole)
    with torch.inference_mode(), batch_invariant():
        tiles = torch.from_numpy(other.tiles)
        assert torch.equal(torch.cat([model.embed_tiles(tile[None]) for tile in tiles]), model.embed_tiles(tiles))


def test_every_kind_of_layer_is_invariant() -> None:
    for changes in (
        dict(qk_norm=False),
        dict(chunk=None),
        dict(nope_layers=()),
        dict(num_kv_heads=1),
        dict(expert_width=20, dense_width=33),
    ):
        model, stream = tiny_model(tiny_config(**changes)), text(21, 0)
        (whole,) = run(model, [stream], [(21,)])
        assert torch.equal(run(model, [stream], in_pieces(21, 1))[0], whole)
        assert torch.equal(run(model, [text(13, 1), stream], [(2, 9), (11, 12)])[1], whole)


@DTYPES
def test_an_invariant_model_is_as_near_to_the_plain_one_as_rounding_allows(dtype: torch.dtype) -> None:
    exact, model, stream = tiny_model(), tiny_model(dtype=dtype), text(40, 0)
    with torch.inference_mode():
        plain, truth = (each.logits(each(Batch.from_streams([stream]))) for each in (model, exact))
    (ours,) = run(model, [stream], [(40,)])
    if dtype == torch.float32:
        assert near(ours, plain, 1e-4)
    else:
        errors = [float((each - truth).square().mean(1).median()) for each in (ours, plain)]  # of most tokens: a few are routed otherwise
        assert errors[0] < 1.5 * errors[1]


def test_a_model_is_verified_by_its_parameters() -> None:
    model = tiny_model()
    assert verify(model.parameters()).one_by_one == () and verify_attention(model.config.head_width)
