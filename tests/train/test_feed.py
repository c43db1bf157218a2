"""Batches ahead of time are the batches of their time, whoever makes their rows."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from puna.testing.training import Alphabets, tiny_run
from puna.train import Run, Stage
from puna.train.feed import Feed, batches_of, rows_of
from puna.train.packing import Row, TrainingBatch, pack_step


def two_stages(**changes: object) -> Run:
    class Backwards(Alphabets):
        def row(self, index: int) -> Row:
            row = super().row(index)
            return row._replace(kind="backwards", stream=type(row.stream)(row.stream.token_ids[::-1].copy()))

    stages = (Stage(name="main", steps=3, source=Alphabets()), Stage(name="back", minutes=1, source=Backwards()))
    return tiny_run(stages=stages, **changes)


@pytest.fixture(params=[0, 2])
def feed(request: pytest.FixtureRequest) -> Iterator[Feed]:
    one = Feed(two_stages(row_processes=request.param, batches_per_step=2))
    yield one
    one.close()


def same(one: list[TrainingBatch], other: list[TrainingBatch]) -> bool:
    return all(
        torch.equal(a.batch.token_ids, b.batch.token_ids) and a.groups == b.groups and a.share == b.share
        for a, b in zip(one, other, strict=True)
    )


def test_batches_are_those_of_stage_step_and_cursor(feed: Feed) -> None:
    cursor = 0
    for step, (stage, following) in enumerate([(0, 0), (0, 0), (0, 1), (1, 1), (1, 1)]):
        packed = feed.take(stage, step, cursor, following)
        assert same(packed, pack_step(feed.run.stages[stage].source, cursor, step, 64, 2))
        cursor = packed[-1].cursor
    assert cursor > 64  # several chunks of rows, and the ones behind are forgotten


def test_a_stage_that_a_clock_ends_throws_away_what_was_made_ahead(feed: Feed) -> None:
    packed = feed.take(0, 0, 0, 0)
    assert same(feed.take(1, 1, packed[-1].cursor, 1), pack_step(feed.run.stages[1].source, packed[-1].cursor, 1, 64, 2))


def test_rows_may_be_asked_for_in_any_order(feed: Feed) -> None:
    for index in (0, 300, 5, 64, 63):
        assert feed.sources[0].row(index).stream.token_ids.tolist() == Alphabets().row(index).stream.token_ids.tolist()


def test_rows_are_made_by_other_processes() -> None:
    class Signed(Alphabets):
        def row(self, index: int) -> Row:
            return super().row(index)._replace(kind=str(os.getpid()))

    feed = Feed(tiny_run(stages=(Stage(name="main", steps=3, source=Signed()),), row_processes=1))
    kinds = set(feed.take(0, 0, 0, None)[0].kinds)
    feed.close()
    assert str(os.getpid()) not in kinds and len(kinds - {"filler"}) == 1


def test_what_stops_a_whole_group_of_processes_leaves_the_rows_coming() -> None:
    """`timeout` and batch systems signal the group: the run saves and ends, and needs rows for its last step."""
    main = """
import os, signal
from puna.testing.training import Alphabets, tiny_run
from puna.train import Stage
from puna.train.feed import Feed
signal.signal(signal.SIGTERM, lambda *_: None)
feed = Feed(tiny_run(stages=(Stage(name="main", steps=3, source=Alphabets()),), row_processes=1))
os.killpg(0, signal.SIGTERM)
print(len(feed.take(0, 0, 0, None)))
feed.close()
"""
    told = subprocess.run([sys.executable, "-c", main], start_new_session=True, capture_output=True, text=True, timeout=120)
    assert told.stdout == "1\n", told.stderr


def test_a_mistake_in_a_process_comes_through_by_its_own_name() -> None:
    class Broken(Alphabets):
        def row(self, index: int) -> Row:
            raise LookupError("no such story")

    feed = Feed(tiny_run(stages=(Stage(name="main", steps=3, source=Broken()),), row_processes=1))
    with pytest.raises(LookupError, match="no such story"):
        feed.take(0, 0, 0, None)
    feed.close()


def test_rows_are_named_with_their_numbers_and_made_again_from_a_record() -> None:
    run = two_stages(batches_per_step=2)
    packed = pack_step(Alphabets(), 4, 2, 64, 2)
    rows = rows_of(packed, 4)
    assert [index for index, _, _ in rows if index >= 0] == list(range(4, packed[-1].cursor))
    assert [kind for index, kind, _ in rows if index < 0] == ["filler"] * sum(index < 0 for index, _, _ in rows)
    assert sum(tokens for _, _, tokens in rows) == 128
    assert same(batches_of(run, {"stage": "main", "step": 3, "cursor": 4}), packed)
