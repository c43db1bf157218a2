"""Seeded chance: every sample is a pure function of (purpose, seed, index), and training can never draw an evaluation's numbers.

The purpose ("train" or "eval") is part of the seed itself, so the two families of generators are disjoint by construction.
"""

import random
from typing import Literal

Purpose = Literal["train", "eval"]
_PURPOSES: dict[str, int] = {"train": 1, "eval": 2}
_LIMIT = 1 << 48


def generator(purpose: Purpose, seed: int, index: int) -> random.Random:
    """The generator of sample `index` in run `seed`."""
    if not 0 <= seed < _LIMIT or not 0 <= index < _LIMIT:
        raise ValueError(f"seed={seed} and index={index} must lie in [0, 2**48): each has its own bits of the generator's seed")
    return random.Random((_PURPOSES[purpose] << 96) | (seed << 48) | index)
