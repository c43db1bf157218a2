"""A contiguous hybrid cache of one or more sequences: NoPE layers keep everything, local layers only the open chunk.

Keys are kept after RoPE and QK norm; the temperature touches only queries, so the cache is free of it. [stated]

Letters: T new tokens, S kept positions, N query heads, K key/value heads, H head width.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from puna.config import LayerSpec, ModelConfig
from puna.kernels.attention import cached_attention
from puna.model import Batch


class _Growing:
    """Rows that are appended at the end and dropped at the front; room doubles, so appending costs constant time on average."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None
        self.length = 0

    def append(self, new: Tensor) -> None:
        needed = self.length + new.shape[0]
        if self.rows is None or needed > self.rows.shape[0]:
            grown = new.new_empty(max(64, 2 * needed), *new.shape[1:])
            if self.rows is not None:
                grown[: self.length] = self.rows[: self.length]
            self.rows = grown
        self.rows[self.length : needed] = new
        self.length = needed

    def clear(self) -> None:
        self.length = 0

    def view(self) -> Tensor:
        assert self.rows is not None, "nothing was appended yet"
        return self.rows[: self.length]


class HybridCache:
    """Implements `puna.model.KVCache`. Sequence i of every batch continues sequence i of the batches before.

    `next_positions[i]` is where sequence i goes on; give it to `Batch.from_streams` as `first_positions`. An empty stream sits a
    batch out. `attend` is how a piece of a sequence attends: another one with the same contract makes it batch-invariant.
    """

    def __init__(
        self, config: ModelConfig, num_sequences: int = 1, attend: Callable[[Tensor, Tensor, Tensor, float], Tensor] = cached_attention
    ) -> None:
        self.layers = config.layers()
        self._attend = attend
        self.next_positions = [0] * num_sequences
        self._keys = [[_Growing() for _ in self.layers] for _ in range(num_sequences)]
        self._values = [[_Growing() for _ in self.layers] for _ in range(num_sequences)]

    def attend(self, layer: LayerSpec, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, batch: Batch, scale: float) -> Tensor:
        """Keep this batch's keys and values and attend; `[T, N, H]`."""
        if layer.index == 0:
            self._check(batch)
        outputs, row = [], 0
        for i, length in enumerate(batch.lengths):
            rows = slice(row, row + length)
            row += length
            first = batch.first_positions[i]
            outputs.append(self._attend_one(i, layer, first, q_TNH[rows], k_TKH[rows], v_TKH[rows], scale))
            if layer.index == len(self.layers) - 1:
                self.next_positions[i] = first + length
        return torch.cat(outputs)

    def _attend_one(self, i: int, layer: LayerSpec, first: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """One sequence, cut at the chunk edges that its new tokens cross: each piece sees its own chunk only."""
        keys, values = self._keys[i][layer.index], self._values[i][layer.index]
        pieces, done = [q[:0]], 0
        while done < len(q):
            position = first + done
            if layer.chunk is not None and position % layer.chunk == 0:
                keys.clear()
                values.clear()
            size = len(q) - done if layer.chunk is None else min(len(q) - done, layer.chunk - position % layer.chunk)
            piece = slice(done, done + size)
            keys.append(k[piece])
            values.append(v[piece])
            pieces.append(self._attend(q[piece], keys.view(), values.view(), scale))
            done += size
        return torch.cat(pieces)

    def _check(self, batch: Batch) -> None:
        if len(batch.lengths) != len(self.next_positions) or list(batch.first_positions) != self.next_positions:
            raise ValueError(
                f"the batch continues at {list(batch.first_positions)}, the cache stands at {self.next_positions}: "
                "one batch sequence per cached one, each going on where it ended"
            )

    @property
    def num_bytes(self) -> int:
        """Bytes of the keys and values that are kept (spare room left out)."""
        stores = [store for sequence in (*self._keys, *self._values) for store in sequence if store.length]
        return sum(store.view().numel() * store.view().element_size() for store in stores)
