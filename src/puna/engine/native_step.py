"""A step's layers as one native call: the text decoder of a model on a CPU, over the engine's pages.

`NativeText` takes the place of `model(batch, cache)` and `model.logits(...)` where it can; the model itself, in torch, is its reference
and goes on where it can't: no library, another device, attention rows that somebody watches, batch invariance.

Letters: T tokens, D model width, V vocabulary, E experts, F feed-forward width.
"""

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from puna.engine.paged import PagedCache, Piece
from puna.kernels import native
from puna.kernels.decoder import Decoder, DecoderShape, FeedForwardWeights, LayerWeights, Pieces, Pool, Weight
from puna.kernels.huge import Arena
from puna.kernels.linear import PackedWeight, linear, linear_packed
from puna.model import Batch, Model
from puna.model.block import Block
from puna.model.experts import Experts, MoE
from puna.model.feed_forward import FeedForward
from puna.model.packed import PackedExperts, PackedLinear
from puna.model.rope import frequencies

_settled: WeakSet[Model] = WeakSet()


def settle(model: Model) -> None:
    """Move the decoder's matrices into one region of huge pages, once, each as its products read it: experts, input-major in a checkpoint,
    are turned (same parameters, other strides). A file that weights were mapped from is then no longer needed.
    """
    if model in _settled:
        return
    _settled.add(model)
    layers = [module for module in model.text.modules() if isinstance(module, nn.Linear | PackedLinear | Experts | PackedExperts)]
    arena = Arena(sum(Arena.size_of(tensor) for layer in layers for tensor in _tensors(layer)))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            layer.weight.data = arena.moved(layer.weight.data)
        elif isinstance(layer, Experts):
            for parameter in (layer.w_gate_up, layer.w_down):
                parameter.data = arena.moved(parameter.data.transpose(1, 2)).transpose(1, 2)
        else:
            for name in _packed_parts(layer):
                packed: PackedWeight = getattr(layer, name)
                setattr(layer, name, replace(packed, data=arena.moved(packed.data), scales=arena.moved(packed.scales)))


def _tensors(layer: nn.Module) -> list[Tensor]:
    if isinstance(layer, PackedLinear | PackedExperts):
        return [tensor for name in _packed_parts(layer) for tensor in (getattr(layer, name).data, getattr(layer, name).scales)]
    return [parameter.data for parameter in layer.parameters()]


def _packed_parts(layer: nn.Module) -> tuple[str, ...]:
    return ("packed",) if isinstance(layer, PackedLinear) else ("gate", "up", "down")


def suits(model: Model) -> bool:
    """Whether the native decoder can take this model's steps here."""
    weight = model.text.embed.weight
    if model.text.rope_mode != "modulo":
        return False
    return weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.bfloat16) and native.available()


class NativeText:
    """Embedding, layers, last norm and head of `model`, over the pages of `cache`. Hidden states and logits in fp32.

    The model's weights are settled for it (`settle`). `exact`: packed weights meet activations as they are, at less speed; else these are
    rounded to 8 bits in blocks of 32.
    """

    def __init__(self, model: Model, cache: PagedCache, exact: bool = False) -> None:
        self.model, self.cache, self._exact = model, cache, exact
        self._kinds = tuple(cache.storages)
        self._pools = tuple(Pool(storage.data, storage.scales) for storage in cache.storages.values())
        settle(model)
        self._decoder = self._build()

    def refresh(self) -> None:
        """After new weights: norms and routers were copied."""
        self._decoder = self._build()

    def __call__(self, batch: Batch, watched_experts: dict[int, np.ndarray] | None = None) -> Tensor:
        """Hidden states `[T, D]` of a batch that the cache has planned. `watched_experts` is filled with each MoE layer's choices [T]."""
        x_TD = self._embed(batch)
        pieces = [_flat(self.cache.pieces[kind], self.cache.layout.tokens_per_page) for kind in self._kinds]
        told = any(router.tokens_per_expert is not None or router.watch is not None for router in self._routers.values())
        is_asked = told or watched_experts is not None
        ids = torch.empty(len(self._routers), len(x_TD), dtype=torch.int64) if is_asked else None
        self._decoder.step(x_TD, batch.positions, self._pools, pieces, ids)
        if ids is not None:
            for (layer, router), ids_T in zip(self._routers.items(), ids, strict=True):
                router.count(ids_T)
                if watched_experts is not None:
                    watched_experts[layer] = ids_T.to(torch.int16).numpy()
        return x_TD

    def _embed(self, batch: Batch) -> Tensor:
        """What `model.embed` gives, in fp32."""
        if batch.tiles is None and batch.vision_rows is None and self.model.config.patch_id not in batch.token_ids.tolist():
            return native.embed(self.model.text.embed.weight, batch.token_ids)
        return self.model.embed(batch).float()

    def logits(self, hidden_TD: Tensor) -> Tensor:
        """Next-token logits `[T, V]`."""
        head = _matrix(self.model.text.head)
        return linear_packed(hidden_TD, head, exact=self._exact) if isinstance(head, PackedWeight) else linear(hidden_TD, head)

    def _build(self) -> Decoder:
        config, text = self.model.config, self.model.text
        shape = DecoderShape(
            width=config.width,
            num_heads=config.num_heads,
            num_kv_heads=config.num_kv_heads,
            head_width=config.head_width,
            num_experts=config.num_experts,
            eps=config.norm_eps,
            scale=config.head_width**-0.5,
            attn_scale=config.attn_scale,
            floor_scale=config.floor_scale,
            chunk=config.chunk,
            frequencies=frequencies(config),
            exact=self._exact,
        )
        blocks = [block for block in text.layers if isinstance(block, Block)]
        self._routers = {i: block.feed_forward.router for i, block in enumerate(blocks) if isinstance(block.feed_forward, MoE)}
        return Decoder(shape, [self._layer(i, block) for i, block in enumerate(blocks)], text.norm.weight)

    def _layer(self, index: int, block: Block) -> LayerWeights:
        attention, feed_forward = block.attention, block.feed_forward
        kind = self.cache.kind_of(index)
        router = experts = None
        if isinstance(feed_forward, MoE):
            router = feed_forward.router
            experts = _experts(feed_forward.experts)
        return LayerWeights(
            attention_norm=block.attention_norm.weight,
            wq=_matrix(attention.wq),
            wk=_matrix(attention.wk),
            wv=_matrix(attention.wv),
            wo=_matrix(attention.wo),
            feed_forward_norm=block.feed_forward_norm.weight,
            dense=_dense(feed_forward.shared if isinstance(feed_forward, MoE) else feed_forward),
            router=None if router is None else router.weight,
            router_bias=None if router is None else router.balance_bias,
            experts=experts,
            rope=attention.layer.rope,
            qk_norm=attention.layer.qk_norm,
            temperature=attention.layer.temperature,
            pool=self._kinds.index(kind),
            pool_layer=self.cache.storages[kind].place[index],
        )


def _matrix(layer: nn.Linear | PackedLinear) -> Weight:
    return layer.packed if isinstance(layer, PackedLinear) else layer.weight.detach()


def _dense(layer: FeedForward) -> FeedForwardWeights:
    return FeedForwardWeights(gate=_matrix(layer.w_gate), up=_matrix(layer.w_up), down=_matrix(layer.w_down))


def _experts(experts: Experts | PackedExperts) -> FeedForwardWeights:
    if isinstance(experts, PackedExperts):
        return FeedForwardWeights(gate=experts.gate, up=experts.up, down=experts.down)
    for parameter in (experts.w_gate_up, experts.w_down):
        if parameter.stride(1) != 1:  # somebody gave the parameter new memory
            parameter.data = parameter.data.transpose(1, 2).contiguous().transpose(1, 2)
    gate, up = experts.w_gate_up.detach().transpose(1, 2).chunk(2, dim=1)
    return FeedForwardWeights(gate=gate, up=up, down=experts.w_down.detach().transpose(1, 2))


def _flat(pieces: Sequence[Piece], per_page: int) -> Pieces:
    first_row, rows, num_keys, first_page, pages = [], [], [], [], []
    for piece in pieces:
        first_row.append(piece.rows.start)
        rows.append(len(piece.rows))
        num_keys.append(piece.num_keys)
        first_page.append(len(pages))
        pages += piece.pages[: -(-piece.num_keys // per_page)]
    return Pieces(*(np.array(numbers, dtype=np.int64) for numbers in (first_row, rows, num_keys, first_page, pages)))
