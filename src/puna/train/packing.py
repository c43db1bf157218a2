"""From samples to packed batches of exactly T tokens: rows end to end, and a slice of prose to fill the rest.

Knows sources only through `RowSource`. A batch is a function of (source, cursor): a loader that resumes at a cursor gives the very
batches that an uninterrupted one would have given.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from puna.model import Batch
from puna.stream import Stream


class Row(NamedTuple):
    """One training stream, the kind it is logged under, and the weight of its scored tokens in the loss."""

    kind: str
    stream: Stream
    weight: float = 1.0


class RowSource(Protocol):
    """Where rows come from: a pure function of the index."""

    def row(self, index: int) -> Row: ...

    def filler(self, index: int, num_tokens: int) -> Row:
        """Prose of exactly `num_tokens` tokens, to end batch `index`."""
        ...


@dataclass(slots=True)
class TrainingBatch:
    """A packed batch with its targets: `targets` and `weights` `[T]`, `kinds` one name a row, `cursor` the next row's index.

    `share` is this batch's part of its step's loss: 1 unless a step has several batches.
    """

    batch: Batch
    targets: Tensor
    weights: Tensor
    kinds: tuple[str, ...]
    cursor: int
    share: float = 1.0

    def loss_by_kind(self, cross_entropy_T: Tensor) -> dict[str, tuple[float, int]]:
        """Sum of the loss and number of scored tokens of each kind."""
        sums: dict[str, float] = defaultdict(float)
        counts: Counter[str] = Counter()
        scored = self.weights > 0
        for kind, loss, mask in zip(self.kinds, cross_entropy_T.split(self.batch.lengths), scored.split(self.batch.lengths), strict=True):
            sums[kind] += float(loss.sum())
            counts[kind] += int(mask.sum())
        return {kind: (sums[kind], counts[kind]) for kind in sums}


def pack(source: RowSource, cursor: int, batch_index: int, tokens: int) -> TrainingBatch:
    """Rows from `cursor` on until the next would not fit (it opens the next batch), then filler. Always `tokens` tokens.

    A fixed size keeps every matrix product at one shape, for which oneDNN then has a compiled kernel (`docs/log.md`).
    """
    rows: list[Row] = []
    room = tokens
    while True:
        row = source.row(cursor)
        if len(row.stream) > tokens:
            size = len(row.stream)
            raise ValueError(f"row {cursor} ({row.kind}) has {size} tokens, more than a batch of {tokens}; cut it or enlarge the batch")
        if len(row.stream) > room:
            break
        rows.append(row)
        cursor += 1
        room -= len(row.stream)
    if room:
        filler = source.filler(batch_index, room)
        if len(filler.stream) != room:
            raise ValueError(f"filler {batch_index} has {len(filler.stream)} tokens, but {room} were asked for; a batch has a fixed size")
        rows.append(filler)
    streams = [row.stream for row in rows]
    targets, weights = zip(*(next_tokens(row.stream, row.weight) for row in rows), strict=True)
    return TrainingBatch(
        batch=Batch.from_streams(streams),
        targets=torch.from_numpy(np.concatenate(targets)),
        weights=torch.from_numpy(np.concatenate(weights)),
        kinds=tuple(row.kind for row in rows),
        cursor=cursor,
    )


def next_tokens(stream: Stream, weight: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Targets and loss weights of one stream: each token predicts the next; the last one, and what the mask excludes, score nothing."""
    ids = np.asarray(stream.token_ids, dtype=np.int64)
    targets = np.concatenate((ids[1:], ids[:1]))
    weights = np.full(len(ids), weight, dtype=np.float32)
    if stream.loss_mask is not None:
        weights[:-1] *= stream.loss_mask[1:]
    weights[-1] = 0.0
    return targets, weights
