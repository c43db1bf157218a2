"""The engine page's code runs as it stands, and the files it names exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")


def test_its_code_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 2
    exec(compile("\n".join(blocks), "engine.md", "exec"), {})


def test_the_files_it_names_exist() -> None:
    table = re.findall(r"`(\w+\.py)`", PAGE.partition("## A step")[2].partition("## Memory")[0])
    elsewhere = re.findall(r"`((?:tests|benchmarks|kernels|engine)/[\w/]+\.py)`", PAGE)
    assert len(table) > 12 and len(elsewhere) >= 3
    missing = [name for name in table if not (ROOT / "src/puna/engine" / name).is_file()]
    missing += [name for name in elsewhere if not (ROOT / name).is_file() and not (ROOT / "src/puna" / name).is_file()]
    assert not missing
