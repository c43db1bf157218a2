"""Hugging Face directories: written by us, read by us and by `transformers`."""

import json

import pytest
from transformers import AutoTokenizer

from puna.tokens.bpe import Tokenizer
from puna.tokens.errors import TokenizerError
from puna.tokens.hf import spell, unspell


@pytest.fixture(scope="module")
def directory(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    trained.save_hf(path)
    return path


@pytest.fixture(scope="module")
def loaded(directory):
    return Tokenizer.from_hf(directory)


@pytest.fixture
def document(directory):
    return json.loads((directory / "tokenizer.json").read_text())


def refuse(tmp_path, document, match):
    path = tmp_path / "tokenizer.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(TokenizerError, match=match):
        Tokenizer.from_hf(path)


def test_every_byte_has_its_own_character():
    everything = bytes(range(256))
    assert unspell(spell(everything)) == everything
    assert len(set(spell(everything))) == 256
    assert spell(b" a\n") == "ĠaĊ"


def test_a_character_that_stands_for_no_byte_is_refused():
    with pytest.raises(TokenizerError, match="'漢', which stands for no byte"):
        unspell("a漢")


def test_ranks_and_their_tokenizer_json_give_the_same_ids(trained, loaded, corpus):
    assert [loaded.encode(text) for text in corpus] == [trained.encode(text) for text in corpus]


def test_what_was_saved_comes_back(trained, loaded):
    assert loaded.special == trained.special
    assert [loaded.token_bytes(i) for i in range(700)] == [trained.token_bytes(i) for i in range(700)]


def test_saving_again_changes_no_file(directory, loaded, tmp_path):
    loaded.save_hf(tmp_path)
    for path in directory.iterdir():
        assert json_or_text(tmp_path / path.name) == json_or_text(path)


def json_or_text(path):
    return json.loads(path.read_text()) if path.suffix == ".json" else path.read_text()


def test_typed_special_tokens_stay_text_though_the_file_knows_them(trained, loaded):
    for name in trained.special.names:
        ids = loaded.encode(f"a{name}b")
        assert max(ids) < loaded.special.base
        assert loaded.decode(ids) == f"a{name}b"


def test_the_ids_with_a_job_are_named_and_exist(directory, trained):
    theirs = AutoTokenizer.from_pretrained(directory)
    assert theirs.pad_token == "<|finetune_right_pad|>"
    special = trained.special
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (special.bos, special.eot, special.pad)
    assert len(theirs) == trained.vocab_size
    assert json.loads((directory / "special_tokens_map.json").read_text())["eos_token"] == "<|eot|>"


def test_transformers_gives_the_same_ids_for_plain_text_after_begin_of_text(directory, trained, corpus):
    theirs = AutoTokenizer.from_pretrained(directory)
    plain = [text for text in corpus if "<|" not in text]
    assert theirs(plain).input_ids == [[trained.special.bos, *trained.encode(text)] for text in plain]
    assert [theirs.decode(ids) for ids in theirs(plain, add_special_tokens=False).input_ids] == plain


def test_transformers_reads_special_tokens_where_we_do_not(directory, trained):
    theirs = AutoTokenizer.from_pretrained(directory)
    assert theirs.encode("<|eot|>", add_special_tokens=False) == [trained.special.eot]


def test_truncation_and_padding_in_a_file_are_not_applied(tmp_path, document, trained):
    document["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    text = "a text of more than three tokens"
    assert Tokenizer.from_hf(tmp_path).encode(text) == trained.encode(text)


def test_a_file_that_is_not_json_is_refused(tmp_path):
    refuse(tmp_path, "version https://git-lfs", "is not JSON")


def test_another_kind_of_model_is_refused(tmp_path, document):
    document["model"]["type"] = "WordPiece"
    refuse(tmp_path, document, "model type 'WordPiece' is not byte-level BPE")


def test_a_normalizer_is_refused(tmp_path, document):
    document["normalizer"] = {"type": "NFC"}
    refuse(tmp_path, document, "has a normalizer")


def test_options_that_change_the_algorithm_are_refused(tmp_path, document):
    document["model"]["dropout"] = 0.1
    refuse(tmp_path, document, "sets dropout=0.1")


def test_merges_written_as_text_are_read_too(tmp_path, document, trained, corpus):
    document["model"]["merges"] = [" ".join(merge) for merge in document["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    loaded = Tokenizer.from_hf(tmp_path)
    assert [loaded.encode(text) for text in corpus] == [trained.encode(text) for text in corpus]


def test_a_gap_among_the_special_ids_is_refused(tmp_path, document):
    del document["added_tokens"][5]
    refuse(tmp_path, document, "id 705 has none")


def test_a_gap_among_the_plain_ids_is_refused(tmp_path, document):
    token = next(token for token, token_id in document["model"]["vocab"].items() if token_id == 699)
    document["model"]["vocab"][token] = 5000
    refuse(tmp_path, document, "id 699 is missing")
