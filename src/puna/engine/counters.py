"""What an engine has done and what it is at, for whoever watches it."""

from dataclasses import dataclass
from typing import NamedTuple


class Counters(NamedTuple):
    """What an engine has done since it began.

    `near_ties`: greedy choices whose two best logits lay within bf16 rounding (counted where products are rounded to bf16).
    """

    steps: int
    tokens_computed: int
    tokens_sampled: int
    tokens_cached: int
    drafted: int
    accepted: int
    preempted: int
    near_ties: int
    tiles_computed: int


class PoolUse(NamedTuple):
    """Pages of one kind: held by requests, kept only for later ones, free."""

    total: int
    used: int
    kept: int
    free: int


class Load(NamedTuple):
    """What an engine is at: requests that run and that wait, and the pages of each kind ("global", "local")."""

    running: int
    waiting: int
    pages: dict[str, PoolUse]


@dataclass(slots=True)
class Counts:
    """The part of `Counters` that a step adds to."""

    steps: int = 0
    tokens_computed: int = 0
    tokens_sampled: int = 0
    tokens_cached: int = 0
    drafted: int = 0
    accepted: int = 0
    near_ties: int = 0
