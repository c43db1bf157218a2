"""The walkthrough's code blocks run as they stand, in order."""

import re
from pathlib import Path

WALKTHROUGH = Path(__file__).parents[2] / "docs" / "walkthrough.md"


def test_every_code_block_of_the_walkthrough_runs_in_order() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", WALKTHROUGH.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 10
    names: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"walkthrough.md, block {number}", "exec"), names)


def test_every_file_that_the_walkthrough_names_exists() -> None:
    source = Path(__file__).parents[2]
    rooms = "config|stream|pipeline|media|tokens|model|kernels|engine|serve|train"
    named = re.findall(rf"`((?:{rooms})[\w/]*(?:\.py|/))`", WALKTHROUGH.read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (source / "src" / "puna" / name).exists()] == []
