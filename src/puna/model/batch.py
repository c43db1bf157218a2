"""`Batch`: several streams packed end to end, each token with its true position. No pad token exists here or above.

Letters: T tokens of the batch, M tiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from puna.config import LayerSpec
from puna.kernels.attention import Plan, plan_packing, segments
from puna.stream import Stream


@dataclass(slots=True)
class Batch:
    """What one model call reads.

    `token_ids`, `positions`: int64 `[T]`. `lengths` and `first_positions`: one entry a sequence, in order; a sequence's first token
    stands at `first_positions[i]` (0 without a cache). `tiles` `[M, 3, h, w]` fill the patch tokens in order of appearance; or
    `vision_rows` `[R, D]`, computed before, one a patch token: an engine may cut a picture anywhere.
    """

    token_ids: Tensor
    positions: Tensor
    lengths: tuple[int, ...]
    first_positions: tuple[int, ...]
    tiles: Tensor | None = None
    vision_rows: Tensor | None = None
    _plans: dict[int | None, Plan] = field(default_factory=dict)

    @classmethod
    def from_streams(
        cls, streams: Sequence[Stream], first_positions: Sequence[int] | None = None, device: torch.device | str = "cpu"
    ) -> "Batch":
        """Pack streams end to end. `first_positions` are the positions at which they continue (default: 0)."""
        firsts = tuple(first_positions) if first_positions is not None else (0,) * len(streams)
        positions = np.concatenate([np.arange(first, first + len(s)) for first, s in zip(firsts, streams, strict=True)])
        tiles = [s.tiles for s in streams if s.tiles is not None and len(s.tiles)]
        return cls(
            token_ids=torch.from_numpy(np.concatenate([s.token_ids for s in streams]).astype(np.int64)).to(device),
            positions=torch.from_numpy(positions.astype(np.int64)).to(device),
            lengths=tuple(len(s) for s in streams),
            first_positions=firsts,
            tiles=torch.from_numpy(np.concatenate(tiles)).to(device) if tiles else None,
        )

    def __len__(self) -> int:
        return self.token_ids.shape[0]

    def plan(self, chunk: int | None) -> Plan:
        """The attention plan of layers with this chunk, made at first use and shared by all of them."""
        if chunk not in self._plans:
            self._plans[chunk] = plan_packing(segments(self.lengths, self.first_positions, chunk), self.token_ids.device)
        return self._plans[chunk]


class KVCache(Protocol):
    """The contract between a decoder layer and whoever keeps keys and values. One implementation lives in `puna.engine.cache`."""

    def attend(self, layer: LayerSpec, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, batch: Batch, scale: float) -> Tensor:
        """Keep this batch's keys and values (after RoPE and QK norm, free of temperature) and attend: returns `[T, N, H]`."""
        ...
