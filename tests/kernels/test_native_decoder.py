"""The native decoder against a plain one in fp64; then what company, threads, pages and damage must not change.

Letters: T rows, D model width, N query heads, K key/value heads, H head width, E experts, S keys.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from puna.kernels import native
from puna.kernels.decoder import Decoder, DecoderShape, FeedForwardWeights, LayerWeights, Pieces, Pool, Weight
from puna.kernels.linear import PackedWeight, dequantize, pack_int4, pack_int8, reference_rounded

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native library: {native.why_not()}")

D, N, K, H, E, DENSE, EXPERT = 64, 4, 2, 12, 3, 40, 24
CHUNK = 10
LENGTHS = (1, 9, 33, 70)
GUARD = 64
KINDS = ("fp32", "bf16", "int8", "int4")
TOLERANCE = 3e-5  # of the largest hidden state: fp32 in another order, through five layers
# Rounding to 8 bits is a staircase: a last place of fp32 decides now and then between two stairs, 1/127 of a block's largest value apart.
ROUNDED = 2e-2
PAGES = {torch.float32: TOLERANCE, torch.bfloat16: 3e-2, torch.int8: 6e-2}

SHAPE = DecoderShape(
    width=D,
    num_heads=N,
    num_kv_heads=K,
    head_width=H,
    num_experts=E,
    eps=1e-5,
    scale=H**-0.5,
    attn_scale=0.1,
    floor_scale=4.0,
    chunk=CHUNK,
    frequencies=1.0 / (1 + 3 * torch.arange(H // 2, dtype=torch.float64)),
)


@cache
def isas() -> tuple[str, ...]:
    found = []
    for name in ("portable", "avx2", "avx512", "neon"):
        try:
            native.use_isa(name)
            found.append(name)
        except ValueError:
            continue
    native.use_isa(None)
    return tuple(found)


@pytest.fixture(params=isas() if native.available() else ["none"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this machine has."""
    native.use_isa(request.param)
    yield request.param
    native.use_isa(None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Whoever asks for more says so: on a busy machine rounds of work wait for threads whose core is taken."""
    before = native.threads()
    native.set_threads(1)
    yield
    native.set_threads(before)


# ---- a decoder, and the plain one


@dataclass(frozen=True, slots=True)
class Case:
    """Weights, and how they are stored."""

    shape: DecoderShape
    layers: tuple[LayerWeights, ...]
    norm: Tensor

    def decoder(self) -> Decoder:
        return Decoder(self.shape, self.layers, self.norm)


@cache
def case(kind: str = "fp32", exact: bool = False) -> Case:
    generator = torch.Generator().manual_seed(0)

    def floats(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def weight(*shape: int) -> Weight:
        size = shape[-1] ** -0.5
        if kind in ("fp32", "bf16"):
            return (size * floats(*shape)).to(torch.float32 if kind == "fp32" else torch.bfloat16)
        largest, groups = (127, 1) if kind == "int8" else (7, max(1, shape[-1] // 32 if shape[-1] % 32 == 0 else 1))
        integers = torch.randint(-largest, largest + 1, shape, dtype=torch.int8, generator=generator)
        scales = 1.5 * size / largest * (0.5 + torch.rand(*shape[:-1], groups, generator=generator))
        return (pack_int8 if kind == "int8" else pack_int4)(integers, scales.bfloat16())

    def layer(rope: bool, is_moe: bool, pool_layer: int, bias: Tensor | None = None) -> LayerWeights:
        return LayerWeights(
            attention_norm=1 + 0.2 * floats(D),
            wq=weight(N * H, D),
            wk=weight(K * H, D),
            wv=weight(K * H, D),
            wo=weight(D, N * H),
            feed_forward_norm=1 + 0.2 * floats(D),
            dense=FeedForwardWeights(gate=weight(DENSE, D), up=weight(DENSE, D), down=weight(D, DENSE)),
            router=floats(E, D) if is_moe else None,
            router_bias=bias,
            experts=FeedForwardWeights(gate=weight(E, EXPERT, D), up=weight(E, EXPERT, D), down=weight(E, D, EXPERT)) if is_moe else None,
            rope=rope,
            qk_norm=rope,
            temperature=not rope,
            pool=int(rope),
            pool_layer=pool_layer,
        )

    layers = (
        layer(True, False, 0),
        layer(True, True, 1),
        layer(False, True, 0, torch.tensor([0.0, 3.0, -1.0])),
        layer(True, False, 2),
        layer(False, False, 1),
    )
    return Case(replace(SHAPE, exact=exact), layers, 1 + 0.2 * floats(D))


def reference(of: Case, x_TD: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states `[T, D]` of one sequence from its beginning, and the chosen experts `[MoE layers, T]`."""
    shape, positions = of.shape, torch.arange(len(x_TD))

    def product(x: Tensor, w: Weight, e: int | None = None) -> Tensor:
        is_packed = isinstance(w, PackedWeight)
        whole = dequantize(w) if is_packed else w
        seen = reference_rounded(x.float()).double() if is_packed and not shape.exact else x
        return seen @ (whole if e is None else whole[e]).double().T

    def feed_forward(x: Tensor, w: FeedForwardWeights, e: int | None = None) -> Tensor:
        return product(F.silu(product(x, w.gate, e)) * product(x, w.up, e), w.down, e)

    def normal(x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + shape.eps).sqrt()

    angles = (positions % CHUNK).double()[:, None] * shape.frequencies
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]
    warmth = 1 + shape.attn_scale * torch.log(torch.floor((positions + 1) / shape.floor_scale).double() + 1)
    x, chosen = x_TD.double(), []
    for layer in of.layers:
        h = normal(x) * layer.attention_norm.double()
        q, k, v = (product(h, w).unflatten(1, (-1, H)) for w in (layer.wq, layer.wk, layer.wv))
        if layer.rope:
            q, k = (torch.view_as_real(torch.view_as_complex(y.unflatten(2, (-1, 2)).contiguous()) * turns).flatten(2) for y in (q, k))
        if layer.qk_norm:
            q, k = normal(q), normal(k)
        if layer.temperature:
            q = q * warmth[:, None, None]
        is_seen = positions[:, None] >= positions
        if layer.rope:
            is_seen = is_seen & (positions[:, None] // CHUNK == positions // CHUNK)
        k, v = (y.repeat_interleave(N // K, dim=1) for y in (k, v))
        scores = torch.einsum("tnh,snh->nts", q, k) * shape.scale
        out = torch.einsum("nts,snh->tnh", scores.masked_fill(~is_seen, -torch.inf).softmax(-1), v)
        x = x + product(out.flatten(1), layer.wo)
        h = normal(x) * layer.feed_forward_norm.double()
        added = feed_forward(h, layer.dense)
        if layer.router is not None and layer.experts is not None:
            logits = h @ layer.router.double().T
            ids = (logits if layer.router_bias is None else logits + layer.router_bias.double()).argmax(-1)
            chosen.append(ids)
            routed = h * logits.gather(1, ids[:, None]).sigmoid()
            for e in range(E):
                added[ids == e] += feed_forward(routed[ids == e], layer.experts, e)
        x = x + added
    return normal(x) * of.norm.double(), torch.stack(chosen)


class Sequences:
    """Some sequences' pages in two pools, shuffled, in memory with a guard around it. Every page is NaN until somebody writes it."""

    def __init__(self, count: int = len(LENGTHS), dtype: torch.dtype = torch.float32, per_page: int = 4, longest: int = 80) -> None:
        self.per_page, self.dtype = per_page, dtype
        self.done = [0] * count
        self.in_chunk, self.in_all = -(-CHUNK // per_page), -(-longest // per_page)
        self.chunks = -(-longest // CHUNK)
        numbers = count * self.in_all, count * self.chunks * self.in_chunk
        rng = np.random.default_rng(0)
        self.tables = [rng.permutation(number + 2) for number in numbers]  # two pages of each pool are nobody's
        self.buffers: list[Tensor] = []
        self.pools = [self._pool(layers, number + 2) for layers, number in zip((2, 3), numbers, strict=True)]

    def _guarded(self, dtype: torch.dtype, *shape: int) -> Tensor:
        size = int(np.prod(shape))
        buffer = torch.full((GUARD + size + GUARD,), float("nan") if dtype.is_floating_point else 0x5A, dtype=dtype)
        self.buffers.append(buffer)
        return buffer[GUARD : GUARD + size].view(shape)

    def _pool(self, layers: int, pages: int) -> Pool:
        shape = (2, layers, K, pages, self.per_page)
        scales = self._guarded(torch.float32, *shape) if self.dtype == torch.int8 else None
        return Pool(self._guarded(self.dtype, *shape, H), scales)

    def own_pages(self, sequence: int, pool: int) -> np.ndarray:
        size = self.in_all if pool == 0 else self.chunks * self.in_chunk
        return self.tables[pool][sequence * size : (sequence + 1) * size]

    def step(self, decoder: Decoder, parts: Sequence[tuple[int, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
        """Rows of some sequences in one call; hidden states and chosen experts of each."""
        found: list[list[tuple[int, int, int, np.ndarray]]] = [[], []]  # by pool: first row, rows, keys, pages
        positions, row = [], 0
        for sequence, x_TD in parts:
            first, count = self.done[sequence], len(x_TD)
            positions.append(torch.arange(first, first + count))
            found[0].append((row, count, first + count, self.own_pages(sequence, 0)))
            done = 0
            while done < count:
                chunk, inside = divmod(first + done, CHUNK)
                size = min(count - done, CHUNK - inside)
                pages = self.own_pages(sequence, 1)[chunk * self.in_chunk :]
                found[1].append((row + done, size, inside + size, pages))
                done += size
            self.done[sequence] += count
            row += count
        x = torch.cat([x_TD for _, x_TD in parts])
        inside = torch.full((GUARD + x.numel() + GUARD,), 77.0)
        x_TD = inside[GUARD:-GUARD].view(x.shape).copy_(x)
        ids = torch.full((decoder.num_moe_layers, len(x)), -1)
        decoder.step(x_TD, torch.cat(positions), self.pools, [self._pieces(each) for each in found], ids)
        assert bool((inside[:GUARD] == 77).all() and (inside[-GUARD:] == 77).all()) and bool(((ids >= 0) & (ids < E)).all())
        lengths = [len(rows) for _, rows in parts]
        return list(x_TD.clone().split(lengths)), list(ids.split(lengths, dim=1))

    def _pieces(self, found: Sequence[tuple[int, int, int, np.ndarray]]) -> Pieces:
        lists = [pages[: -(-keys // self.per_page)] for _, _, keys, pages in found]
        starts = np.cumsum([0] + [len(pages) for pages in lists[:-1]])
        first, rows, keys = (np.array([each[i] for each in found]) for i in range(3))
        return Pieces(first, rows, keys, starts, np.concatenate(lists))


@cache
def rows(sequence: int) -> Tensor:
    return torch.randn(LENGTHS[sequence], D, generator=torch.Generator().manual_seed(100 + sequence))


def alone(decoder: Decoder, sequence: int, cuts: Sequence[int], **of: Any) -> Tensor:
    """Hidden states of one sequence whose rows come in pieces of these lengths."""
    pages = Sequences(**of)
    return torch.cat([pages.step(decoder, [(sequence, part)])[0][0] for part in rows(sequence).split(list(cuts))])


def error(got: Tensor, expected: Tensor) -> float:
    return float((got.double() - expected.double()).abs().max() / expected.abs().max())


# ---- what it computes


@pytest.mark.parametrize(
    ("kind", "exact"), [("fp32", False), ("bf16", False), ("int8", True), ("int4", True), ("int8", False), ("int4", False)]
)
def test_a_step_equals_the_reference(isa: str, kind: str, exact: bool) -> None:
    """Prompts that end before, on and behind edges of chunks, of pages and of the attention's blocks of 64 keys, in one batch."""
    of = case(kind, exact)
    hidden, ids = Sequences().step(of.decoder(), [(i, rows(i)) for i in range(len(LENGTHS))])
    for i, (got, chosen) in enumerate(zip(hidden, ids, strict=True)):
        expected, experts = reference(of, rows(i))
        assert error(got, expected) < (TOLERANCE if exact or kind in ("fp32", "bf16") else ROUNDED), LENGTHS[i]
        assert torch.equal(chosen, experts)


@pytest.mark.parametrize("kind", ["fp32", "int4"])
@pytest.mark.parametrize("per_page", [1, 3, 16])
def test_a_prompt_in_pieces_equals_the_reference(isa: str, kind: str, per_page: int) -> None:
    of, decoder = case(kind, True), case(kind, True).decoder()
    expected = reference(of, rows(3))[0]
    for cuts in ([1] * 70, [5, 1, 20, 3, 41], [64, 6], [63, 1, 1, 1, 4]):
        assert error(alone(decoder, 3, cuts, per_page=per_page), expected) < TOLERANCE, cuts


@pytest.mark.parametrize(("dtype", "bound"), PAGES.items())
def test_narrow_pages_stay_within_their_bound(isa: str, dtype: torch.dtype, bound: float) -> None:
    for cuts in ([70], [1] * 70):
        found = error(alone(case().decoder(), 3, cuts, dtype=dtype), reference(case(), rows(3))[0])
        assert found < bound and (dtype == torch.float32 or found > TOLERANCE)


def test_a_bias_of_the_router_steers_the_choice_and_not_the_score() -> None:
    of = case()
    steered = replace(of, layers=tuple(replace(each, router_bias=torch.tensor([0.0, 0.0, 100.0])) for each in of.layers))
    (hidden,), (ids,) = Sequences().step(steered.decoder(), [(3, rows(3))])
    assert bool((ids == 2).all()) and error(hidden, reference(steered, rows(3))[0]) < TOLERANCE


def test_many_rows_and_few_take_turns_in_one_workspace() -> None:
    decoder = case("int8").decoder()
    first = [Sequences().step(decoder, [(i, rows(i))])[0][0] for i in range(len(LENGTHS))]
    for i in (3, 0, 2, 1, 3):
        assert torch.equal(Sequences().step(decoder, [(i, rows(i))])[0][0], first[i])


# ---- company


def decoding(decoder: Decoder, order: Sequence[int], steps: int = 6) -> dict[int, Tensor]:
    """Some sequences' last rows, one each a step, after their prompts were computed alone."""
    pages, hidden = Sequences(), {}
    for i in order:
        if len(rows(i)) > 1:
            pages.step(decoder, [(i, rows(i)[:-1])])
    for _ in range(steps):
        for i, (got, _) in zip(order, zip(*pages.step(decoder, [(i, rows(i)[-1:]) for i in order]), strict=True), strict=True):
            hidden[i] = got
    return hidden


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoded_rows_bits_depend_neither_on_its_company_nor_on_the_threads(isa: str, kind: str) -> None:
    decoder = case(kind).decoder()
    native.set_threads(1)
    expected = {i: decoding(decoder, [i])[i] for i in range(len(LENGTHS))}
    for threads, order in ((1, [0, 1, 2, 3]), (1, [3, 1]), (2, [2, 0, 3, 1]), (3, [3, 2, 1, 0])):
        native.set_threads(threads)
        assert all(torch.equal(got, expected[i]) for i, got in decoding(decoder, order).items()), (threads, order)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompts_bits_depend_neither_on_its_company_nor_on_the_threads(isa: str, kind: str) -> None:
    decoder = case(kind).decoder()
    native.set_threads(1)
    expected = [Sequences().step(decoder, [(i, rows(i))])[0][0] for i in range(len(LENGTHS))]
    for threads, order in ((1, [0, 1, 2, 3]), (1, [3, 1]), (2, [2, 0, 3, 1]), (3, [3, 2, 1, 0])):
        native.set_threads(threads)
        hidden, _ = Sequences().step(decoder, [(i, rows(i)) for i in order])
        assert all(torch.equal(got, expected[i]) for i, got in zip(order, hidden, strict=True)), (threads, order)


@pytest.mark.parametrize("kind", KINDS)
def test_a_prompts_bits_do_not_depend_on_how_it_is_cut(isa: str, kind: str) -> None:
    """Whole, row by row as it would be decoded, and in pieces across edges of chunks."""
    decoder = case(kind).decoder()
    whole = alone(decoder, 3, [70])
    for cuts in ([1] * 70, [20, 50], [4, 4, 2] * 7, [5, 1, 20, 3, 41]):
        assert torch.equal(alone(decoder, 3, cuts), whole), cuts


def test_bits_do_not_depend_on_where_pages_lie() -> None:
    decoder = case().decoder()
    expected = alone(decoder, 3, [30, 40])
    for per_page in (1, 3, 16, 64):
        assert torch.equal(alone(decoder, 3, [30, 40], per_page=per_page), expected)


@pytest.mark.parametrize("dtype", PAGES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_never_reaches_another_sequence(isa: str, dtype: torch.dtype, value: float) -> None:
    decoder = case("int8").decoder()
    damaged = rows(2).clone()
    damaged[3, 5] = value
    pages, clean = Sequences(dtype=dtype), Sequences(dtype=dtype)
    first, _ = pages.step(decoder, [(1, rows(1)), (2, damaged), (3, rows(3)[:40])])
    second, _ = pages.step(decoder, [(3, rows(3)[40:]), (2, rows(2)[:1])])
    expected, _ = clean.step(decoder, [(1, rows(1)), (3, rows(3)[:40])])
    later, _ = clean.step(decoder, [(3, rows(3)[40:])])
    assert torch.equal(first[0], expected[0]) and torch.equal(first[2], expected[1]) and torch.equal(second[0], later[0])
    assert not first[1][3].isfinite().any() and not second[1].isfinite().any()


@pytest.mark.parametrize("dtype", PAGES)
def test_damaged_weights_are_seen_in_the_rows(isa: str, dtype: torch.dtype) -> None:
    """Not rounded away with the keys, and not passed over by the router."""
    of = case()
    for name in ("wk", "wv", "router"):
        weight = getattr(of.layers[1], name).clone()
        weight[1, 1] = float("nan")
        damaged = replace(of, layers=(of.layers[0], replace(of.layers[1], **{name: weight}), *of.layers[2:]))
        (hidden,), _ = Sequences(dtype=dtype).step(damaged.decoder(), [(3, rows(3))])
        assert not hidden.isfinite().any(), name


# ---- memory


@pytest.mark.parametrize("dtype", PAGES)
def test_only_the_new_tokens_own_places_are_written(isa: str, dtype: torch.dtype) -> None:
    """The rows' own slots in their own pages; neither neighbours' pages, nor the places behind, nor what lies around the pools."""
    decoder, pages = case("int8").decoder(), Sequences(dtype=dtype)
    pages.step(decoder, [(1, rows(1)), (2, rows(2)), (3, rows(3)[:41])])
    before = [buffer.clone().view(torch.uint8) for buffer in pages.buffers]
    pages.step(decoder, [(3, rows(3)[41:43])])
    for pool, (data, scales) in enumerate(pages.pools):
        for tensor in (data,) if scales is None else (data, scales):
            place = next(
                i for i, buffer in enumerate(pages.buffers) if buffer.data_ptr() <= tensor.data_ptr() < buffer.data_ptr() + buffer.nbytes
            )
            changed = torch.zeros(pages.buffers[place].shape, dtype=torch.bool)
            inside = changed[GUARD:-GUARD].view(tensor.shape)
            for token in (41, 42):
                page, slot = divmod(token if pool == 0 else token % CHUNK, pages.per_page)
                number = pages.own_pages(3, pool)[page if pool == 0 else token // CHUNK * pages.in_chunk + page]
                inside[:, :, :, int(number), slot] = True
            now = pages.buffers[place].view(torch.uint8).view(len(changed), -1)
            same = (now == before[place].view(len(changed), -1)).all(dim=1)
            assert bool(same[~changed].all()) and float((~same[changed]).float().mean()) > 0.9


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="no /proc to measure memory with")
def test_decoders_are_freed() -> None:
    """A thousand with workspaces of 100 kilobytes each, and their copies of norms and routers."""
    of, pools = case(), Sequences().pools

    def build_and_drop(count: int) -> None:
        for _ in range(count):
            x_TD, piece = torch.zeros(30, D), pieces_of([0], [30], [30], [0], range(8))
            Decoder(of.shape, of.layers[1:2], of.norm).step(x_TD, torch.arange(30), pools, [piece, piece])

    build_and_drop(50)
    before = resident_bytes()
    build_and_drop(1000)
    assert resident_bytes() - before < 20 << 20


def test_two_decoders_at_once_share_the_workers(isa: str) -> None:
    expected = Sequences().step(case("int8").decoder(), [(3, rows(3))])[0][0]
    native.set_threads(2)
    wrong: list[int] = []

    def compute(number: int) -> None:
        decoder = case("int8").decoder()
        for _ in range(10):
            if not torch.equal(Sequences().step(decoder, [(3, rows(3))])[0][0], expected):
                wrong.append(number)

    workers = [threading.Thread(target=compute, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# ---- what callers may do wrong


def pieces_of(*numbers: Sequence[int]) -> Pieces:
    return Pieces(*(np.array(each, dtype=np.int64) for each in numbers))


GLOBAL, LOCAL = pieces_of([0], [2], [2], [0], [0]), pieces_of([0], [2], [2], [0], [1])


def step_with(
    x: Tensor | None = None,
    positions: Tensor | None = None,
    pools: Sequence[Pool] | None = None,
    pieces: Sequence[Pieces] = (GLOBAL, LOCAL),
    expert_ids: Tensor | None = None,
) -> None:
    case().decoder().step(
        torch.zeros(2, D) if x is None else x,
        torch.arange(2) if positions is None else positions,
        Sequences().pools if pools is None else pools,
        pieces,
        expert_ids,
    )


def test_a_right_step_passes_and_no_rows_are_none() -> None:
    step_with(expert_ids=torch.empty(2, 2, dtype=torch.int64))
    nothing = pieces_of([], [], [], [], [])
    step_with(torch.zeros(0, D), torch.arange(0), pieces=(nothing, nothing))


@pytest.mark.parametrize(
    ("what", "match"),
    [
        (dict(x=torch.zeros(2, D + 1)), rf"\[2, {D + 1}\] in torch.float32 on cpu: contiguous torch.float32 \[2, {D}\]"),
        (dict(x=torch.zeros(2, D).bfloat16()), "torch.bfloat16"),
        (dict(x=torch.zeros(D, 2).T), "contiguous"),
        (dict(x=torch.zeros(2, D, device="meta")), "on meta"),
        (dict(positions=torch.arange(3)), r"\[3\] in torch.int64"),
        (dict(positions=torch.arange(2).int()), "torch.int32"),
        (dict(expert_ids=torch.zeros(2, 3, dtype=torch.int64)), r"int64 \[2, 2\] are filled"),
        (dict(expert_ids=torch.zeros(2, 2)), r"int64 \[2, 2\] are filled"),
        (dict(pieces=(pieces_of([0], [1], [1], [0], [0]), LOCAL)), "leave a row out"),
        (dict(pieces=(pieces_of([0], [3], [3], [0], [0]), LOCAL)), "leave a row out"),
        (dict(pieces=(pieces_of([1, 0], [1, 1], [1, 1], [0, 0], [0]), LOCAL)), "leave a row out"),
        (dict(pieces=(GLOBAL, pieces_of([0], [2], [1], [0], [0]))), "keys or pages that are not there"),
        (dict(pieces=(GLOBAL, pieces_of([0], [2], [2], [0], [1000]))), "keys or pages that are not there"),
        (dict(pieces=(GLOBAL, pieces_of([0], [2], [2], [0], [-1]))), "keys or pages that are not there"),
        (dict(pieces=(GLOBAL, LOCAL._replace(pages=np.array([1], dtype=np.int32)))), "int32.*five contiguous rows of int64"),
        (dict(pieces=(GLOBAL, LOCAL._replace(num_keys=np.array([2, 2])))), "1 pieces, but 1, 1, 2, 1 numbers"),
        (dict(pieces=(GLOBAL,)), "a null pointer"),
        (dict(pools=Sequences().pools[:1]), "a null pointer"),
        (dict(pools=[Pool(torch.zeros(2, 2, K, 4, 4, H + 1), None)] * 2), rf"\[2, layers, {K}, pages, tokens, {H}\]"),
        (dict(pools=[Pool(torch.zeros(2, 2, K, 4, 4, H).half(), None)] * 2), "float16"),
        (dict(pools=[Pool(torch.zeros(2, 2, K, 4, 4, H), torch.zeros(2, 2, K, 4, 4))] * 2), "one scale a row, and no other has any"),
        (dict(pools=[Pool(torch.zeros(2, 2, K, 4, 4, H).to(torch.int8), None)] * 2), "one scale a row"),
        (dict(pools=[Pool(torch.zeros(2, 2, K, 4, 4, H), None)] * 2), "native kernel: "),  # the third local layer has no place
    ],
)
def test_a_step_that_does_not_fit_is_refused_by_name(what: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        step_with(**what)


def changed(**changes: Any) -> Callable[[], Decoder]:
    of = case()
    return lambda: Decoder(of.shape, [replace(of.layers[1], **changes), *of.layers[2:]], of.norm)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (changed(wq=torch.zeros(N * H, D).half()), "weights in torch.float16"),
        (changed(wq=torch.zeros(D, N * H).T), "rows lie one after the other"),
        (changed(wo=torch.zeros(D, N * H + 1)), "native kernel: "),
        (changed(wk=torch.zeros(N * H, D)), "native kernel: "),
        (changed(attention_norm=torch.ones(D + 1)), f"{D} numbers are needed"),
        (changed(router=torch.zeros(E + 1, D)), f"{E * D} numbers are needed"),
        (changed(pool=2), "native kernel: "),
        (changed(pool_layer=-1), "native kernel: "),
        (lambda: Decoder(replace(SHAPE, num_kv_heads=3), case().layers, case().norm), "native kernel: "),
        (lambda: Decoder(replace(SHAPE, frequencies=torch.ones(3)), case().layers, case().norm), "one for each of 6 pairs"),
    ],
)
def test_weights_that_do_not_fit_are_refused(build: Callable[[], Decoder], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        build()
