"""A tiny data mirror, drawn here: every emoji of the inventory as a coloured square, a few articles, two picture books."""

import hashlib
import io
import json
import lzma
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from puna.data import emoji, skills, sources
from puna.data.emoji import codes
from puna.data.languages import LANGUAGES


def _png(number: int) -> bytes:
    picture = Image.new("RGBA", (24, 24))
    picture.paste((40 + number % 200, 255 - number, number * 7 % 256, 255), (2, 2, 22, 22))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def _album(path: Path, kinds: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, code in enumerate(codes(kinds)):
            archive.writestr(f"{code}.png", _png(number))


def _rows(path: Path, rows: list[dict[str, object]]) -> None:
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


ARTICLES = {
    "Apple": "An apple is a round fruit that grows on trees. Many people like an apple. They eat an apple each day.",
    "Boat": "A boat is a thing that floats on the water (like a small ship). A boat is smaller than a ship, and a boat is slow.",
    "Jane Doe": "Jane Doe (born 1950) is an American actor.",
}


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    (root / "images").mkdir()
    (root / "text").mkdir()
    _album(root / "images/emoji_noto_72.zip", "all")
    _album(root / "images/emoji_blobmoji_72.zip", "emoji")
    _album(root / "images/emoji_fxemoji_72.zip", "emoji")
    filler = [f"Topic {number}\nTopic {number} is about number {number}. " + "It goes on and on. " * 8 for number in range(150)]
    articles = [f"{title}\n{body}" for title, body in ARTICLES.items()]
    rows = [{"lang": "en", "key": text.partition("\n")[0], "text": text} for text in articles + filler]
    _rows(root / "text/wikipedia_simple_en.jsonl.xz", rows)
    pages = {
        language: {"title": f"A book in {language}", "pages": [f"Page {n} of the book in {language}." * 4 for n in range(6)]}
        for language in LANGUAGES
    }
    _rows(root / "images/storybooks.jsonl.xz", [{"id": f"{n:04}", "langs": pages} for n in range(200)])
    return root


@pytest.fixture
def data(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """PUNA_DATA_MIRROR and a manifest that describe `mirror`; all caches fresh."""
    kinds = {"wikipedia_simple_en": "prose", "storybooks": "picture_books"}
    rows = []
    for path in sorted(mirror.rglob("*.*")):
        name = path.name.split(".")[0]
        languages = ["en"] if name.startswith("wiki") else list(LANGUAGES) if name == "storybooks" else []
        rows.append(
            {
                "name": name,
                "kind": kinds.get(name, "pictures"),
                "file": str(path.relative_to(mirror)),
                "origin": "drawn by the tests",
                "licence": "CC0-1.0",
                "languages": languages,
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    listing = tmp_path / "manifest.json"
    listing.write_text(json.dumps(rows))
    cached = (sources._listed, emoji.album, skills.facts)
    monkeypatch.setenv(sources.MANIFEST_VARIABLE, str(listing))
    monkeypatch.setenv(sources.MIRROR_VARIABLE, str(mirror))
    for function in cached:
        function.cache_clear()
    yield mirror
    for function in cached:
        function.cache_clear()
