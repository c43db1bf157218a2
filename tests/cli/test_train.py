import json
import re
from pathlib import Path

import pytest

from puna.cli.error import UserError
from puna.cli.train import read_changes

RECIPE = """
import json

from neighbour import GREETING


def main(out, resume, overrides):
    print(json.dumps([GREETING, str(out), resume, overrides]))
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    (tmp_path / "neighbour.py").write_text("GREETING = 'hello'\n")
    path = tmp_path / "01-small.py"
    path.write_text(RECIPE)
    return path


def test_a_recipe_is_run_with_its_changes(puna, recipe: Path) -> None:
    outcome = puna("train", str(recipe), "--set", "optimizer.lr=3e-4", "--set", "name=a=b")
    told = '["hello", "runs/01-small", false, {"optimizer.lr": "3e-4", "name": "a=b"}]\nruns/01-small: the recipe has ended\n'
    assert outcome == (0, told, "")


def test_out_and_resume_are_passed_on(puna, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "state").touch()
    assert puna("train", str(recipe), "--out", "mine", "--resume").out.startswith('["hello", "mine", true, {}]\n')


def test_a_resumed_run_keeps_what_was_set(puna, recipe: Path, tmp_path: Path) -> None:
    puna("train", str(recipe), "--set", "a=1", "--set", "b=2")
    (tmp_path / "runs" / "01-small" / "state").touch()
    outcome = puna("train", str(recipe), "--resume", "--set", "b=3")
    assert outcome.out.startswith('["hello", "runs/01-small", true, {"a": "1", "b": "3"}]\n')
    assert outcome.err == "as before: --set a=1\n"
    assert '{"a": "1", "b": "3"}' in puna("train", str(recipe), "--resume").out


def test_no_run_is_overwritten_and_none_resumed_that_is_not_there(puna, recipe: Path, tmp_path: Path) -> None:
    assert "holds no run to resume" in puna("train", str(recipe), "--resume").err
    (tmp_path / "runs" / "01-small").mkdir(parents=True)
    assert puna("train", str(recipe)).code == 0
    (tmp_path / "runs" / "01-small" / "start" / "scout-nano").mkdir(parents=True)  # what it is to begin from
    assert puna("train", str(recipe)).code == 0
    assert "holds no run to resume" in puna("train", str(recipe), "--resume").err
    (tmp_path / "runs" / "01-small" / "log").touch()
    outcome = puna("train", str(recipe))
    assert outcome.code == 2
    assert "--resume continues" in outcome.err


@pytest.mark.parametrize(
    ("text", "words"),
    [("x = 1\n", "defines no main("), ("main = 3\n", "defines no main("), ("def main(:\n", "line 1")],
)
def test_a_file_that_is_no_recipe_is_a_mistake(puna, recipe: Path, text: str, words: str) -> None:
    recipe.write_text(text)
    outcome = puna("train", str(recipe))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert words in outcome.err


def test_an_error_inside_a_recipe_keeps_its_traceback(puna, recipe: Path) -> None:
    recipe.write_text("def main(out, resume, overrides):\n    return {}['lost']\n")
    with pytest.raises(KeyError, match="lost"):
        puna("train", str(recipe))


def test_changes_are_fields_and_values() -> None:
    assert read_changes(["a=1", "b.c=x y"]) == {"a": "1", "b.c": "x y"}
    for changes, words in [(["a"], "FIELD=VALUE"), (["=1"], "FIELD=VALUE"), (["a..b=1"], "FIELD=VALUE"), (["a=1", "a=2"], "twice")]:
        with pytest.raises(UserError, match=words):
            read_changes(changes)


TRAINS = """
from puna.testing.training import tiny_run
from puna.train import train


def main(out, resume, overrides, device="cpu"):
    return train(tiny_run(device=device, **({"stages": tiny_run().stages[:1]} if overrides else {})), out, resume=resume)
"""


def test_a_run_ends_with_a_line_that_says_what_it_came_to(puna, recipe: Path) -> None:
    recipe.write_text(TRAINS)
    outcome = puna("train", str(recipe), "--set", "short=1", "--json", "--device", "cpu")
    facts = json.loads(outcome.out)
    assert outcome.code == 0 and set(facts) == {"out", "finished", "steps", "seconds", "skipped_steps", "loss"}
    assert (facts["out"], facts["finished"], facts["steps"], facts["skipped_steps"]) == ("runs/01-small", True, 6, 0)
    assert 0 < facts["loss"]["tiny"] < 6
    recipe.write_text(TRAINS.replace(" if overrides else ", " if not resume else "))
    outcome = puna("train", str(recipe), "--resume")
    assert re.fullmatch(r"runs/01-small: finished after step 8 and \d+ s; loss tiny \d\.\d+\n", outcome.out)
    assert "resumed at step 6" in outcome.err and "step 8" in outcome.err


def test_a_device_that_is_not_there_or_not_offered_is_a_mistake(puna, recipe: Path) -> None:
    assert "takes no device" in puna("train", str(recipe), "--device", "cpu").err
    recipe.write_text(TRAINS)
    outcome = puna("train", str(recipe), "--device", "tpu")
    assert outcome.code == 2 and "this machine has no such device" in outcome.err


def test_a_run_that_cannot_go_on_says_so_without_a_traceback(puna, recipe: Path) -> None:
    recipe.write_text(
        "from puna.train import TrainingError\n\n\ndef main(out, resume, overrides):\n    raise TrainingError('step 7: nan')\n"
    )
    assert puna("train", str(recipe)) == (2, "", "error: step 7: nan\n")
