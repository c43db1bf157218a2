import pytest

from puna.train.schedule import warmup_stable_decay


def test_it_rises_stays_and_falls_to_a_step_before_nothing() -> None:
    shape = [round(warmup_stable_decay(s, warmup=4, total=12, decay=3), 6) for s in range(12)]
    assert shape == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1, round(2 / 3, 6), round(1 / 3, 6)]


def test_every_step_learns_something() -> None:
    assert all(0 < warmup_stable_decay(s, warmup=7, total=20, decay=13) <= 1 for s in range(20))


def test_without_warmup_and_decay_it_is_one() -> None:
    assert [warmup_stable_decay(s, warmup=0, total=3, decay=0) for s in range(3)] == [1, 1, 1]


def test_it_falls_to_the_floor_and_no_further() -> None:
    assert [warmup_stable_decay(s, warmup=0, total=4, decay=4, floor=0.4) for s in range(4)] == [1, 0.75, 0.5, 0.4]


def test_a_decay_over_the_whole_stage_is_a_line() -> None:
    assert [warmup_stable_decay(s, warmup=0, total=5, decay=5) for s in range(5)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
