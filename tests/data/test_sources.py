"""Files come only through the manifest and a checksum."""

import json
from pathlib import Path

import pytest

from puna.data import sources
from puna.data.sources import DataError, eval_manifest, fetch, manifest


def test_a_missing_mirror_names_the_variable_the_file_and_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sources.MIRROR_VARIABLE, raising=False)
    with pytest.raises(DataError, match="PUNA_DATA_MIRROR is not set.*manifest.json.*Noto"):
        fetch("emoji_noto_72")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match="no data source is called 'emoji'.*emoji_noto_72"):
        fetch("emoji")


def test_a_file_that_changed_is_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    (other / "text").mkdir(parents=True)
    (other / "text/wikipedia_simple_en.jsonl.xz").write_bytes(b"not the file")
    monkeypatch.setenv(sources.MIRROR_VARIABLE, str(other))
    with pytest.raises(DataError, match="sha256"):
        fetch("wikipedia_simple_en")


def test_a_file_that_is_right_is_handed_out(data: Path) -> None:
    assert fetch("wikipedia_simple_en") == data / "text/wikipedia_simple_en.jsonl.xz"


def test_the_shipped_manifest_says_where_everything_comes_from_and_holds_no_evaluation_sets() -> None:
    for source in manifest().values():
        assert source.origin and source.licence and len(source.sha256) == 64
        assert not source.file.startswith("safety/") and source.upstream.startswith("https://")
        assert "-NC" not in source.licence


def test_what_trains_and_what_scores_share_no_file() -> None:
    trains = {source.file for source in manifest().values()} | {source.sha256 for source in manifest().values()}
    scores = {source.file for source in eval_manifest().values()} | {source.sha256 for source in eval_manifest().values()}
    assert not trains & scores and len(eval_manifest()) > 50
    assert {source.file for source in manifest().values() if source.file.startswith("evals/")} == {"evals/gsm8k_train.jsonl.xz"}


def test_a_manifest_of_your_own_replaces_the_list_and_mistakes_in_it_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "mine.json"
    monkeypatch.setenv(sources.MANIFEST_VARIABLE, str(listing))
    with pytest.raises(DataError, match="mine.json is not there; PUNA_DATA_MANIFEST"):
        manifest()
    for content, what in (
        ("{", "is no manifest"),
        ('[{"name": "a"}]', "languages"),
        (_row("sounds"), "a is of kind 'sounds'; there are prose"),
    ):
        listing.write_text(content)
        sources._listed.cache_clear()
        with pytest.raises(DataError, match=what):
            manifest()
    listing.write_text(_row("prose"))
    sources._listed.cache_clear()
    assert list(manifest()) == ["a"] and eval_manifest() == {}


def _row(kind: str) -> str:
    row = {"name": "a", "kind": kind, "file": "a.xz", "origin": "o", "licence": "l", "languages": ["en"], "bytes": 1, "sha256": "0"}
    return json.dumps([row])
