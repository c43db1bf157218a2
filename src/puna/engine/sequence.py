"""One request under way: its tokens so far, what of them is computed, its pages, and the names of its whole pages."""

from collections.abc import Sequence as Items

import numpy as np

from puna.engine.pages import PageLayout, SequencePages
from puna.engine.prefix import name_of
from puna.engine.request import Generation
from puna.engine.sampling import Sampler
from puna.engine.vision_rows import digest_of
from puna.stream import Stream


class Content:
    """The tokens of a sequence as they grow, the tiles behind its patch tokens, and the names of its whole pages.

    A name stands for all that came before: see `puna.engine.prefix`.
    """

    def __init__(self, prompt: Stream, patch_id: int) -> None:
        self.num_prompt = self.length = len(prompt)
        self._ids = np.empty(len(prompt) + 64, dtype=np.int64)
        self._ids[: len(prompt)] = prompt.token_ids
        self.names: list[bytes] = []
        self._tiles = None if prompt.tiles is None else prompt.tiles.copy()  # names stand for what the caller's buffer holds now
        self._digests = [digest_of(tile) for tile in prompt.tiles] if prompt.tiles is not None else []
        is_patch = np.asarray(prompt.token_ids) == patch_id
        self._patches_before = np.concatenate([[0], is_patch.cumsum()])
        self._rows_per_tile = int(self._patches_before[-1]) // len(self._digests) if self._digests else 1

    @property
    def ids(self) -> np.ndarray:
        """All known token ids; a view, not to be kept."""
        return self._ids[: self.length]

    def append(self, token: int) -> None:
        if self.length == len(self._ids):
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)])
        self._ids[self.length] = token
        self.length += 1

    def tiles_in(self, first: int, end: int) -> range:
        """The numbers of the tiles that patch tokens among `first .. end - 1` belong to."""
        first, end = min(first, self.num_prompt), min(end, self.num_prompt)
        before, after = int(self._patches_before[first]), int(self._patches_before[end])
        return range(before // self._rows_per_tile, -(-after // self._rows_per_tile)) if after > before else range(0)

    def rows_in(self, first: int, end: int) -> slice:
        """Where the rows of those patch tokens lie among all rows of `tiles_in(first, end)`."""
        first, end = min(first, self.num_prompt), min(end, self.num_prompt)
        before, after = int(self._patches_before[first]), int(self._patches_before[end])
        skipped = before // self._rows_per_tile * self._rows_per_tile
        return slice(before - skipped, after - skipped)

    def tiles(self, numbers: Items[int]) -> tuple[list[bytes], list[np.ndarray]]:
        """Names and pixels of tiles."""
        assert self._tiles is not None or not numbers
        return [self._digests[i] for i in numbers], [self._tiles[i] for i in numbers] if self._tiles is not None else []

    def name_pages(self, num_tokens: int, per_page: int) -> list[bytes]:
        """The names of all whole pages among the first `num_tokens` tokens."""
        while (len(self.names) + 1) * per_page <= num_tokens:
            first = len(self.names) * per_page
            before = self.names[-1] if self.names else b""
            self.names.append(name_of(before, self.ids[first : first + per_page], self._pictures(first, first + per_page)))
        return self.names

    def _pictures(self, first: int, end: int) -> bytes:
        """What the patch tokens among `first .. end - 1` show: their tiles' names, and where in the first tile they begin."""
        numbers = self.tiles_in(first, end)
        if not numbers:
            return b""
        start = int(self._patches_before[min(first, self.num_prompt)]) % self._rows_per_tile
        return start.to_bytes(4, "little") + b"".join(self._digests[i] for i in numbers)


class Sequence(Content):
    """A request under way: of its `length` known tokens (prompt and answer), the first `num_computed` have their keys in pages.

    `rank` orders sequences, smaller first: priority, then arrival. `limit` is the length at which the answer must end.
    """

    def __init__(self, generation: Generation, sampler: Sampler, layout: PageLayout, patch_id: int, limit: int) -> None:
        super().__init__(generation.request.prompt, patch_id)
        self.generation, self.sampler, self.limit = generation, sampler, limit
        self.rank = (generation.request.priority, generation.id)
        self.num_computed = 0
        self.has_run = False
        self.pages = SequencePages(layout)
        self.drafts: list[int] = []
        self.draft_rest = self._refusals = 0

    @property
    def num_left(self) -> int:
        """Known tokens that are not computed: 1 while it decodes."""
        return self.length - self.num_computed

    def judge_drafts(self, accepted: int) -> None:
        """A guess costs a place in the batch. After drafts of which none was accepted, rest for 1, 3, 7, ... 31 tokens."""
        self._refusals = 0 if accepted else min(self._refusals + 1, 5)
        self.draft_rest = 2**self._refusals - 1

    def next_ids(self, count: int) -> np.ndarray:
        """The ids of the next step: `count` known ones, and the drafts behind them."""
        known = self.ids[self.num_computed : self.num_computed + count]
        return np.concatenate([known, self.drafts]).astype(np.int64) if self.drafts else known.copy()
