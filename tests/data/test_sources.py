"""Files come only through the manifest and a checksum."""

from pathlib import Path

import pytest

from puna.data import sources
from puna.data.sources import DataError, fetch, manifest


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
        assert not source.file.startswith(("evals/", "safety/"))
        assert "-NC" not in source.licence
