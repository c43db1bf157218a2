"""Vision rows, computed once a tile and kept by content, so that a prompt may be cut inside a picture and a picture may come again.

Letters: M tiles, R rows of a tile, D model width.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from puna.model import Model


def digest_of(tile: np.ndarray) -> bytes:
    """A tile's name: 16 bytes that stand for its pixels."""
    return hashlib.blake2b(np.ascontiguousarray(tile).tobytes(), digest_size=16).digest()


class VisionRows:
    """The rows of recently used tiles, `max_bytes` of them.

    `one_by_one`: tiles go through the tower alone, for results that owe nothing to neighbours.
    """

    def __init__(self, model: Model, max_bytes: int, one_by_one: bool = False) -> None:
        self.model, self.max_bytes, self.one_by_one = model, max_bytes, one_by_one
        self._rows: OrderedDict[bytes, Tensor] = OrderedDict()
        self.num_computed = 0

    def of(self, digests: Sequence[bytes], tiles: Sequence[np.ndarray]) -> list[Tensor]:
        """`[R, D]` of each tile; those that are not at hand are computed, together if that is allowed."""
        fresh = {digest: tile for digest, tile in zip(digests, tiles, strict=True) if digest not in self._rows}
        for digest in digests:
            if digest in self._rows:
                self._rows.move_to_end(digest)
        if fresh:
            device = self.model.text.embed.weight.device
            for names in [[name] for name in fresh] if self.one_by_one else [list(fresh)]:
                stacked = torch.from_numpy(np.stack([fresh[name] for name in names])).to(device)
                for name, rows_RD in zip(names, self.model.embed_tiles(stacked).chunk(len(names)), strict=True):
                    self._rows[name] = rows_RD.clone()
            self.num_computed += len(fresh)
        found = [self._rows[digest] for digest in digests]
        while self.num_bytes > self.max_bytes and len(self._rows) > 1:
            self._rows.popitem(last=False)
        return found

    @property
    def num_bytes(self) -> int:
        return sum(rows.numel() * rows.element_size() for rows in self._rows.values())

    def clear(self) -> None:
        """Forget everything: new weights see differently."""
        self._rows.clear()
