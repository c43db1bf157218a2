"""The model's part of a step: work of many requests as one batch, computed natively where that suits, by the model's modules elsewhere.

Letters: T tokens of the batch, D width, V vocabulary, N heads, S positions looked at.
"""

import logging
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from puna.config import LayerSpec
from puna.engine.kv_memory import KVMemory
from puna.engine.memory import Settings
from puna.engine.native_step import NativeText, suits
from puna.engine.paged import INVARIANT, PLAIN, PagedCache, Watched
from puna.engine.pages import PageLayout
from puna.engine.scheduler import Work
from puna.engine.sequence import Sequence
from puna.engine.vision_rows import VisionRows
from puna.kernels.attention import verify_attention
from puna.kernels.invariant import batch_invariant, verify
from puna.model import Batch, Model
from puna.model.experts import MoE
from puna.model.router import Router

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Computed:
    """One batch of work: its hidden states, each piece's first row in them, and by MoE layer the experts chosen, if they were wanted."""

    hidden_TD: Tensor
    first_rows: list[int]
    experts: dict[int, np.ndarray] = field(default_factory=dict)


class ModelRunner:
    """`model` over the pages of `memory`. `rounds` says whether its products are rounded to bf16."""

    def __init__(self, model: Model, memory: KVMemory, layout: PageLayout, settings: Settings) -> None:
        self.model, self.device = model, model.text.embed.weight.device
        self.invariant = settings.batch_invariant
        if self.invariant:
            _verify_invariance(model)
        self.cache = PagedCache(model.config, layout, memory.storages, INVARIANT if self.invariant else PLAIN)
        self.native: NativeText | None = None
        if settings.native and not self.invariant and suits(model):
            self.native = NativeText(model, self.cache, settings.exact)
        self.rounds = self.native is None and model.dtype != torch.float32
        self.vision: VisionRows | None = None
        if model.config.vision is not None:
            self.vision = VisionRows(model, settings.vision_bytes, one_by_one=self.invariant)
        self.routers: dict[int, Router] = {
            i: block.feed_forward.router for i, block in enumerate(model.text.layers) if isinstance(block.feed_forward, MoE)
        }

    def mode(self) -> AbstractContextManager[object]:
        """What a step computes in."""
        return batch_invariant() if self.invariant else nullcontext()

    def compute(self, work: list[Work]) -> Computed:
        """Keys and values of all tokens in their pages, and the last layer's hidden states."""
        ids, firsts, rows, watched = [], [], [], []
        row = 0
        first_rows = []
        experts: dict[int, np.ndarray] = {}
        for sequence, count in work:
            first = sequence.num_computed
            step_ids = sequence.next_ids(count)
            ids.append(step_ids)
            firsts.append(first)
            first_rows.append(row)
            watched += _watched(sequence, first, count, row)
            row += len(step_ids)
            if (picture_rows := self._vision_rows(sequence, first, first + count)) is not None:
                rows.append(picture_rows)
        positions = [np.arange(first, first + len(each)) for first, each in zip(firsts, ids, strict=True)]
        batch = Batch(
            token_ids=torch.from_numpy(ids[0] if len(ids) == 1 else np.concatenate(ids)).to(self.device),
            positions=torch.from_numpy(positions[0] if len(ids) == 1 else np.concatenate(positions)).to(self.device),
            lengths=tuple(len(each) for each in ids),
            first_positions=tuple(firsts),
            vision_rows=torch.cat(rows) if rows else None,
        )
        native = None if watched else self.native
        self.cache.plan([sequence.pages for sequence, _ in work], batch, watched, pieces_only=native is not None)
        experts_wanted = any(sequence.generation.request.watch.expert_ids for sequence, _ in work)
        if native is not None:
            hidden_TD = native(batch, experts if experts_wanted else None)
        else:
            with self._watching_experts(experts) if experts_wanted else nullcontext():
                hidden_TD = self.model(batch, self.cache)
        return Computed(hidden_TD, first_rows, experts)

    def logits(self, hidden_TD: Tensor) -> Tensor:
        """`[T, V]` on the CPU, fp32."""
        return (self.model.logits(hidden_TD) if self.native is None else self.native.logits(hidden_TD.float())).cpu()

    def refresh(self) -> None:
        """The model's weights are others now: forget what was made of the old ones."""
        if self.vision is not None:
            self.vision.clear()
        if self.native is not None:
            self.native.refresh()

    def _vision_rows(self, sequence: Sequence, first: int, end: int) -> Tensor | None:
        numbers = sequence.tiles_in(first, end)
        if not numbers:
            return None
        assert self.vision is not None, "submit refuses tiles for a model without a tower"
        return torch.cat(self.vision.of(*sequence.tiles(numbers)))[sequence.rows_in(first, end)]

    def _watching_experts(self, into: dict[int, np.ndarray]) -> AbstractContextManager[object]:
        """While inside, routers tell their choices."""
        stack = ExitStack()
        for layer, router in self.routers.items():
            stack.callback(setattr, router, "watch", router.watch)
            router.watch = lambda ids_T, layer=layer: into.__setitem__(layer, ids_T.to("cpu", torch.int16).numpy())
        return stack


def _watched(sequence: Sequence, first: int, count: int, row: int) -> list[Watched]:
    """Whose attention is to be told: the request's own list, as far as this piece holds it."""

    def tell(position: int, layer: LayerSpec, row_NS: Tensor) -> None:
        sequence.generation.attention.setdefault(position, {})[layer.index] = row_NS.cpu()

    wanted = [p for p in sequence.generation.request.watch.attention_rows if first <= p < first + count]
    return [Watched(row + p - first, lambda layer, row_NS, p=p: tell(p, layer, row_NS)) for p in wanted]


def _verify_invariance(model: Model) -> None:
    """Measure once what makes results independent of their batch on this machine (`puna.kernels.invariant`); what is slow is said."""
    slow = verify(model.parameters()).one_by_one
    if slow or not verify_attention(model.config.head_width):
        what = ", ".join(f"{inner} x {columns}" for inner, columns in slow) or "attention"
        _log.warning("batch_invariant: on this machine products of these shapes go row by row, which is slow: %s", what)
