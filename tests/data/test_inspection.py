"""Broken pictures and broken shards are named and counted."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from puna.data.inspection import inspect_build, inspect_source, pictures
from puna.data.shards import write_shard
from puna.data.sources import DataError
from puna.testing.tokenizer import byte_tokenizer


def _picture(kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (12, 9), (9, 99, 199)).save(data, kind)
    return data.getvalue()


def test_broken_pictures_of_an_archive_are_named(tmp_path: Path) -> None:
    path = tmp_path / "album.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.png", _picture())
        archive.writestr("photo.jpg", _picture("JPEG"))
        archive.writestr("cut.png", _picture()[:40])
        archive.writestr("text.png", b"not a picture")
        archive.writestr("notes.txt", b"not meant as one")
    found = {member: (size, wrong) for member, size, wrong in pictures(path)}
    assert found["good.png"] == found["photo.jpg"] == ("12 x 9", "")
    assert {member for member, (_, wrong) in found.items() if wrong} == {"cut.png", "text.png"}


def test_what_is_no_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "album.zip").write_bytes(b"nothing")
    with pytest.raises(DataError, match="album.zip is no zip file"):
        list(pictures(tmp_path / "album.zip"))


def test_a_source_is_counted_by_its_kind(data: Path) -> None:
    album = inspect_source("emoji_noto_72")
    assert album["pictures"] > 100 and album["sizes"] == {"24 x 24": album["pictures"]} and not album["broken"]
    prose = inspect_source("wikipedia_simple_en", samples=1)
    assert set(prose["languages"]) == {"en"} and len(prose["samples"]) == 1 and prose["short_or_empty"] == 1


def test_a_folder_of_shards_is_checked_and_its_text_shown(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.save_hf(tmp_path / "tokenizer")
    for language, text in (("en", "Good morning. " * 9), ("fr", "Bonjour. " * 9)):
        write_shard(tmp_path, "train", language, [(text, True)], tokenizer, {"sources": {"one": {}}})
    (tmp_path / "train_fr.bin").write_bytes(b"12")
    facts = inspect_build(tmp_path, samples=1)
    assert list(facts["shards"]) == ["train_en"] and list(facts["broken"]) == ["train_fr"]
    assert facts["samples"]["train_en window 0"].startswith("Good morning.")


def test_a_folder_without_shards_says_so(tmp_path: Path) -> None:
    byte_tokenizer().save_hf(tmp_path / "tokenizer")
    with pytest.raises(DataError, match="holds no shards"):
        inspect_build(tmp_path)
