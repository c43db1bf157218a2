"""A tiny data mirror: `puna.testing.mirror`, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from puna.data import commands, definitions, emoji, emoji_names, photos, prose, skills, sources, tales
from puna.testing.mirror import write_mirror


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    write_mirror(root)
    return root


@pytest.fixture
def data(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """PUNA_DATA_MIRROR and a manifest that describe `mirror`; all caches fresh."""
    cached = (
        *(sources._listed, skills.facts, emoji.album, emoji.inventory, emoji.codes, emoji_names._sources),
        *(photos._archive, photos.books, photos.clothes, photos.picture),
        *(prose._books, prose.picture_books, prose.lengths, prose.parallel, prose.pairs, prose.directions, prose._paragraphs),
        *(commands.pages, definitions.definitions, tales.books, tales.short_books, tales.languages),
    )
    monkeypatch.setenv(sources.MANIFEST_VARIABLE, str(mirror / "manifest.json"))
    monkeypatch.setenv(sources.MIRROR_VARIABLE, str(mirror))
    for function in cached:
        function.cache_clear()
    yield mirror
    for function in cached:
        function.cache_clear()
