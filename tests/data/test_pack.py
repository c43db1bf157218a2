"""Stored tokens come back as they were, window by window."""

import random
from pathlib import Path

import pytest

from puna.data.languages import LANGUAGES
from puna.data.pack import TextShards, build_text_shards
from puna.data.samples import Mixture
from puna.data.sources import DataError
from puna.data.text import language_documents
from puna.testing.tokenizer import byte_tokenizer


@pytest.fixture
def shards(data: Path, tmp_path: Path) -> Path:
    build_text_shards(byte_tokenizer(), tmp_path / "shards", max_bytes_per_language=20_000, held_out_bytes=2_000, processes=1)
    return tmp_path / "shards"


def test_windows_start_with_begin_of_text_and_stay_short(shards: Path) -> None:
    stored = TextShards(shards)
    bos = byte_tokenizer().special.bos
    for index in range(100):
        window = stored.window(random.Random(index), 512)
        assert window[0] == bos and 2 < len(window) <= 512


def test_windows_hold_the_documents_text(shards: Path) -> None:
    stored, tokenizer = TextShards(shards), byte_tokenizer()
    first = next(iter(language_documents("fr", "train")))
    said = "".join(tokenizer.decode(stored.window_of("fr", place)[1:].tolist()) for place in range(2))
    assert said.startswith(first.text[:300])


def test_every_language_has_its_share_and_english_twice(shards: Path) -> None:
    shares = TextShards(shards).shares
    assert set(shares) == set(LANGUAGES) and abs(sum(shares.values()) - 1) < 1e-9
    assert max(shares, key=lambda language: shares[language]) == "en"


def test_held_out_windows_are_stored_apart(shards: Path) -> None:
    assert TextShards(shards, "held_out").languages


def test_the_mixture_draws_text_by_seed_and_index(shards: Path) -> None:
    mixture = Mixture({"text": 1}, TextShards(shards))
    first, again, other = (mixture.sample(1, index).token_ids for index in (5, 5, 6))
    assert first is not None and again is not None and other is not None
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_folder_without_shards_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="build_text_shards"):
        TextShards(tmp_path)
