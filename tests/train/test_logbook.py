"""Lines that are true of their steps, and none twice."""

from pathlib import Path

import pytest

from puna.testing.training import Alphabets, tiny_run
from puna.train import Stage
from puna.train.logbook import cut_behind, flat_numbers, seconds_left
from puna.train.state import Position


def test_lines_behind_a_checkpoint_and_halves_of_lines_are_cut(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    cut_behind(file, 5)
    assert not file.exists()
    file.write_text('{"step": 3}\n{"step": 5}\n{"step": 8}\n{"step": 1')
    cut_behind(file, 5)
    assert file.read_text() == '{"step": 3}\n{"step": 5}\n'
    before = file.stat().st_mtime_ns
    cut_behind(file, 9)
    assert file.stat().st_mtime_ns == before
    assert list(tmp_path.iterdir()) == [file]


def test_numbers_are_named_by_their_path_and_words_are_left_out() -> None:
    record = {"step": 3, "stage": "main", "models": {"scout": {"loss": 2, "loss_by_kind": {"a": 0.5}, "grad_norm": None}}}
    assert flat_numbers(record) == {"step": 3.0, "models/scout/loss": 2.0, "models/scout/loss_by_kind/a": 0.5}


def test_time_left_is_steps_at_the_present_speed_and_clocks_as_they_say() -> None:
    stages = (Stage(name="a", steps=10, source=Alphabets()), Stage(name="b", minutes=2, source=Alphabets()))
    run = tiny_run(stages=stages)  # 64 tokens a step
    assert seconds_left(run, Position(), tokens_per_s=32) == 10 * 2 + 120
    assert seconds_left(run, Position(step=7, stage_step=7), tokens_per_s=64) == 3 + 120
    assert seconds_left(run, Position(step=30, stage=1, stage_step=20, stage_seconds=90.0), tokens_per_s=64) == pytest.approx(30)
    assert seconds_left(run, Position(step=30, stage=1, stage_step=20, stage_seconds=130.0), tokens_per_s=64) == 0
