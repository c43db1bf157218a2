"""Stages by steps and by the clock, and what a run says of itself."""

import math
from typing import Any

import pytest

from puna.testing.training import Alphabets, tiny_run
from puna.train import Stage
from puna.train.packing import Row
from puna.train.run import fingerprint


def stage(**fields: Any) -> Stage:
    return Stage(**(dict(name="main", source=Alphabets()) | fields))


def test_a_stage_by_steps_knows_nothing_of_time() -> None:
    one = stage(steps=10, warmup=2, decay=4, peak=0.5)
    assert [round(one.rate(step, 1e9), 3) for step in (0, 1, 5, 8, 9)] == [0.25, 0.5, 0.5, 0.25, 0.125]
    assert [one.left(step, 1e9) for step in (0, 9, 10, 12)] == [10, 1, 0, -2]
    assert [one.progress(step, 1e9) for step in (0, 5, 10, 12)] == [0, 0.5, 1, 1]


def test_a_stage_by_the_clock_warms_up_by_steps_and_decays_by_time() -> None:
    one = stage(minutes=2, warmup=4, decay_minutes=1)
    assert one.rate(0, 0.0) == 0.25 and one.rate(100, 59.0) == 1.0
    assert one.rate(100, 90.0) == pytest.approx(0.5) and one.rate(100, 119.0) == pytest.approx(1 / 60)
    assert one.left(10**9, 119.5) == 0.5 and one.left(0, 120.0) == 0
    assert one.progress(10**9, 30.0) == 0.25 and one.progress(0, 500.0) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (dict(), "exactly one"),
        (dict(steps=3, minutes=1.0), "exactly one"),
        (dict(steps=3, decay_minutes=1.0), "ends by steps"),
        (dict(minutes=3.0, decay=10), "ends by minutes"),
    ],
)
def test_a_stage_ends_by_steps_or_by_the_clock_and_decays_in_the_same_unit(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"'main'.*{words}"):
        stage(**fields)


@pytest.mark.parametrize(
    "changes",
    [dict(stages=()), dict(stages=(stage(steps=1), stage(steps=2))), dict(batches_per_step=0), dict(row_processes=-1)],
)
def test_a_run_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="stages|at least 1"):
        tiny_run(**changes)


def test_settings_name_what_was_changed() -> None:
    def changed(**changes: Any) -> set[str]:
        one, other = tiny_run().settings(), tiny_run(**changes).settings()
        return {name for name in one.keys() | other.keys() if one.get(name, math.nan) != other.get(name, math.nan)}

    assert changed() == set()
    assert changed(lr=0.5) == {"lr"}
    assert changed(stages=(stage(steps=6, warmup=2), Stage(name="cool", steps=3, decay=2, source=Alphabets()))) == {"stages[1].steps"}


def test_a_fingerprint_is_that_of_the_rows() -> None:
    class Heavier(Alphabets):
        def row(self, index: int) -> Row:
            return super().row(index)._replace(weight=2.0)

    class Later(Alphabets):
        def row(self, index: int) -> Row:
            return super().row(index + 1)

    prints = [fingerprint(source) for source in (Alphabets(), Alphabets(), Heavier(), Later())]
    assert prints[0] == prints[1] and len(set(prints)) == 3
