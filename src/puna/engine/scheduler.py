"""Who runs in the next step, and with how many tokens. Knows no tensors.

A step has room for `step_tokens` tokens. Running sequences that decode take theirs first; what is left goes to prompts, in pieces, in
order of rank; then waiting requests are admitted, strictly in order: nobody is let past a request that does not fit yet. So a long prompt
delays running streams by no more than one step's tokens, and no request waits behind a later one of equal priority.

If pages run out under a running sequence, the one of the last rank gives all of its own back and waits again at its old place
(preemption); later it computes them anew, as far as they are not kept.
"""

import heapq
import time
from collections.abc import Callable
from collections.abc import Sequence as Items
from typing import NamedTuple

from puna.engine.kv_memory import KVMemory
from puna.engine.pages import Missing
from puna.engine.sequence import Sequence

Propose = Callable[[Sequence, int], list[int]]


class Work(NamedTuple):
    """Compute `count` known tokens of a sequence, and its drafts behind them."""

    sequence: Sequence
    count: int


class Scheduler:
    """`waiting` is a heap by rank, `running` a list. `propose(sequence, most)` drafts tokens for a sequence that decodes."""

    def __init__(self, memory: KVMemory, max_streams: int, step_tokens: int, propose: Propose | None = None) -> None:
        self.memory, self.max_streams, self.step_tokens, self.propose = memory, max_streams, step_tokens, propose
        self.running: list[Sequence] = []
        self._waiting: list[tuple[tuple[int, int], Sequence]] = []
        self.num_preempted = 0

    @property
    def waiting(self) -> list[Sequence]:
        """Those that wait, first to last."""
        return [sequence for _, sequence in sorted(self._waiting, key=lambda entry: entry[0])]

    @property
    def has_work(self) -> bool:
        return bool(self.running or self._waiting)

    def add(self, sequence: Sequence) -> None:
        heapq.heappush(self._waiting, (sequence.rank, sequence))

    def remove(self, sequence: Sequence, damaged: bool = False) -> None:
        """A sequence is done, or nobody wants it any more: its pages are free at once."""
        if sequence in self.running:
            self.running.remove(sequence)
        else:
            self._waiting = [entry for entry in self._waiting if entry[1] is not sequence]
            heapq.heapify(self._waiting)
        self.memory.release(sequence.pages, sequence.names, damaged)

    def preempt(self, sequence: Sequence) -> None:
        """Back to waiting, at its old place; what it had computed is let go."""
        self.running.remove(sequence)
        self.memory.release(sequence.pages, sequence.names)
        sequence.num_computed = 0
        sequence.drafts = []
        self.num_preempted += 1
        self.add(sequence)

    def next_step(self) -> list[Work]:
        """The step's work; every token in it has its pages."""
        self.running.sort(key=lambda sequence: sequence.rank)
        work: dict[Sequence, int] = {}
        budget = self.step_tokens
        preempted_before = self.num_preempted
        for sequence in list(self.running):
            if budget and sequence in self.running and sequence.num_left == 1:
                others = len(self.running) - len(work) - 1
                budget -= self._decode(sequence, budget, others, work)
        for sequence in list(self.running):
            if budget and sequence in self.running and sequence not in work:
                budget -= self._prefill(sequence, budget, work)
        while budget and self._waiting and len(self.running) < self.max_streams and self.num_preempted == preempted_before:
            sequence = self._waiting[0][1]
            if not self._admit(sequence):
                break
            budget -= self._prefill(sequence, budget, work)
        return [Work(sequence, count) for sequence, count in work.items()]

    def _decode(self, sequence: Sequence, budget: int, others: int, work: dict[Sequence, int]) -> int:
        """Room for one token and the drafts behind it, as many as there are pages for without taking anybody's; tokens used.

        Each of the `others` that run and have no work yet keeps a token of the budget.
        """
        first = sequence.num_computed
        most = min(budget - 1 - others, sequence.limit - sequence.length - 1)
        sequence.drafts = self.propose(sequence, most) if self.propose is not None and most > 0 else []
        if sequence.drafts and not self.memory.reserve(sequence.pages, first, first + 1 + len(sequence.drafts)):
            sequence.drafts = []
        if not self._reserve(sequence, first + 1, work):
            return 0
        work[sequence] = 1
        return 1 + len(sequence.drafts)

    def _prefill(self, sequence: Sequence, budget: int, work: dict[Sequence, int]) -> int:
        """A piece of a prompt; tokens used."""
        first = sequence.num_computed
        count = min(sequence.num_left, budget)
        chunk = self.memory.layout.chunk
        if chunk and not self.memory.reserve(sequence.pages, first, first + count):
            count = min(count, chunk - first % chunk)  # less at once: pages of one chunk alone
        if not self._reserve(sequence, first + count, work):
            return 0
        work[sequence] = count
        return count

    def _reserve(self, sequence: Sequence, end: int, work: dict[Sequence, int]) -> bool:
        """Pages up to token `end`, if need be those of sequences behind this one; False if it had to give its own back."""
        while not self.memory.reserve(sequence.pages, sequence.num_computed, end):
            last = max(self.running, key=lambda each: each.rank)
            work.pop(last, None)
            self.preempt(last)
            if last is sequence:
                return False
        return True

    def _admit(self, sequence: Sequence) -> bool:
        """Let the first in line in, if its whole prompt has room beside those who run."""
        memory, layout = self.memory, self.memory.layout
        names = sequence.name_pages(sequence.length, layout.tokens_per_page)
        kept = memory.begin(sequence.pages, names, self._most_kept(sequence))
        owed = [self._owed(each) for each in (*(each for each in self.running if each.num_left > 1), sequence)]
        if not memory.has_room(sum(each.num_global for each in owed), sum(each.num_local for each in owed)):
            memory.release(sequence.pages)
            return False
        heapq.heappop(self._waiting)
        self.running.append(sequence)
        sequence.num_computed = kept.num_tokens
        if not sequence.has_run:  # later, after a preemption, what is at hand may be its own
            sequence.generation.cached_tokens = min(kept.num_tokens, sequence.num_prompt)
            sequence.generation.started_s = time.perf_counter()
        sequence.has_run = True
        return True

    def _owed(self, sequence: Sequence) -> Missing:
        """Pages that a sequence's prompt has yet to take, and the token after it."""
        layout, pages = self.memory.layout, sequence.pages
        num_local = sum(len(numbers) for numbers in pages.local_pages.values())
        length = sequence.length + 1
        return Missing(max(0, layout.num_global(length) - len(pages.global_pages)), max(0, layout.num_local(length) - num_local))

    @staticmethod
    def _most_kept(sequence: Sequence) -> int:
        """How many tokens need not be computed: all but the last, whose hidden state gives the next; none if every token is looked at."""
        request = sequence.generation.request
        looks = request.prompt_logprobs is not None or request.watch.expert_ids
        if looks:
            return 0
        rows = [row for row in request.watch.attention_rows if 0 <= row < sequence.length]
        return min([sequence.length - 1, *rows])


def total_tokens(work: Items[Work]) -> int:
    """Tokens of a step, drafts included."""
    return sum(each.count + len(each.sequence.drafts) for each in work)
