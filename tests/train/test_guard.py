"""What counts as a spike, what is remembered, and how many may follow one another."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from puna.train.guard import Guard, History, Reading, SpikeRule, TrainingError, Where

WHERE = Where(7, "main", 20, [(20, "plain", 5), (21, "late", 6), (-1, "filler", 3)])
WAVE = [Reading(2 + 0.05 * (i % 5 - 2), 1 + 0.1 * (i % 3)) for i in range(40)]


def guard(tmp_path: Path, on_spike: str = "skip", **rule: float) -> Guard:
    return Guard(SpikeRule(**rule), on_spike, History(), tmp_path / "spikes.jsonl")  # type: ignore[arg-type]


def feed(watch: Guard, *readings: Reading) -> list[bool]:
    return [watch.is_spike({"tiny": reading}, lambda: WHERE) for reading in readings]


def records(tmp_path: Path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "spikes.jsonl").read_text().splitlines()]


def test_the_usual_wobble_is_no_spike(tmp_path: Path) -> None:
    assert not any(feed(guard(tmp_path), *WAVE, Reading(2.3, 3.0), Reading(1.0, 0.01)))
    assert not (tmp_path / "spikes.jsonl").exists()


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (Reading(float("nan"), 1.0), "is no number"),
        (Reading(2.0, float("inf")), "is no number"),
        (Reading(4.0, 1.0), "loss spikes above"),
        (Reading(2.0, 15.0), "gradient norm spikes above"),
    ],
)
def test_what_is_out_of_all_proportion_is_a_spike_and_is_written_down(tmp_path: Path, reading: Reading, why: str) -> None:
    assert feed(guard(tmp_path), *WAVE, reading)[-1]
    (record,) = records(tmp_path)
    assert why in record["why"]["tiny"]
    assert (record["step"], record["stage"], record["cursor"]) == (7, "main", 20)
    assert record["rows"] == [[20, "plain", 5], [21, "late", 6], [-1, "filler", 3]]


def test_a_loss_that_hardly_moves_may_move_a_little(tmp_path: Path) -> None:
    assert feed(guard(tmp_path), *[Reading(2.0, 1.0)] * 30, Reading(2.3, 1.0), Reading(2.5, 1.0))[-2:] == [False, True]


def test_the_first_steps_of_a_stage_are_judged_by_nothing_but_being_numbers(tmp_path: Path) -> None:
    watch = guard(tmp_path, least=24)
    assert not any(feed(watch, *WAVE[:23], Reading(50.0, 900.0)))
    watch.new_stage()
    assert not any(feed(watch, Reading(50.0, 900.0)))
    assert feed(watch, Reading(float("nan"), 1.0)) == [True]


def test_a_spike_is_not_remembered_as_usual(tmp_path: Path) -> None:
    watch = guard(tmp_path)
    assert feed(watch, *WAVE, Reading(4.0, 1.0), Reading(4.0, 1.0), Reading(2.0, 1.0))[-3:] == [True, True, False]
    assert watch.history.skipped == 2 and watch.history.skipped_in_a_row == 0


def test_stopping_says_where_and_what_to_do(tmp_path: Path) -> None:
    watch = guard(tmp_path, "stop")
    feed(watch, *WAVE)
    with pytest.raises(TrainingError, match=r"step 7 \(main\): tiny has loss=4, .*rows 20 to 21.*spikes.jsonl.*on_spike='skip'"):
        feed(watch, Reading(4.0, 1.0))
    assert len(records(tmp_path)) == 1


def test_too_many_skips_in_a_row_stop_the_run(tmp_path: Path) -> None:
    watch = guard(tmp_path, most_skips=2)
    feed(watch, *WAVE, Reading(9.0, 1.0), Reading(9.0, 1.0))
    with pytest.raises(TrainingError, match="2 steps before it were skipped too"):
        feed(watch, Reading(9.0, 1.0))


def test_each_model_has_its_own_past_and_one_spike_is_enough(tmp_path: Path) -> None:
    watch = guard(tmp_path)
    for reading in WAVE:
        assert not watch.is_spike({"small": reading, "large": Reading(reading.loss * 10, reading.norm)}, lambda: WHERE)
    assert not watch.is_spike({"small": Reading(2.0, 1.0), "large": Reading(20.0, 1.0)}, lambda: WHERE)
    assert watch.is_spike({"small": Reading(20.0, 1.0), "large": Reading(20.0, 1.0)}, lambda: WHERE)
    assert list(records(tmp_path)[0]["why"]) == ["small"]


def test_what_is_remembered_survives_a_checkpoint(tmp_path: Path) -> None:
    watch = guard(tmp_path)
    feed(watch, *WAVE, Reading(9.0, 1.0))
    assert History.from_json(json.loads(json.dumps(asdict(watch.history)))) == watch.history
    assert len(watch.history.recent["tiny"]) == len(WAVE)
