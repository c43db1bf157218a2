"""Stored tokens come back as they were, window by window; what is damaged is named."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from puna.data.build import build, sized
from puna.data.languages import LANGUAGES
from puna.data.pack import TextShards, prepare
from puna.data.samples import Mixture
from puna.data.shards import verify_shard, write_shard
from puna.data.sources import DataError
from puna.data.text import language_documents
from puna.testing.tokenizer import byte_tokenizer


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages, written without a build."""
    folder = tmp_path_factory.mktemp("written")
    texts = {"en": ["A first text. " * 60, "Short.", "Another text. " * 9], "fr": ["Un texte. " * 20]}
    for language, each in texts.items():
        write_shard(folder, "train", language, [(text, True) for text in each], byte_tokenizer(), {"sources": {}})
    return folder


@pytest.fixture
def damaged(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    for file in written.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def shards(data: Path, tmp_path: Path) -> Path:
    build(tmp_path / "shards", sized("micro", max_bytes_per_language=20_000), tokenizer=byte_tokenizer(), processes=1)
    return tmp_path / "shards"


def test_windows_start_with_begin_of_text_and_stay_short(written: Path) -> None:
    stored = TextShards(written)
    bos = byte_tokenizer().special.bos
    for index in range(100):
        language, window = stored.draw(random.Random(index), 512)
        assert np.array_equal(window, stored.window(random.Random(index), 512))
        assert any(np.array_equal(window, stored.window_of(language, place)[:512]) for place in range(stored.num_windows(language)))
        assert window[0] == bos and 2 < len(window) <= 512


def test_windows_hold_the_documents_text(written: Path) -> None:
    stored, tokenizer = TextShards(written), byte_tokenizer()
    said = [tokenizer.decode(stored.window_of("en", place)[1:].tolist()) for place in range(stored.num_windows("en"))]
    assert said == [("A first text. " * 60)[:511], ("A first text. " * 60)[511:], "Short.", "Another text. " * 9]


def test_only_the_end_of_a_document_is_marked(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    write_shard(tmp_path, "train", "en", [("A part of a book.", False), ("Its end.", True)], tokenizer, {})
    stored = TextShards(tmp_path)
    assert [int(stored.window_of("en", place)[-1]) == tokenizer.special.end_of_text for place in range(2)] == [False, True]


def test_every_language_has_its_share_and_english_twice(shards: Path) -> None:
    shares = TextShards(shards).shares
    assert set(shares) == set(LANGUAGES) and abs(sum(shares.values()) - 1) < 1e-9
    assert max(shares, key=lambda language: shares[language]) == "en"


def test_held_out_windows_are_stored_apart_and_begin_a_held_out_document(shards: Path) -> None:
    stored, tokenizer = TextShards(shards, "held_out"), byte_tokenizer()
    said = tokenizer.decode(stored.window_of("fr", 0)[1:].tolist())
    assert any(document.text.startswith(said[:200]) for document in language_documents("fr", "held_out"))
    assert not any(document.text.startswith(said[:200]) for document in language_documents("fr", "train"))


def test_the_mixture_draws_text_by_seed_and_index(written: Path) -> None:
    mixture = Mixture({"text": 1}, TextShards(written))
    first, again = (mixture.sample(1, 5).token_ids for _ in range(2))
    others = [mixture.sample(1, index).token_ids for index in range(6, 20)]
    assert first is not None and again is not None and first.tolist() == again.tolist()
    assert any(other is not None and other.tolist() != first.tolist() for other in others)


def test_a_folder_without_shards_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no train shards.*puna data build"):
        TextShards(tmp_path)


def test_asking_for_a_language_that_is_not_there_is_an_error(written: Path) -> None:
    with pytest.raises(DataError, match="no train text in hi, .*it has en, fr"):
        TextShards(written, shares={"en": 1, "hi": 0.5})
    assert TextShards(written, shares={"en": 1}).shares == {"en": 1, "fr": 0}


def test_a_truncated_shard_is_named_with_its_sizes(damaged: Path) -> None:
    path = damaged / "train_en.bin"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"train_en\.bin is truncated: [\d,]+ bytes, [\d,]+ stated"):
        TextShards(damaged)


def test_a_truncated_shard_is_found_without_its_provenance(damaged: Path) -> None:
    (damaged / "train_en.json").unlink()
    TextShards(damaged)  # as folders of earlier versions are
    path = damaged / "train_en.bin"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="train_en.bin is truncated"):
        TextShards(damaged)


def test_broken_starts_and_missing_starts_are_named(damaged: Path) -> None:
    starts = damaged / "train_en_starts.npy"
    starts.write_bytes(starts.read_bytes()[:50])
    with pytest.raises(DataError, match="train_en_starts.npy is broken"):
        TextShards(damaged)
    starts.unlink()
    with pytest.raises(DataError, match="train_en.bin has no train_en_starts.npy"):
        TextShards(damaged)


def test_a_changed_token_is_found_by_verification_alone(damaged: Path) -> None:
    path = damaged / "train_fr.bin"
    ids = np.fromfile(path, dtype=np.uint16)
    ids[7] += 1
    ids.tofile(path)
    TextShards(damaged)
    assert verify_shard(damaged, "train", "en")["language"] == "en"
    with pytest.raises(DataError, match="train_fr.bin has another sha256"):
        verify_shard(damaged, "train", "fr")


def test_a_broken_provenance_is_named(damaged: Path) -> None:
    (damaged / "train_en.json").write_text("{")
    with pytest.raises(DataError, match="train_en.json is no provenance"):
        TextShards(damaged)


def test_prepare_builds_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.data.build.tokenizer_texts", lambda prose: prose)  # the drills are not at issue, and slow
    tokenizer, stored = prepare(tmp_path / "nano", num_ranks=300, max_bytes_per_language=10_000, size="micro", processes=1)
    assert tokenizer.vocab_size > 300 and set(stored.languages) == set(LANGUAGES)
    counted = json.loads((tmp_path / "nano" / "tokens.json").read_text())
    assert all(counted[language] > 1000 for language in LANGUAGES)
    monkeypatch.setattr("puna.data.pack.build", lambda *arguments, **options: pytest.fail("built again"))
    assert prepare(tmp_path / "nano")[1].shares == stored.shares
    with pytest.raises(DataError, match="a vocabulary of 300 BPE ids, and 400 are needed"):
        prepare(tmp_path / "nano", num_ranks=400)
