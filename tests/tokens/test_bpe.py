"""The tokenizer: plain text to ids and back."""

import pytest

from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.bpe import Tokenizer
from puna.tokens.errors import TokenizerError
from puna.tokens.ranks import RankedBpe
from puna.tokens.special import compact_layout


def test_decode_gives_back_every_text(trained, corpus):
    assert [trained.decode(trained.encode(text)) for text in corpus] == corpus


def test_encode_gives_plain_ids_only(trained, corpus):
    assert all(0 <= token_id < trained.special.base for text in corpus for token_id in trained.encode(text))


def test_training_made_tokens_longer_than_a_byte(trained):
    assert len(trained.encode("the llamas of the high plain")) < len("the llamas of the high plain") * 0.75


def test_special_ids_decode_to_nothing_unless_they_are_kept(spelled):
    ids = [spelled.special.bos, *spelled.encode("hi"), spelled.special.eot]
    assert spelled.decode(ids) == "hi"
    assert spelled.decode_bytes(ids, keep_special=True) == b"<|begin_of_text|>hi<|eot|>"


def test_half_a_character_decodes_to_the_replacement_character(spelled):
    assert spelled.decode("é".encode()[:1]) == "\ufffd"
    assert spelled.decode_bytes("é".encode()[:1]) == b"\xc3"


def test_lone_surrogates_become_the_replacement_character_and_pairs_are_joined(spelled):
    assert spelled.decode(spelled.encode("a\ud83db")) == "a\ufffdb"
    assert spelled.decode(spelled.encode("\ud83d\ude42")) == "🙂"


def test_texts_of_a_long_run_are_encoded_and_decoded(trained):
    text = "x" * 60_000 + " " * 60_000
    assert trained.decode(trained.encode(text)) == text


@pytest.mark.parametrize("token_id", [-1, 384, 200_000])
def test_an_id_outside_the_vocabulary_is_an_error(spelled, token_id):
    with pytest.raises(TokenizerError, match=rf"id {token_id} is outside the vocabulary of 384 ids"):
        spelled.decode([token_id])


def test_the_byte_tokenizer_has_one_id_a_byte():
    assert byte_tokenizer().encode("é\n") == [0xC3, 0xA9, 0x0A]
    assert byte_tokenizer().vocab_size == 384


def test_special_ids_must_follow_the_plain_ones():
    with pytest.raises(TokenizerError, match="special ids start at 300, but the BPE has 256 ids"):
        Tokenizer(RankedBpe([bytes([value]) for value in range(256)]), compact_layout(300))


@pytest.mark.parametrize(("load", "name"), [(Tokenizer.from_tiktoken, "tokenizer.model"), (Tokenizer.from_hf, "tokenizer.json")])
def test_a_missing_file_is_named(tmp_path, load, name):
    with pytest.raises(TokenizerError, match=name):
        load(tmp_path)
    with pytest.raises(TokenizerError, match="nowhere"):
        load(tmp_path / "nowhere")
