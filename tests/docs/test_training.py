"""The training page's code runs as it stands, and the files it names exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), "training.md", "exec"), {})
    assert (tmp_path / "runs" / "tiny" / "state" / "state.json").is_file()


def test_the_files_it_names_exist() -> None:
    named = re.findall(r"`((?:train|recipes|benchmarks)/[\w/]+\.py)`", PAGE) + re.findall(r"puna train (\S+\.py)", PAGE)
    assert len(named) > 8
    assert not [file for file in named if not (ROOT / file).is_file() and not (ROOT / "src/puna" / file).is_file()]
