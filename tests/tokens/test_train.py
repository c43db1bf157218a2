"""Training a vocabulary."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import puna.tokens
from puna.tokens.bpe import Tokenizer
from puna.tokens.errors import TokenizerError
from puna.tokens.special import llama4_layout
from puna.tokens.train import main, read_texts, train_tokenizer

TEXTS = 4 * [
    "the cat and the dog and the bird sang 12345 times\n\n",
    "the dog's cat didn't sing; THE BIRD did",
    "café naïve Straße 高原 高原",
]


def test_the_vocabulary_has_exactly_the_size_asked_for():
    tokenizer = train_tokenizer(TEXTS, 300)
    assert (tokenizer.special.base, tokenizer.special.count, tokenizer.vocab_size) == (300, 128, 428)


def test_the_same_texts_give_the_same_ids():
    first, second = (train_tokenizer(iter(TEXTS), 300) for _ in range(2))
    assert [first.token_bytes(i) for i in range(300)] == [second.token_bytes(i) for i in range(300)]


def test_all_single_bytes_come_first():
    tokenizer = train_tokenizer(TEXTS, 300)
    assert {tokenizer.token_bytes(i) for i in range(256)} == {bytes([value]) for value in range(256)}
    assert all(len(tokenizer.token_bytes(i)) > 1 for i in range(256, 300))


def test_frequent_words_become_one_id_and_no_token_crosses_a_cut_of_the_pattern():
    tokenizer = train_tokenizer(TEXTS, 320)
    assert len(tokenizer.encode(" the")) == 1
    learned = [tokenizer.token_bytes(i) for i in range(256, 320)]
    assert not any(b" " in token[1:] for token in learned)
    assert not any(token.isdigit() and len(token) > 3 for token in learned)


def test_too_little_text_is_an_error_that_says_how_far_it_came():
    with pytest.raises(TokenizerError, match=r"fewer than num_ranks=5000.*give more text or ask for fewer ids"):
        train_tokenizer(["tiny"], 5000)


def test_fewer_ids_than_bytes_are_refused():
    with pytest.raises(TokenizerError, match="num_ranks=100 is too small"):
        train_tokenizer(TEXTS, 100)


def test_another_layout_can_be_put_on_top():
    assert train_tokenizer(TEXTS, 280, special=llama4_layout(280)).vocab_size == 280 + 2048


def test_the_program_reads_text_and_jsonl_and_writes_a_directory(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("".join(TEXTS), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS) + "\n", encoding="utf-8")
    main(["--num-ranks", "290", "--out", str(tmp_path / "out"), str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")])
    assert "290 BPE ids and 128 special ones, 418 in all" in capsys.readouterr().out
    assert Tokenizer.from_hf(tmp_path / "out").vocab_size == 418


def test_the_program_runs_without_a_warning(tmp_path):
    (tmp_path / "a.txt").write_text("".join(TEXTS), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "puna.tokens.train", "--num-ranks", "260", "--out", "out", "a.txt"]
    source = Path(puna.tokens.__file__).parents[2]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(source)}, check=True, capture_output=True)
    assert (tmp_path / "out" / "tokenizer.json").is_file()


def test_a_jsonl_file_gives_one_text_a_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "one"}\n\n{"text": "two\\n"}\n')
    assert list(read_texts([path])) == ["one", "two\n"]
