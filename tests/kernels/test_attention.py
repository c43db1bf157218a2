"""Packed and cached attention against the reference, the reference against the rule; and nothing leaks that must not be seen.

Letters: T query tokens, N query heads, K key/value heads, H head width.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from puna.kernels.attention import cached_attention, reference_attention, segments
from puna.kernels.attention.packed import PackingPlan
from puna.kernels.attention.packed import bucket_attention as packed_attention
from puna.kernels.attention.packed import plan_buckets as plan_packing
from puna.kernels.attention.ragged import plan_ragged

# Largest difference, as a share of the largest expected value.
FP32_TOLERANCE = 5e-6  # sums in another order
BF16_TOLERANCE = 2e-2  # 8 bits of mantissa: inputs, scores, probabilities and outputs are each rounded once


class Case(NamedTuple):
    """Packed sequences: their lengths, the positions at which they begin, and the chunk."""

    lengths: tuple[int, ...]
    firsts: tuple[int, ...]
    chunk: int | None

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    def positions(self) -> list[tuple[int, int]]:
        """(sequence, position) of every token."""
        return [(s, first + t) for s, (length, first) in enumerate(zip(self.lengths, self.firsts, strict=True)) for t in range(length)]

    def plan(self) -> PackingPlan:
        return plan_packing(segments(self.lengths, self.firsts, self.chunk))


CASES = {
    "one token": Case((1,), (0,), 8),
    "one token far out": Case((1,), (10_485_759,), 8192),
    "63 tokens": Case((63,), (0,), None),
    "63 tokens in chunks": Case((63,), (0,), 8),
    "exactly one chunk": Case((8,), (0,), 8),
    "one token into the next chunk": Case((9,), (0,), 8),
    "first token of a chunk": Case((1, 1, 1), (8, 7, 9), 8),
    "chunk of one": Case((5,), (3,), 1),
    "edges off the start": Case((3, 10, 17), (6, 13, 8), 8),
    "lengths one": Case((1,) * 11, (0,) * 11, None),
    "every bucket": Case((5, 1, 8, 9, 24, 33, 70, 2), (0, 0, 0, 3, 0, 0, 1, 0), None),
    "a bucket filled up to a whole step": Case((7, 7, 7, 7, 7, 6, 5), (0,) * 7, 8),
    "1000 tokens in chunks": Case((1000,), (0,), 256),
    "1000 tokens": Case((1000,), (0,), None),
    "wider than the widest bucket": Case((257, 300), (0, 5), None),
}


def inputs(tokens: int, heads: int, kv_heads: int, width: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(tokens, heads, width), (tokens, kv_heads, width), (tokens, kv_heads, width), (tokens, heads, width)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def reference(q: Tensor, k: Tensor, v: Tensor, case: Case, scale: float) -> Tensor:
    sequences, positions = (torch.tensor(column) for column in zip(*case.positions(), strict=True))
    return reference_attention(
        q, k, v, q_positions=positions, k_positions=positions, q_sequences=sequences, k_sequences=sequences, chunk=case.chunk, scale=scale
    )


def as_leaves(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_()


def with_gradients(out: Tensor, of: Sequence[Tensor], grad: Tensor) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out, of, grad)]


def compare(case: Case, heads: int, kv_heads: int, width: int, dtype: torch.dtype, tolerance: float) -> None:
    *qkv, grad = inputs(case.tokens, heads, kv_heads, width, dtype)
    scale = width**-0.5
    leaves = as_leaves(*qkv)
    ours = with_gradients(packed_attention(*leaves, case.plan(), scale), leaves, grad)
    theirs = with_gradients(reference(*leaves, case, scale), leaves, grad)
    for name, got, expected in zip(("output", "q gradient", "k gradient", "v gradient"), ours, theirs, strict=True):
        assert got.dtype == dtype and got.shape == expected.shape
        largest = float(expected.float().abs().max())
        difference = float((got.float() - expected.float()).abs().max())
        assert difference <= tolerance * max(largest, 1.0), f"{name} differs by {difference} of {largest}"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_packed_equals_the_reference_with_every_gradient(case: Case, poisoned_memory: None) -> None:
    compare(case, 4, 2, 8, torch.float32, FP32_TOLERANCE)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_probabilities_made_again_equal_those_kept(case: Case, poisoned_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.kernels.attention.packed._KEPT_WIDTH", 16)
    compare(case, 4, 2, 8, torch.float32, FP32_TOLERANCE)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("width", [8, 64, 88])
def test_every_head_group_and_width_is_exact(groups: int, width: int, poisoned_memory: None) -> None:
    compare(Case((63, 1, 34), (0, 7, 9), 16), 2 * groups, 2, width, torch.float32, FP32_TOLERANCE)


@pytest.mark.parametrize("name", ["63 tokens", "edges off the start", "every bucket", "1000 tokens in chunks"])
def test_packed_in_bf16_stays_within_its_rounding(name: str, poisoned_memory: None) -> None:
    compare(CASES[name], 5, 1, 64, torch.bfloat16, BF16_TOLERANCE)


def test_the_reference_follows_the_rule_pair_by_pair() -> None:
    case = Case((6, 5), (2, 7), 4)
    q, k, v, _ = inputs(case.tokens, 2, 1, 4)
    out = reference(q, k, v, case, 0.5)
    places = case.positions()
    for i, (sequence, position) in enumerate(places):
        for head in range(2):
            weights = {
                j: math.exp(0.5 * float(q[i, head] @ k[j, 0]))
                for j, (other, earlier) in enumerate(places)
                if other == sequence and earlier <= position and earlier // 4 == position // 4
            }
            expected = sum((w * v[j, 0] for j, w in weights.items()), torch.zeros(4)) / sum(weights.values())
            torch.testing.assert_close(out[i, head], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("chunk", [8, None])
def test_a_token_reaches_exactly_the_tokens_that_may_see_it(chunk: int | None) -> None:
    """Bit for bit, and in the gradients too: whatever is not visible changes nothing at all."""
    case = Case((11, 19, 1), (0, 5, 7), chunk)
    places = case.positions()
    q, k, v, _ = inputs(case.tokens, 2, 2, 8)
    plan = case.plan()
    before = packed_attention(q, k, v, plan, 0.3)
    for j, (sequence, position) in enumerate(places):
        sees = torch.tensor([s == sequence and p >= position and (not chunk or p // chunk == position // chunk) for s, p in places])
        changed_k, changed_v = k.clone(), v.clone()
        changed_k[j] += 1.0
        changed_v[j] -= 2.0
        changed = (packed_attention(q, changed_k, changed_v, plan, 0.3) != before).any(-1).any(-1)
        assert torch.equal(changed, sees), f"token {j}"
        leaf = q.clone().requires_grad_(), k.clone().requires_grad_(), v.clone().requires_grad_()
        only_j = torch.zeros_like(q)
        only_j[j] = 1.0
        d_q, d_k, d_v = torch.autograd.grad(packed_attention(*leaf, plan, 0.3), leaf, only_j)
        seen = torch.tensor([s == sequence and p <= position and (not chunk or p // chunk == position // chunk) for s, p in places])
        assert torch.equal((d_v != 0).any(-1).any(-1), seen), f"token {j}"
        assert not d_k[~seen].any() and not d_q[torch.arange(case.tokens) != j].any()


def test_chunks_are_counted_from_position_zero_not_from_the_sequences_start() -> None:
    q, k, v, _ = inputs(6, 1, 1, 8)
    at = {first: packed_attention(q, k, v, Case((6,), (first,), 8).plan(), 1.0) for first in (0, 2, 5, 8)}
    assert torch.equal(at[0], at[2]) and torch.equal(at[0], at[8])  # 0..5, 2..7 and 8..13 lie inside one chunk
    torch.testing.assert_close(at[5][:3], at[0][:3])  # a bucket of another width sums in another order
    assert torch.equal(at[5][3], v[3])  # position 8 sees itself alone
    assert not torch.allclose(at[5][4], at[0][4])


@pytest.mark.parametrize(
    ("lengths", "firsts", "chunk", "expected"),
    [
        ((5, 3), (0, 0), 4, ((0, 4, 5), (4, 1, 3))),
        ((5,), (6,), 8, ((0, 2), (2, 3))),
        ((5,), (8,), 8, ((0,), (5,))),
        ((17,), (7,), 8, ((0, 1, 9), (1, 8, 8))),
        ((5, 3), (3, 9), None, ((0, 5), (5, 3))),
        ((2, 0, 3), (0, 0, 0), None, ((0, 2), (2, 3))),
        ((), (), 8, ((), ())),
    ],
)
def test_segments_end_at_chunk_edges_and_sequence_ends(lengths: tuple, firsts: tuple, chunk: int | None, expected: tuple) -> None:
    assert tuple(segments(lengths, firsts, chunk)) == expected


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_token_has_exactly_one_kept_place(case: Case) -> None:
    plan = case.plan()
    assert len(plan.places.unique()) == case.tokens
    assert torch.equal(plan.rows[plan.places], torch.arange(case.tokens))
    assert sum(int(bucket.lengths.sum()) for bucket in plan.buckets) == case.tokens
    for heads in (1, 3):
        gather, found = plan.indices(heads)
        assert torch.equal(gather[found], torch.arange(case.tokens * heads))


def test_at_most_a_third_of_a_wide_bucket_is_filling() -> None:
    for length in range(9, 600):
        (bucket,) = plan_packing(segments([length], [0], None)).buckets
        assert bucket.width - length <= max(7, length / 2)


@pytest.mark.parametrize("poison", [1.0, 100.0, -100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_fills_up_a_bucket_reaches_no_output_and_no_gradient(poison: float, dtype: torch.dtype) -> None:
    """A last token that nobody sees takes the filled-up places: everything else stays bit for bit what it was."""
    case = Case((7, 7, 7, 7, 7, 6, 5, 1, 33, 9, 1), (0,) * 11, 16)
    last = case.tokens - 1
    *qkv, grad = inputs(case.tokens, 4, 2, 8, dtype)
    for x in qkv:
        x[last] = poison
    grad[last] = 0
    leaves = as_leaves(*qkv)
    plan = case.plan()
    filling = torch.ones_like(plan.rows, dtype=torch.bool).index_fill_(0, plan.places, False)
    poisoned = PackingPlan(plan.buckets, torch.where(filling, last, plan.rows), plan.places)
    assert int(filling.sum()) == 18 + 7 and (poisoned.rows != plan.rows).any()
    clean = with_gradients(packed_attention(*leaves, plan, 0.3), leaves, grad)
    dirty = with_gradients(packed_attention(*leaves, poisoned, 0.3), leaves, grad)
    for before, after in zip(clean, dirty, strict=True):
        assert torch.equal(before, after)
    assert not any(gradient[last].any() for gradient in dirty[1:])


def test_large_scores_neither_overflow_nor_lose_the_gradient() -> None:
    case = Case((40,), (0,), None)
    q, k, v, grad = inputs(40, 2, 1, 16)
    leaves = as_leaves(60 * q, 60 * k, v)
    ours = with_gradients(packed_attention(*leaves, case.plan(), 1.0), leaves, grad)
    theirs = with_gradients(reference(*leaves, case, 1.0), leaves, grad)
    assert all(torch.isfinite(x).all() for x in ours)
    torch.testing.assert_close(ours[0], theirs[0], atol=2e-3, rtol=2e-3)  # scores near 10,000 carry a rounding of 1e-3


def test_gradients_come_only_to_those_who_ask() -> None:
    q, k, v, grad = inputs(9, 2, 1, 8)
    plan = Case((9,), (0,), 4).plan()
    (alone,) = torch.autograd.grad(packed_attention(q, k, v.requires_grad_(), plan, 0.3), [v], grad)
    leaves = as_leaves(q, k, v)
    assert torch.equal(alone, torch.autograd.grad(packed_attention(*leaves, plan, 0.3), leaves, grad)[2])


PIECES = {"token by token": (1,) * 29, "odd pieces": (3, 1, 9, 2, 7, 1, 6), "at once": (29,), "one, then the rest": (1, 28)}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 2), (5, 1)])
def test_cached_attention_equals_packed_in_any_pieces(pieces: tuple[int, ...], heads: int, kv_heads: int, poisoned_memory: None) -> None:
    q, k, v, _ = inputs(29, heads, kv_heads, 16)
    whole = packed_attention(q, k, v, Case((29,), (0,), None).plan(), 0.25)
    edges = [0, *torch.tensor(pieces).cumsum(0).tolist()]
    out = torch.cat([cached_attention(q[start:end], k[:end], v[:end], 0.25) for start, end in pairwise(edges)])
    torch.testing.assert_close(out, whole, atol=2e-6, rtol=1e-5)


def test_cached_attention_in_bf16_stays_within_its_rounding() -> None:
    q, k, v, _ = inputs(29, 4, 2, 64, torch.bfloat16)
    whole = reference(q, k, v, Case((29,), (0,), None), 0.125)
    for start in (0, 11, 28):
        out = cached_attention(q[start:], k, v, 0.125)
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.float(), whole[start:].float(), atol=BF16_TOLERANCE, rtol=BF16_TOLERANCE)


def test_a_ragged_plan_has_the_edges_of_all_segments_in_order() -> None:
    plan = plan_ragged(segments((11, 19, 1), (0, 5, 7), 8), "cpu")
    assert plan.edges.tolist() == [0, 8, 11, 14, 22, 30, 31] and plan.edges.dtype == torch.int32
    assert plan.longest == 8
