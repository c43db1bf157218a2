"""A whole text decoder as one native kernel: all layers of a step in one call, over pages of keys and values.

`puna.model.text` is its reference, `puna.engine.paged` keeps the pages. Here are only pointers: whoever builds a `Decoder` keeps the
weights alive, and builds it again when one of them moves. CPU, no gradients; fp32 from the embedded rows on, whatever the weights are.

Letters: T rows, D model width, N query heads, K key/value heads, H head width, E experts, F feed-forward width.
"""

from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from puna.kernels import native
from puna.kernels.linear.packed import BLOCK, PANEL, PackedWeight

_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 8}
_POOL_TYPES = (torch.float32, torch.bfloat16, torch.int8)

Weight = Tensor | PackedWeight  # [N, K], or [E, N, K]


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderShape:
    """`eps` of the norms, `scale` of the attention scores; `frequencies` float64 `[H/2]` and `chunk` give the angles of RoPE layers,
    `attn_scale` and `floor_scale` the temperature of NoPE layers (see `puna.model.rope`). `exact`: packed weights meet fp32 activations,
    not rounded ones.
    """

    width: int
    num_heads: int
    num_kv_heads: int
    head_width: int
    num_experts: int
    eps: float
    scale: float
    attn_scale: float
    floor_scale: float
    chunk: int | None
    frequencies: Tensor
    exact: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedForwardWeights:
    """Output-major: gate and up `[F, D]`, down `[D, F]`; of experts `[E, F, D]` and `[E, D, F]`, an expert's rows contiguous."""

    gate: Weight
    up: Weight
    down: Weight


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerWeights:
    """One layer. `dense` is the shared expert where there is a `router` `[E, D]`. `pool` and `pool_layer` say where keys and values lie."""

    attention_norm: Tensor
    wq: Weight
    wk: Weight
    wv: Weight
    wo: Weight
    feed_forward_norm: Tensor
    dense: FeedForwardWeights
    router: Tensor | None = None
    router_bias: Tensor | None = None
    experts: FeedForwardWeights | None = None
    rope: bool
    qk_norm: bool
    temperature: bool
    pool: int
    pool_layer: int


class Pool(NamedTuple):
    """Keys and values `[2, layers, K, pages, tokens a page, H]` in fp32, bf16 or int8, and for int8 scales of the same shape without H."""

    data: Tensor
    scales: Tensor | None


class Pieces(NamedTuple):
    """What a pool's layers look at, int64: piece i is rows `first_row[i]` to `first_row[i] + rows[i]`, the last of `num_keys[i]` tokens
    in pages `pages[first_page[i]]` and on.
    """

    first_row: np.ndarray
    rows: np.ndarray
    num_keys: np.ndarray
    first_page: np.ndarray
    pages: np.ndarray


class _Weight(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("data", "scales")),
        *((name, c_int64) for name in ("group", "N", "K", "expert_bytes", "expert_scale_bytes")),
        *((name, c_int32) for name in ("type", "scale_type")),
    )


class _Layer(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("attention_norm", "feed_forward_norm")),
        *((name, _Weight) for name in ("wq", "wk", "wv", "wo", "gate", "up", "down")),
        *((name, c_void_p) for name in ("router", "router_bias")),
        *((name, _Weight) for name in ("expert_gate", "expert_up", "expert_down")),
        *((name, c_int32) for name in ("rope", "qk_norm", "temperature", "pool", "pool_layer")),
    )


class _Shape(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("num_layers", "width", "num_heads", "num_kv_heads", "head_width", "num_experts")),
        ("eps", c_float),
        ("scale", c_float),
        ("attn_scale", c_double),
        ("floor_scale", c_double),
        ("chunk", c_int64),
        ("frequencies", c_void_p),
        ("exact", c_int32),
        ("norm", c_void_p),
        ("layers", POINTER(_Layer)),
    )


class _Pool(Structure):
    _fields_ = (
        *((name, c_void_p) for name in ("data", "scales")),
        *((name, c_int64) for name in ("num_layers", "num_pages", "tokens_per_page")),
        ("type", c_int32),
    )


class _Pieces(Structure):
    _fields_ = (("count", c_int64), *((name, c_void_p) for name in Pieces._fields))


class Decoder:
    """The layers and the last norm. Weights other than norms and routers may be in fp32, bf16 or packed integers, each on its own."""

    def __init__(self, shape: DecoderShape, layers: Sequence[LayerWeights], norm: Tensor) -> None:
        self.shape = shape
        self.num_moe_layers = sum(layer.router is not None for layer in layers)
        self._library = native.library()
        self._pools_given: tuple[Pool, ...] = ()
        self._c_pools = (_Pool * 2)()
        self._kept: list[Tensor] = []  # what the C side points at and nobody else may hold
        array = (_Layer * len(layers))(*(self._layer(layer) for layer in layers))
        s = shape
        sizes = (len(layers), s.width, s.num_heads, s.num_kv_heads, s.head_width, s.num_experts)
        frequencies = s.frequencies.to("cpu", torch.float64).contiguous()
        if frequencies.shape != (s.head_width // 2,):
            raise ValueError(f"frequencies of shape {list(frequencies.shape)}: one for each of {s.head_width // 2} pairs")
        terms = (s.attn_scale, s.floor_scale, s.chunk or 0, frequencies.data_ptr())
        made = _Shape(*sizes, s.eps, s.scale, *terms, s.exact, self._floats(norm, s.width), array)
        status = c_int32()
        self._decoder = self._library.puna_decoder_new(byref(made), byref(status))
        native.check_status(status.value)

    def __del__(self) -> None:
        if getattr(self, "_decoder", None):
            self._library.puna_decoder_free(self._decoder)

    def step(
        self,
        x_TD: Tensor,
        positions_T: Tensor,
        pools: tuple[Pool, ...],
        pieces: Sequence[Pieces],
        expert_ids: Tensor | None = None,
    ) -> None:
        """Turn embedded rows into hidden states, in place, and keep their keys and values.

        x fp32, positions int64, contiguous. One or two pools, `pieces` of each. `expert_ids` int64 `[MoE layers, T]` is filled if given.
        """
        rows = len(x_TD)
        _check(x_TD, torch.float32, (rows, self.shape.width))
        _check(positions_T, torch.int64, (rows,))
        if expert_ids is not None and (expert_ids.dtype != torch.int64 or expert_ids.shape != (self.num_moe_layers, rows)):
            raise ValueError(f"expert_ids of shape {list(expert_ids.shape)}: int64 [{self.num_moe_layers}, {rows}] are filled")
        if pools is not self._pools_given:  # the same from step to step
            self._pools_given, self._c_pools = pools, (_Pool * 2)(*(self._pool(pool) for pool in pools))
        c_pieces = (_Pieces * 2)(*(self._pieces(each) for each in pieces))
        ids = None if expert_ids is None else expert_ids.data_ptr()
        pointers = x_TD.data_ptr(), positions_T.data_ptr(), self._c_pools, c_pieces, ids
        native.check_status(self._library.puna_decoder_step(self._decoder, rows, *pointers))

    # ---- descriptions for the C side

    def _layer(self, layer: LayerWeights) -> _Layer:
        s, none = self.shape, _Weight()
        made = _Layer(
            self._floats(layer.attention_norm, s.width), self._floats(layer.feed_forward_norm, s.width),
            *map(self._weight, (layer.wq, layer.wk, layer.wv, layer.wo, layer.dense.gate, layer.dense.up, layer.dense.down)),
            None, None, none, none, none,
            layer.rope, layer.qk_norm, layer.temperature, layer.pool, layer.pool_layer,
        )  # fmt: skip
        if layer.router is not None:
            assert layer.experts is not None, "a router needs experts"
            made.router = self._floats(layer.router, s.num_experts * s.width)
            made.router_bias = None if layer.router_bias is None else self._floats(layer.router_bias, s.num_experts)
            made.expert_gate, made.expert_up, made.expert_down = map(
                self._weight, (layer.experts.gate, layer.experts.up, layer.experts.down)
            )
        return made

    def _floats(self, tensor: Tensor, count: int) -> int:
        """A copy in fp32: norms and routers are small, and a copy stays where it is."""
        if tensor.numel() != count:
            raise ValueError(f"a norm or router of shape {list(tensor.shape)}: {count:,} numbers are needed")
        copy = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
        self._kept.append(copy)
        return copy.data_ptr()

    def _weight(self, weight: Weight) -> _Weight:
        if isinstance(weight, PackedWeight):
            rows, columns = weight.shape[-2:]
            panels = -(-rows // PANEL) * PANEL
            self._kept += [weight.data, weight.scales]
            data_bytes = panels * -(-columns // BLOCK) * BLOCK * weight.bits // 8
            scale_bytes = panels * (columns // weight.group) * weight.scales.itemsize
            sizes = (weight.group, rows, columns, data_bytes, scale_bytes)
            return _Weight(weight.data.data_ptr(), weight.scales.data_ptr(), *sizes, weight.bits, _TYPES[weight.scales.dtype])
        rows, columns = weight.shape[-2:]
        if weight.dtype not in (torch.float32, torch.bfloat16) or weight.device.type != "cpu":
            raise ValueError(f"weights in {weight.dtype} on {weight.device}: float32 or bfloat16 on the CPU, or packed integers")
        if weight.stride(-1) != 1 or weight.stride(-2) != columns:
            raise ValueError(f"weights of strides {list(weight.stride())}: an expert's rows lie one after the other, output-major")
        self._kept.append(weight)
        stride = weight.stride(0) * weight.itemsize if weight.dim() == 3 else 0
        return _Weight(weight.data_ptr(), None, columns, rows, columns, stride, 0, _TYPES[weight.dtype], 0)

    @staticmethod
    def _pieces(pieces: Pieces) -> _Pieces:
        if any(array.dtype != np.int64 or array.ndim != 1 or not array.flags.c_contiguous for array in pieces):
            raise ValueError(f"pieces in {', '.join(str(array.dtype) for array in pieces)}: five contiguous rows of int64")
        if len({len(array) for array in pieces[:-1]}) != 1:
            raise ValueError(f"{len(pieces.rows)} pieces, but {', '.join(str(len(array)) for array in pieces[:-1])} numbers of them")
        return _Pieces(len(pieces.rows), *(array.__array_interface__["data"][0] for array in pieces))

    def _pool(self, pool: Pool) -> _Pool:
        data, scales = pool
        heads, width = self.shape.num_kv_heads, self.shape.head_width
        if data.dtype not in _POOL_TYPES or data.dim() != 6 or (data.shape[2], data.shape[5]) != (heads, width) or not data.is_contiguous():
            raise ValueError(f"a pool of shape {list(data.shape)} in {data.dtype}: [2, layers, {heads}, pages, tokens, {width}]")
        if (scales is not None) != (data.dtype == torch.int8) or scales is not None and scales.numel() * data.shape[5] != prod(data.shape):
            raise ValueError("a pool in int8 has one scale a row, and no other has any")
        return _Pool(data.data_ptr(), None if scales is None else scales.data_ptr(), data.shape[1], *data.shape[3:5], _TYPES[data.dtype])


def _check(tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous() or not tensor.is_cpu:
        raise ValueError(f"{list(tensor.shape)} in {tensor.dtype} on {tensor.device}: contiguous {dtype} {list(shape)} on the CPU")
