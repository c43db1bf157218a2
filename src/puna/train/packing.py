"""From samples to packed batches of exactly T tokens: rows end to end, and a slice of prose to fill the rest.

Knows sources only through `RowSource`. A batch is a function of (source, cursor): a loader that resumes at a cursor gives the very
batches that an uninterrupted one would have given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from puna.model import Batch
from puna.stream import Stream

# How rows are sorted in the log.
GROUPINGS = ("kind", "language", "modality")


class Row(NamedTuple):
    """One training stream, the kind it is logged under, and the weight of its scored tokens in the loss.

    `language` ("" where it has none to speak of) and `modality` are logged too; a modality left empty is "picture" where there are
    tiles, else "text" (see `modality_of`).
    """

    kind: str
    stream: Stream
    weight: float = 1.0
    language: str = ""
    modality: str = ""

    def group(self, grouping: str) -> str:
        """Under which name the log puts this row; "" for none."""
        return self.modality or modality_of(self.stream) if grouping == "modality" else getattr(self, grouping)


def modality_of(stream: Stream, video_start: int | None = None) -> str:
    """ "text", "picture", or "video" for a stream that holds the id which opens a video."""
    if stream.tiles is None or not len(stream.tiles):
        return "text"
    return "video" if video_start is not None and bool((stream.token_ids == video_start).any()) else "picture"


class RowSource(Protocol):
    """Where rows come from: a pure function of the index."""

    def row(self, index: int) -> Row: ...

    def filler(self, index: int, num_tokens: int) -> Row:
        """Prose of exactly `num_tokens` tokens, to end batch `index`."""
        ...


@dataclass(slots=True)
class TrainingBatch:
    """A packed batch with its targets: `targets` and `weights` `[T]`, `cursor` the next row's index.

    `groups` has one entry a row for each of `GROUPINGS`, `scored` the number of scored tokens of each row. `share` is this batch's part of
    its step's loss: 1 unless a step has several batches.
    """

    batch: Batch
    targets: Tensor
    weights: Tensor
    groups: dict[str, tuple[str, ...]]
    scored: tuple[int, ...]
    cursor: int
    share: float = 1.0

    @property
    def kinds(self) -> tuple[str, ...]:
        """One name a row."""
        return self.groups["kind"]

    def sum_rows(self, values_T: Tensor) -> Tensor:
        """Sums of a value per token over each row, on the values' device."""
        lengths = torch.tensor(self.batch.lengths, device=values_T.device)
        return torch.segment_reduce(values_T, "sum", lengths=lengths, unsafe=True)

    def to(self, device: str) -> "TrainingBatch":
        """The same batch on a device, copied without waiting where the memory is pinned."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        tiles = self.batch.tiles
        batch = Batch(
            token_ids=moved(self.batch.token_ids),
            positions=moved(self.batch.positions),
            lengths=self.batch.lengths,
            first_positions=self.batch.first_positions,
            tiles=None if tiles is None else moved(tiles),
        )
        return replace(self, batch=batch, targets=moved(self.targets), weights=moved(self.weights))

    def pinned(self) -> "TrainingBatch":
        """The same batch in memory that a GPU copies from while the host goes on."""
        tiles = self.batch.tiles
        batch = Batch(
            token_ids=self.batch.token_ids.pin_memory(),
            positions=self.batch.positions.pin_memory(),
            lengths=self.batch.lengths,
            first_positions=self.batch.first_positions,
            tiles=None if tiles is None else tiles.pin_memory(),
        )
        return replace(self, batch=batch, targets=self.targets.pin_memory(), weights=self.weights.pin_memory())


def pack(source: RowSource, cursor: int, batch_index: int, tokens: int) -> TrainingBatch:
    """Rows from `cursor` on until the next would not fit (it opens the next batch), then filler. Always `tokens` tokens.

    A fixed size keeps every matrix product at one shape, for which oneDNN then has a compiled kernel (`docs/log.md`).
    """
    rows: list[Row] = []
    room = tokens
    for row in _rows_that_fit(source, cursor, tokens):
        rows.append(row)
        room -= len(row.stream)
    cursor += len(rows)
    if room:
        filler = source.filler(batch_index, room)
        if len(filler.stream) != room:
            raise ValueError(f"filler {batch_index} has {len(filler.stream)} tokens, but {room} were asked for; a batch has a fixed size")
        rows.append(filler)
    return _packed(rows, cursor)


def _rows_that_fit(source: RowSource, cursor: int, room: int) -> Iterator[Row]:
    tokens = room
    while True:
        row = source.row(cursor)
        size = len(row.stream)
        if size > tokens:
            raise ValueError(f"row {cursor} ({row.kind}) has {size} tokens, more than a batch of {tokens}; cut it or enlarge the batch")
        if size > room:
            return
        yield row
        cursor += 1
        room -= size


def _packed(rows: Sequence[Row], cursor: int) -> TrainingBatch:
    targets, weights = zip(*(next_tokens(row.stream, row.weight) for row in rows), strict=True)
    return TrainingBatch(
        batch=Batch.from_streams([row.stream for row in rows]),
        targets=torch.from_numpy(np.concatenate(targets)),
        weights=torch.from_numpy(np.concatenate(weights)),
        groups={grouping: tuple(row.group(grouping) for row in rows) for grouping in GROUPINGS},
        scored=tuple(int((weight > 0).sum()) for weight in weights),
        cursor=cursor,
    )


def pack_step(source: RowSource, cursor: int, step: int, tokens: int, batches: int) -> list[TrainingBatch]:
    """The batches of one step, one after another; their shares of the step's loss are those of their weights."""
    packed: list[TrainingBatch] = []
    for place in range(batches):
        packed.append(pack(source, cursor, step * batches + place, tokens))
        cursor = packed[-1].cursor
    weights = [float(data.weights.double().sum()) for data in packed]
    total = sum(weights)
    return [replace(data, share=weight / total if total else 1 / batches) for data, weight in zip(packed, weights, strict=True)]


def next_tokens(stream: Stream, weight: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Targets and loss weights of one stream: each token predicts the next; the last one, and what the mask excludes, score nothing."""
    ids = np.asarray(stream.token_ids, dtype=np.int64)
    targets = np.concatenate((ids[1:], ids[:1]))
    weights = np.full(len(ids), weight, dtype=np.float32)
    if stream.loss_mask is not None:
        weights[:-1] *= stream.loss_mask[1:]
    weights[-1] = 0.0
    return targets, weights
