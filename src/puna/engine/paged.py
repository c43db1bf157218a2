"""The paged cache: `puna.model.KVCache` over two kinds of pages, for any number of sequences in one batch.

A step begins with `plan(...)`: which slots the new tokens' keys take, and who reads which pages. Tokens of one sequence are cut at chunk
edges into pieces for the local layers; a piece sees its own chunk's pages only. Pieces of a few tokens (decode, drafts) stand side by
side in groups of similar length; longer ones (prefill) attend one by one. `HybridCache` is the naive twin.

Letters: T new tokens, P pages of a piece, U tokens per page, S keys, N query heads, K key/value heads, H head width.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from puna.config import LayerSpec, ModelConfig
from puna.engine.pages import PageLayout, SequencePages
from puna.engine.storage import PageStorage
from puna.kernels.attention import batched_attention, cached_attention, invariant_attention, invariant_batched_attention
from puna.kernels.precision import fast_dtype
from puna.model import Batch

_FEW = 8  # pieces of at most so many tokens are attended in groups
# Query rows of a long piece are attended this many at a time: the mask of all of them against a long context would outgrow the keys.
_QUERY_ROWS = 512


class Kernels(NamedTuple):
    """How pieces attend: `one` piece by itself (the contract of `cached_attention`), and `many` side by side (of `batched_attention`)."""

    one: Callable[[Tensor, Tensor, Tensor, float], Tensor]
    many: Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


PLAIN = Kernels(cached_attention, batched_attention)
INVARIANT = Kernels(invariant_attention, invariant_batched_attention)


class Piece(NamedTuple):
    """New tokens `rows` of the batch, the last of `num_keys` keys that stand in `pages`, in order."""

    rows: range
    pages: list[int]
    num_keys: int


class Group(NamedTuple):
    """Pieces of `tokens` new tokens each, side by side. Places behind a piece's end repeat its first page, whose keys are hidden there."""

    rows: Tensor
    tokens: int
    pages: Tensor
    num_keys: Tensor


@dataclass(slots=True)
class Reading:
    """One step's plan for the layers of one kind."""

    slots: Tensor
    groups: list[Group] = field(default_factory=list)
    long: list[tuple[Piece, Tensor]] = field(default_factory=list)


class Watched(NamedTuple):
    """Someone wants to see what the token in `row` of the batch attends to."""

    row: int
    tell: Callable[[LayerSpec, Tensor], None]


class PagedCache:
    """Keys and values of all sequences of an engine. `kernels` are `PLAIN`, or `INVARIANT` in an engine that is batch-invariant."""

    def __init__(self, config: ModelConfig, layout: PageLayout, storages: Mapping[str, PageStorage], kernels: Kernels = PLAIN) -> None:
        self.layout = layout
        self.storages = storages
        self._kind = {i: "global" for i in layout.global_layers} | {i: "local" for i in layout.local_layers}
        self._kernels = kernels
        self._plans: dict[str, Reading] = {}
        self.pieces: dict[str, list[Piece]] = {}
        self._watched: Sequence[Watched] = ()

    def kind_of(self, layer: int) -> str:
        """The kind of pages that a layer's keys lie in."""
        return self._kind[layer]

    def plan(self, sequences: Sequence[SequencePages], batch: Batch, watched: Sequence[Watched] = (), *, pieces_only: bool = False) -> None:
        """Get ready for one forward over `batch`, whose sequences have their pages already. `pieces_only`: to read `pieces` oneself."""
        device = batch.token_ids.device
        pieces: dict[str, list[Piece]] = {"global": [], "local": []}
        row = 0
        for sequence, length, first in zip(sequences, batch.lengths, batch.first_positions, strict=True):
            rows = range(row, row + length)
            row += length
            if self.layout.global_layers:
                pieces["global"].append(Piece(rows, sequence.global_pages, first + length))
            if self.layout.local_layers:
                pieces["local"] += self._local_pieces(sequence, rows, first)
        self.pieces = pieces
        for kind in () if pieces_only else self.storages:
            self._plans[kind] = self._reading(pieces[kind], device)
        self._watched = watched

    def attend(self, layer: LayerSpec, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, batch: Batch, scale: float) -> Tensor:
        """Keep this batch's keys and values and attend; `[T, N, H]`."""
        kind = self._kind[layer.index]
        storage, plan = self.storages[kind], self._plans[kind]
        storage.write(layer.index, plan.slots, k_TKH, v_TKH)
        out_TNH = torch.empty_like(q_TNH)
        for group in plan.groups:
            n = len(group.num_keys)
            kept = storage.read(layer.index, group.pages)
            k, v = (x.unflatten(1, (n, -1)) for x in kept)
            q = q_TNH[group.rows].unflatten(0, (n, group.tokens))
            out_TNH[group.rows] = self._kernels.many(q, k, v, group.num_keys, scale).flatten(0, 1)
        for piece, pages in plan.long:
            rows = slice(piece.rows.start, piece.rows.stop)
            k_KSH, v_KSH = (x[:, : piece.num_keys] for x in storage.read(layer.index, pages))
            out_TNH[rows] = self._attend_long(q_TNH[rows], k_KSH.transpose(0, 1), v_KSH.transpose(0, 1), scale)
        for watched in self._watched:
            watched.tell(layer, self._row_of(layer, watched.row, q_TNH, scale))
        return out_TNH

    def _attend_long(self, q_TNH: Tensor, k_SKH: Tensor, v_SKH: Tensor, scale: float) -> Tensor:
        if self._kernels is INVARIANT:
            return self._kernels.one(q_TNH, k_SKH, v_SKH, scale)
        dtype = q_TNH.dtype if q_TNH.dtype == torch.float32 else fast_dtype(q_TNH.device.type)
        q, k, v = (x.to(dtype) for x in (q_TNH, k_SKH, v_SKH))
        behind = len(k) - len(q)
        outputs = [
            self._kernels.one(part, k[: behind + first + len(part)], v[: behind + first + len(part)], scale)
            for first, part in zip(range(0, len(q), _QUERY_ROWS), q.split(_QUERY_ROWS), strict=True)
        ]
        return torch.cat(outputs).to(q_TNH.dtype)

    def _local_pieces(self, sequence: SequencePages, rows: range, first: int) -> list[Piece]:
        assert self.layout.chunk is not None
        pieces, done = [], 0
        while done < len(rows):
            position = first + done
            chunk, inside = divmod(position, self.layout.chunk)
            size = min(len(rows) - done, self.layout.chunk - inside)
            pieces.append(Piece(rows[done : done + size], sequence.local_pages[chunk], inside + size))
            done += size
        return pieces

    def _reading(self, pieces: Sequence[Piece], device: torch.device) -> Reading:
        per_page = self.layout.tokens_per_page
        slots = np.empty(sum(len(piece.rows) for piece in pieces), dtype=np.int64)
        grouped: dict[tuple[int, int], list[Piece]] = {}
        long = []
        for piece in pieces:
            places = np.arange(piece.num_keys - len(piece.rows), piece.num_keys)
            pages = np.asarray(piece.pages, dtype=np.int64)
            slots[piece.rows.start : piece.rows.stop] = pages[places // per_page] * per_page + places % per_page
            needed = self.layout.pages_for(piece.num_keys)
            if len(piece.rows) <= _FEW:
                grouped.setdefault((len(piece.rows), _width(needed)), []).append(piece)
            else:
                long.append((piece, torch.from_numpy(pages[:needed]).to(device)))
        groups = []
        for (tokens, width), members in grouped.items():
            pages = np.empty((len(members), width), dtype=np.int64)
            for at, piece in enumerate(members):
                needed = self.layout.pages_for(piece.num_keys)
                pages[at, :needed] = piece.pages[:needed]
                pages[at, needed:] = piece.pages[0]
            rows = np.concatenate([np.arange(piece.rows.start, piece.rows.stop) for piece in members])
            num_keys = np.array([piece.num_keys for piece in members])
            groups.append(Group(torch.from_numpy(rows).to(device), tokens, *(torch.from_numpy(x).to(device) for x in (pages, num_keys))))
        return Reading(torch.from_numpy(slots).to(device), groups, long)

    def _row_of(self, layer: LayerSpec, row: int, q_TNH: Tensor, scale: float) -> Tensor:
        """Attention probabilities `[N, S]` fp32 of the token in `row`, over its keys in order."""
        kind = self._kind[layer.index]
        plan = self._plans[kind]
        for group in plan.groups:
            hit = (group.rows == row).nonzero()
            if len(hit):
                member, place = divmod(int(hit[0]), group.tokens)
                count = int(group.num_keys[member]) - group.tokens + place + 1
                keys = self.storages[kind].read(layer.index, group.pages[member]).keys[:, :count]
                return _probabilities(q_TNH[row], keys, scale)
        for piece, pages in plan.long:
            if row in piece.rows:
                count = piece.num_keys - (piece.rows.stop - 1 - row)
                return _probabilities(q_TNH[row], self.storages[kind].read(layer.index, pages).keys[:, :count], scale)
        raise AssertionError(f"row {row} is in no piece")


def _probabilities(q_NH: Tensor, k_KSH: Tensor, scale: float) -> Tensor:
    q_KGH = q_NH.float().unflatten(0, (len(k_KSH), -1))
    return (torch.bmm(q_KGH, k_KSH.float().transpose(1, 2)) * scale).softmax(-1).flatten(0, 1)


def _width(pages: int) -> int:
    """A group's width in pages: the next of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... so that few groups form and at most a third is filling."""
    width = 1
    while width < pages:
        width = width + 1 if width < 4 else width * 3 // 2 if width & (width - 1) == 0 else width * 4 // 3
    return width
