"""Pages that outlive their sequence: a later request that begins with the same tokens and pictures goes on from them.

A name stands for everything up to the end of a page: the hash of the name before it, the page's token ids, and the contents of the
pictures in it. Under one name lie a global page and, as long as there is room, the local page that ends at the same place. A sequence may
begin at a place where all global pages before it are kept, and the local pages of the chunk that is open there: local layers look no
further back.

Whoever holds a page keeps it: the store lets go only of pages that nobody else holds, the least recently used first and, of one
beginning, the furthest first.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from puna.engine.pages import PageLayout, PagePool

_DIGEST_BYTES = 16


class Kept(NamedTuple):
    """A beginning that is at hand: its length in tokens, and the pages, not yet held."""

    num_tokens: int
    global_pages: list[int]
    local_pages: list[int]


def name_of(before: bytes, token_ids: np.ndarray, pictures: bytes) -> bytes:
    """The name of a page: of everything before it (`before`, empty at the start), its ids, and what its patch tokens show."""
    digest = hashlib.blake2b(before, digest_size=_DIGEST_BYTES)
    digest.update(np.ascontiguousarray(token_ids, dtype=np.int64).tobytes())
    digest.update(pictures)
    return digest.digest()


class PrefixStore:
    """Holds pages of both pools by name."""

    def __init__(self, layout: PageLayout, global_pool: PagePool, local_pool: PagePool) -> None:
        self.layout = layout
        self._pools = {"global": global_pool, "local": local_pool}
        self._pages: dict[str, OrderedDict[bytes, int]] = {"global": OrderedDict(), "local": OrderedDict()}

    def find(self, names: Sequence[bytes], most: int) -> Kept:
        """The longest beginning of at most `most` tokens whose pages are all at hand. `names` are those of its whole pages, in order."""
        per_page, chunk = self.layout.tokens_per_page, self.layout.chunk
        globals_, locals_ = self._pages["global"], self._pages["local"]
        count = min(len(names), most // per_page)
        if self.layout.global_layers:
            count = next((i for i in range(count) if names[i] not in globals_), count)
        opened: Sequence[bytes] = ()
        while count and chunk is not None and (inside := count * per_page % chunk):
            start = count * per_page - inside
            if start % per_page:  # no page ends where this chunk begins: none of its places will do
                count = start // per_page
                continue
            first = start // per_page
            run = next((i for i, name in enumerate(names[first:count]) if name not in locals_), count - first)
            opened, count = names[first : first + run], first + run  # at the chunk's edge if none of its pages is here
            break
        whole = [globals_[name] for name in names[:count]] if self.layout.global_layers else []
        return Kept(count * per_page, whole, [locals_[name] for name in opened])

    def offer(self, name: bytes, global_page: int | None, local_page: int | None) -> None:
        """Keep pages under a name; a name that has one already keeps that."""
        for kind, page in (("global", global_page), ("local", local_page)):
            if page is not None and name not in self._pages[kind]:
                self._pools[kind].hold(page)
                self._pages[kind][name] = page

    def touch(self, names: Sequence[bytes]) -> None:
        """These were used just now. The furthest will be let go of first."""
        for kept in self._pages.values():
            for name in reversed(names):
                if name in kept:
                    kept.move_to_end(name)

    def forget(self, names: Sequence[bytes]) -> None:
        """Let go of these: what they hold turned out to be damaged."""
        for kind, kept in self._pages.items():
            for name in names:
                if name in kept:
                    self._pools[kind].drop(kept.pop(name))

    def clear(self) -> None:
        """Let go of everything: after new weights no kept key is true any more."""
        for kind, kept in self._pages.items():
            while kept:
                self._pools[kind].drop(kept.popitem()[1])

    def num_spare(self, kind: str) -> int:
        """Pages that only the store holds: free as soon as somebody needs them."""
        pool = self._pools[kind]
        return sum(pool.num_holders(page) == 1 for page in self._pages[kind].values())

    def make_room(self, kind: str, num_pages: int) -> bool:
        """Let go until `num_pages` are free in the pool of `kind`; whether that was possible."""
        pool, kept = self._pools[kind], self._pages[kind]
        if pool.num_free >= num_pages:
            return True
        for name, page in list(kept.items()):
            if pool.num_holders(page) == 1:
                del kept[name]
                pool.drop(page)
                if pool.num_free >= num_pages:
                    return True
        return False

    @property
    def num_kept(self) -> dict[str, int]:
        return {kind: len(kept) for kind, kept in self._pages.items()}
