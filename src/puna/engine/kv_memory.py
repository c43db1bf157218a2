"""The engine's memory for keys and values: the two pools of pages, where their contents lie, and what is kept for later requests.

The scheduler asks before it takes: `reserve` either finds all pages that a stretch of tokens needs, letting go of kept beginnings if it
must, or takes none.
"""

from collections.abc import Sequence

import torch

from puna.config import ModelConfig
from puna.engine.pages import PageLayout, PagePool, SequencePages
from puna.engine.prefix import Kept, PrefixStore
from puna.engine.storage import PageStorage


class KVMemory:
    """Pages for `num_global` and `num_local` pages' worth of tokens. `keeps_prefixes`: whether beginnings outlive their sequence."""

    def __init__(
        self,
        config: ModelConfig,
        layout: PageLayout,
        num_global: int,
        num_local: int,
        dtype: torch.dtype,
        device: torch.device | str,
        keeps_prefixes: bool = True,
    ) -> None:
        self.layout = layout
        self.pools = {"global": PagePool(num_global), "local": PagePool(num_local)}
        layers = {"global": layout.global_layers, "local": layout.local_layers}
        self.storages = {
            kind: PageStorage(config, layers[kind], self.pools[kind].num_pages, layout.tokens_per_page, dtype, device)
            for kind in layers
            if layers[kind]
        }
        self.prefixes = PrefixStore(layout, self.pools["global"], self.pools["local"])
        self.keeps_prefixes = keeps_prefixes

    def reserve(self, pages: SequencePages, first: int, end: int) -> bool:
        """Give a sequence the pages that its tokens `first` to `end - 1` miss; False, and nothing is taken, if there are too few."""
        missing = pages.missing(first, end)
        if not self._make_room(missing.num_global, missing.num_local):
            return False
        taken = {"global": self.pools["global"].take(missing.num_global), "local": self.pools["local"].take(missing.num_local)}
        for kind, numbers in taken.items():
            if numbers:
                self.storages[kind].clear(numbers)
        pages.add(first, end, taken["global"], taken["local"])
        return True

    def has_room(self, num_global: int, num_local: int) -> bool:
        """Whether so many pages are free, or would be without kept beginnings."""
        return all(
            count <= self.pools[kind].num_free or count <= self.pools[kind].num_free + self.prefixes.num_spare(kind)
            for kind, count in (("global", num_global), ("local", num_local))
        )

    def begin(self, pages: SequencePages, names: Sequence[bytes], most: int) -> Kept:
        """Let a fresh sequence begin with kept pages, at most `most` tokens of them."""
        kept = self.prefixes.find(names, most) if self.keeps_prefixes else Kept(0, [], [])
        for kind, numbers in (("global", kept.global_pages), ("local", kept.local_pages)):
            for page in numbers:
                self.pools[kind].hold(page)
        pages.global_pages = list(kept.global_pages)
        if kept.local_pages:
            pages.local_pages = {self.layout.chunk_of(kept.num_tokens): list(kept.local_pages)}
        self.prefixes.touch(names[: kept.num_tokens // self.layout.tokens_per_page])
        return kept

    def commit(self, pages: SequencePages, names: Sequence[bytes], before: int, now: int) -> None:
        """A sequence's first `now` tokens are computed, `before` of them since long: keep whole pages for others, let closed chunks go."""
        if self.keeps_prefixes:
            per_page = self.layout.tokens_per_page
            for place in range(before // per_page, now // per_page):
                self.prefixes.offer(names[place], *self._ending_at(pages, place))
        for _, numbers in pages.closed(now):
            self._drop("local", numbers)
        surplus = pages.surplus(now)
        self._drop("global", surplus.global_pages)
        self._drop("local", surplus.local_pages)

    def release(self, pages: SequencePages, names: Sequence[bytes] = (), damaged: bool = False) -> None:
        """A sequence lets go of all its pages. What it computed stays kept, unless it is damaged."""
        if damaged:
            self.prefixes.forget(names)
        else:
            self.prefixes.touch(names)
        numbers = pages.clear()
        self._drop("global", numbers.global_pages)
        self._drop("local", numbers.local_pages)

    @property
    def num_bytes(self) -> int:
        return sum(storage.num_bytes for storage in self.storages.values())

    def _ending_at(self, pages: SequencePages, place: int) -> tuple[int | None, int | None]:
        """The pages that end where page number `place` of a sequence does."""
        end = (place + 1) * self.layout.tokens_per_page
        global_page = pages.global_pages[place] if self.layout.global_layers else None
        local_page = None
        if self.layout.chunk is not None and not (end - self.layout.tokens_per_page) % self.layout.chunk % self.layout.tokens_per_page:
            chunk, inside = divmod(end - self.layout.tokens_per_page, self.layout.chunk)
            if inside + self.layout.tokens_per_page <= self.layout.chunk and chunk in pages.local_pages:
                local_page = pages.local_pages[chunk][inside // self.layout.tokens_per_page]
        return global_page, local_page

    def _make_room(self, num_global: int, num_local: int) -> bool:
        if not self.has_room(num_global, num_local):
            return False
        return self.prefixes.make_room("global", num_global) and self.prefixes.make_room("local", num_local)

    def _drop(self, kind: str, numbers: Sequence[int]) -> None:
        for page in numbers:
            self.pools[kind].drop(page)
