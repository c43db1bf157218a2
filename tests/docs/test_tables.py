"""The tables of `docs/` name files and tensors that exist."""

import re
from pathlib import Path

from puna.checkpoint.names_hf import TEXT_NAMES, VISION_NAMES

ROOT = Path(__file__).parents[2]


def rows(document: str) -> list[list[str]]:
    lines = (ROOT / "docs" / document).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")]


def test_every_file_that_sources_names_exists() -> None:
    named = [file for row in rows("sources.md") if len(row) == 4 for file in re.findall(r"`([^`]+\.py)`", row[3])]
    assert len(named) > 50
    missing = sorted({file for file in named if not (ROOT / "src/puna" / file).is_file()})
    assert not missing


def test_every_fact_says_how_sure_it_is() -> None:
    facts = [row for row in rows("sources.md") if len(row) == 4 and row[0] != "fact" and not row[0].startswith("-")]
    unsure = [row[0] for row in facts if not re.match(r"stated|inferred|ours|put together", row[1])]
    assert len(facts) > 40 and not unsure


def test_every_stated_fact_has_a_source() -> None:
    assert not [row[0] for row in rows("sources.md") if len(row) == 4 and row[1].startswith("stated") and not row[2]]


def test_the_parameter_table_is_the_table_in_code() -> None:
    ours = ("`text.", "`vision.", "`projector.")
    written = [(row[0].strip("`"), row[2].strip("`")) for row in rows("notation.md") if row[0].startswith(ours)]
    assert written == list(TEXT_NAMES + VISION_NAMES)
