"""Pages of the key/value cache as numbers: who holds which, how many are free, what a sequence needs. Knows no tensors.

A page has room for `tokens_per_page` tokens in every layer of its kind. There are two kinds. Global (NoPE) layers keep a whole sequence;
local layers keep one chunk while it is open, so a sequence's need for local pages stops growing at the chunk's length. A page may be held
by several owners (sequences with the same beginning, the prefix store) and is free when the last one lets go.
"""

from dataclasses import dataclass
from typing import NamedTuple

from puna.config import ModelConfig


class OutOfPages(RuntimeError):
    """More pages were asked for than are free: the scheduler's accounting is wrong, since it asks before it takes."""


class PagePool:
    """Pages 0 to `num_pages - 1`, each with the number of its holders."""

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self._free = list(range(num_pages - 1, -1, -1))
        self._holders = [0] * num_pages

    @property
    def num_free(self) -> int:
        return len(self._free)

    def take(self, count: int) -> list[int]:
        """`count` free pages, held once."""
        if count > len(self._free):
            raise OutOfPages(f"{count} pages were asked for and {len(self._free)} of {self.num_pages} are free")
        taken = [self._free.pop() for _ in range(count)]
        for page in taken:
            self._holders[page] = 1
        return taken

    def hold(self, page: int) -> None:
        """One more holder of a page that is held already."""
        assert self._holders[page] > 0, f"page {page} is free"
        self._holders[page] += 1

    def drop(self, page: int) -> None:
        """One holder fewer; the last one frees the page."""
        assert self._holders[page] > 0, f"page {page} is free already"
        self._holders[page] -= 1
        if not self._holders[page]:
            self._free.append(page)

    def num_holders(self, page: int) -> int:
        return self._holders[page]


@dataclass(frozen=True, slots=True)
class PageLayout:
    """Which layers share a kind of page, and how many pages a stretch of tokens needs."""

    tokens_per_page: int
    chunk: int | None
    global_layers: tuple[int, ...]
    local_layers: tuple[int, ...]

    @classmethod
    def of(cls, config: ModelConfig, tokens_per_page: int) -> "PageLayout":
        layers = config.layers()
        local = tuple(layer.index for layer in layers if layer.is_local)
        return cls(tokens_per_page, config.chunk if local else None, tuple(i for i in range(len(layers)) if i not in local), local)

    def pages_for(self, num_tokens: int) -> int:
        """Pages of one kind for `num_tokens` consecutive tokens that begin a page."""
        return -(-num_tokens // self.tokens_per_page)

    def num_global(self, num_tokens: int) -> int:
        """Global pages of a sequence of `num_tokens`."""
        return self.pages_for(num_tokens) if self.global_layers else 0

    def num_local(self, num_tokens: int) -> int:
        """The most local pages that a sequence of `num_tokens` holds between two steps: those of a chunk, or of all tokens if fewer."""
        return self.pages_for(min(num_tokens, self.chunk)) if self.chunk else 0

    def chunk_of(self, position: int) -> int:
        assert self.chunk is not None
        return position // self.chunk

    def can_resume_at(self, position: int) -> bool:
        """Whether whole pages of both kinds end at `position`, so that a sequence can begin there with another's pages.

        Then the open chunk's local pages end where global ones do, and one name in the prefix store stands for both.
        """
        return position % self.tokens_per_page == 0 and (self.chunk is None or position % self.chunk % self.tokens_per_page == 0)


class SequencePages:
    """The pages of one sequence: `global_pages` in order, and those of each chunk that is still open, by the chunk's number."""

    def __init__(self, layout: PageLayout) -> None:
        self.layout = layout
        self.global_pages: list[int] = []
        self.local_pages: dict[int, list[int]] = {}

    def missing(self, first: int, end: int) -> "Missing":
        """How many pages of each kind tokens `first` to `end - 1` need beyond those that are here."""
        layout = self.layout
        local = sum(self._wanted_in(chunk, end) - len(self.local_pages.get(chunk, ())) for chunk in self._chunks(first, end))
        return Missing(max(0, layout.num_global(end) - len(self.global_pages)), local)

    def add(self, first: int, end: int, global_pages: list[int], local_pages: list[int]) -> None:
        """Put pages, as many as `missing(first, end)` said, where they belong."""
        self.global_pages += global_pages
        for chunk in self._chunks(first, end):
            here = self.local_pages.setdefault(chunk, [])
            count = self._wanted_in(chunk, end) - len(here)
            here += local_pages[:count]
            local_pages = local_pages[count:]

    def closed(self, num_tokens: int) -> list[tuple[int, list[int]]]:
        """Take out the chunks that ended before token `num_tokens`: number and pages of each."""
        if not self.layout.chunk:
            return []
        done = sorted(chunk for chunk in self.local_pages if (chunk + 1) * self.layout.chunk <= num_tokens)
        return [(chunk, self.local_pages.pop(chunk)) for chunk in done]

    def surplus(self, num_tokens: int) -> "Pages":
        """Take out what lies beyond token `num_tokens`: pages of drafts that were not accepted."""
        layout = self.layout
        keep = layout.num_global(num_tokens)
        spare_global, self.global_pages = self.global_pages[keep:], self.global_pages[:keep]
        spare_local: list[int] = []
        for chunk in list(self.local_pages):
            keep = max(0, self._wanted_in(chunk, num_tokens))
            spare_local += self.local_pages[chunk][keep:]
            self.local_pages[chunk] = self.local_pages[chunk][:keep]
            if not keep:
                del self.local_pages[chunk]
        return Pages(spare_global, spare_local)

    def clear(self) -> "Pages":
        """Take out everything."""
        return self.surplus(0)

    def _chunks(self, first: int, end: int) -> range:
        chunk = self.layout.chunk
        return range(first // chunk, (end - 1) // chunk + 1) if chunk and end > first else range(0)

    def _wanted_in(self, chunk: int, end: int) -> int:
        """Pages of chunk number `chunk` in a sequence of `end` tokens."""
        assert self.layout.chunk is not None
        start = chunk * self.layout.chunk
        return self.layout.pages_for(min(end - start, self.layout.chunk))


class Missing(NamedTuple):
    """Counts of pages."""

    num_global: int
    num_local: int


class Pages(NamedTuple):
    """Pages of both kinds, by number."""

    global_pages: list[int]
    local_pages: list[int]
