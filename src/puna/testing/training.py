"""A training run small enough to start, kill and resume in a test: spelled alphabets, learned by a tiny model in seconds."""

from typing import Any

import numpy as np

from puna.stream import Stream
from puna.testing.models import tiny_config
from puna.train import Run, Stage
from puna.train.packing import Row


class Alphabets:
    """Row i spells the alphabet from its letter i on, 3 to 12 letters of it; every third row is of kind "late". Filler is all one byte."""

    def row(self, index: int) -> Row:
        length = 3 + index * 7 % 10
        ids = (index + np.arange(length)) % 26 + ord("a")
        return Row("late" if index % 3 == 0 else "plain", Stream(ids.astype(np.int64)))

    def filler(self, index: int, num_tokens: int) -> Row:
        return Row("filler", Stream(np.full(num_tokens, ord("."), dtype=np.int64)))


def tiny_run(**changes: Any) -> Run:
    """Eight steps of 64 tokens over `Alphabets` on a text-only tiny model, unfused; `changes` replace fields."""
    fields: dict[str, Any] = dict(
        config=tiny_config(vision=None, num_layers=4, moe_layers=(1, 3), nope_layers=(3,), initializer_range=0.05),
        stages=(Stage(name="main", steps=6, warmup=2, source=Alphabets()), Stage(name="cool", steps=2, decay=2, source=Alphabets())),
        tokens_per_batch=64,
        lr=1e-2,
        weight_decay=0.01,
        fuse=False,
        log_every=2,
    )
    return Run(**(fields | changes))
