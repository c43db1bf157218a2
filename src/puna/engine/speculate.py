"""Drafts: cheap guesses at the next tokens, which the model then checks all at once.

A draft decides nothing. The engine chooses a token at every drafted place as if it had decoded so far (the same distribution, the same
random number) and goes on for as long as its choice is the draft: so greedy and seeded answers are those of plain decoding, and sampled
ones follow the same distribution. For a guess that is a single token this is speculative sampling [paper: Leviathan et al. 2023]:
accepted with probability p(draft), and the token after a refusal comes from p without it.
"""

from typing import Protocol

import numpy as np


class Drafter(Protocol):
    """Guesses how token ids go on. `key` names the sequence, for those that keep something of it; `forget` says that it is over."""

    def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]: ...

    def forget(self, key: int) -> None: ...


class PromptLookup:
    """The text so far often repeats itself: find the last few tokens earlier in it, and guess what followed there [blog: Saxena 2023].

    Tries runs of `longest` tokens down to `shortest`, the latest match first.
    """

    def __init__(self, num_drafts: int = 4, longest: int = 4, shortest: int = 2) -> None:
        if not 1 <= shortest <= longest or num_drafts < 1:
            raise ValueError(f"num_drafts={num_drafts}, longest={longest}, shortest={shortest}: need 1 <= shortest <= longest and a draft")
        self.num_drafts, self.longest, self.shortest = num_drafts, longest, shortest

    def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]:
        most = min(most, self.num_drafts)
        for size in range(min(self.longest, len(token_ids) - 1), self.shortest - 1, -1):
            pattern = token_ids[-size:]
            windows = np.lib.stride_tricks.sliding_window_view(token_ids[:-1], size)
            hits = np.flatnonzero((windows == pattern).all(axis=1))
            if len(hits):
                after = int(hits[-1]) + size
                return token_ids[after : after + most].tolist()
        return []

    def forget(self, key: int) -> None:
        """Keeps nothing."""
