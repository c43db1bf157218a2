"""The herd's road at toy size: a teacher and the students under it, a leg that begins from weights, and settings that cannot be meant."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from safetensors.torch import load_file

from puna.train.settings import RecipeError

RECIPES = Path(__file__).parents[2] / "recipes"
STEPS = {"size": "micro", "see_steps": "2", "student_steps": "4"}


@pytest.fixture
def herd(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The recipe with a toy size: a teacher and two students of the same shape. Data go to a folder of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(RECIPES))
    herd, speedrun = importlib.import_module("herd"), importlib.import_module("speedrun")
    toy = speedrun.SPEEDRUN_SIZES["micro"].teacher
    students = {name: replace(toy, name=name) for name in ("scout-nano", "maverick-nano")}
    micro = replace(speedrun.SPEEDRUN_SIZES["micro"], teacher=replace(toy, name="behemoth-nano"), students=students)
    monkeypatch.setitem(herd.SIZES, "micro", micro)
    for name in ("Run", "warm_up"):  # compiling would take most of the time; the speedrun's test does it
        monkeypatch.setattr(herd, name, partial(getattr(herd, name), fuse=False))
    yield herd
    for name in ("herd", "speedrun"):
        del sys.modules[name]


def test_a_teacher_two_students_and_a_leg_that_begins_from_weights(herd: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    first = tmp_path / "first"
    assert herd.main(first, False, STEPS | {"teacher_steps": "4"}) is None
    told = capsys.readouterr().err
    assert "begin from weights: none" in told and "the tower sees" in told
    for name in ("behemoth-nano", "scout-nano", "maverick-nano"):
        assert (first / name / "tokenizer.json").is_file() and not (first / f"{name}.new").exists()

    leg = tmp_path / "leg"
    shutil.copytree(first / "scout-nano", leg / "start" / "scout-nano")
    settings = {"size": "micro", "students": "scout-nano", "student_steps": "2", "first_stage": "3", "place_steps": "1"}
    assert herd.main(leg, False, settings) is None
    told = capsys.readouterr().err
    assert "begin from weights: scout-nano" in told and "learned their places" in told and "the tower sees" not in told
    stages = [line.split('"stage": "')[1].split('"')[0] for line in (leg / "scout-nano-run" / "log.jsonl").read_text().splitlines()]
    assert stages[-1] == "chat tuning"
    before, after = (load_file(next((folder / "scout-nano").glob("*.safetensors"))) for folder in (first, leg))
    shutil.rmtree(first / "maverick-nano")  # as if it had been killed between one student and the next
    assert herd.main(first, True, STEPS | {"teacher_steps": "4"}) is None and (first / "maverick-nano" / "config.json").is_file()
    with pytest.raises(RecipeError, match="some of scout-nano, maverick-nano already; train maverick-nano alone"):
        herd.main(leg, False, STEPS)
    assert before.keys() == after.keys() and any(not before[key].equal(after[key]) for key in before)


def test_what_cannot_be_meant_is_refused_before_anything_is_made(herd: ModuleType, tmp_path: Path) -> None:
    def refused(words: str, **settings: str) -> None:
        with pytest.raises(RecipeError, match=words):
            herd.main(tmp_path / "run", False, STEPS | settings)

    refused("has no such setting; it has size, students, lr, see_steps", steps="3")
    refused("students=behemoth: must be one of both, scout-nano, maverick-nano", students="behemoth")
    refused("without see_steps", place_steps="3")
    refused("first_stage=9: the stages are 1 words, 2 first names, 3 pictures, 4 chat tuning", first_stage="9")
    (tmp_path / "run" / "start" / "scout_nano").mkdir(parents=True)
    refused("scout_nano holds no model that could begin; models are looked for as behemoth-nano, scout-nano, maverick-nano")
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == []
