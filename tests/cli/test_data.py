"""`puna data`: each verb on the small mirror, for people and for programs, and the user's mistakes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from puna.data import refine, sources
from puna.testing.mirror import describe, prose, write_rows


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    import random

    root = tmp_path / "mirror"
    rng = random.Random(1)
    write_rows(root / "text/novels_en.jsonl.xz", [{"lang": "en", "key": str(n), "text": prose("en", rng, 8)} for n in range(120)])
    write_rows(root / "evals/asked_en.jsonl.xz", [{"question": prose("en", rng, 2)} for _ in range(3)])
    monkeypatch.setenv(sources.MANIFEST_VARIABLE, str(describe(root, {"novels_en": "prose"})))
    monkeypatch.setenv(sources.MIRROR_VARIABLE, str(root))
    for function in (sources._listed, refine.eval_runs):
        function.cache_clear()
    yield root
    for function in (sources._listed, refine.eval_runs):
        function.cache_clear()


def test_the_list_names_licence_and_place(puna, mirror: Path) -> None:
    outcome = puna("data", "list")
    assert outcome.code == 0 and "novels_en" in outcome.out and "CC0-1.0" in outcome.out and "asked_en" not in outcome.out
    rows = json.loads(puna("data", "list", "--eval", "--json").out)
    assert [row["name"] for row in rows] == ["asked_en"] and rows[0]["local"] is True and len(rows[0]["sha256"]) == 64
    assert json.loads(puna("data", "list", "--kind", "pictures", "--json").out) == []


def test_fetch_checks_what_is_here_and_names_what_is_not(puna, mirror: Path) -> None:
    assert "2 files here with the right checksum" in puna("data", "fetch").out
    (mirror / "text/novels_en.jsonl.xz").unlink()
    sources._checked.cache_clear()
    outcome = puna("data", "fetch", "--json")
    assert outcome.code == 2 and "1 of 2 files could not be brought here: novels_en" in outcome.err
    found = json.loads(outcome.out)
    assert list(found["found"]) == ["asked_en"] and "holds no text/novels_en" in found["failed"]["novels_en"]


def test_build_and_inspect(puna, mirror: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    small = ("--size", "micro", "--num-ranks", "300", "--languages", "en", "--processes", "1")
    outcome = puna("data", "build", out, *small, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["languages"] == ["en"] and report["shards"]["train_en"]["tokens"] > 1000
    assert "evaluation overlap: 0 passages in 1 sets" in puna("data", "build", out, *small).out
    outcome = puna("data", "inspect", out, "--samples", "1")
    assert outcome.code == 0 and "train_en" in outcome.out
    shard = tmp_path / "out" / "train_en.bin"
    shard.write_bytes(shard.read_bytes()[:-8])
    outcome = puna("data", "inspect", out)
    assert outcome.code == 2 and "train_en.bin is truncated" in outcome.out and "are broken: train_en" in outcome.err
    outcome = puna("data", "build", out, "--size", "cpu", "--languages", "en")
    assert outcome.code == 2 and "another size" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--kind", "sounds"), "there are prose"),
        (("fetch", "nothing"), "no source is called 'nothing'"),
        (("build", "x", "--languages", "en,xx"), "'xx'"),
        (("build", "x", "--size", "huge"), "there are micro, cpu, gpu"),
        (("inspect", "nothing"), "neither a source"),
        (("inspect", "novels_en", "--page", "page.html"), "no folder"),
        (("paint",), "paint"),
        ((), "puna data --help"),
    ],
)
def test_mistakes_are_one_line(puna, mirror: Path, arguments: tuple[str, ...], said: str) -> None:
    outcome = puna("data", *arguments)
    assert outcome.code == 2 and outcome.err.startswith("error: ") and said in outcome.err and "Traceback" not in outcome.err


def test_without_a_mirror_the_variable_is_named(puna, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sources.MIRROR_VARIABLE)
    outcome = puna("data", "fetch")
    assert outcome.code == 2 and "PUNA_DATA_MIRROR is not set" in outcome.err
