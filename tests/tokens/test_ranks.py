"""Reading Meta's vocabulary file, and the list of merges that says the same."""

import base64

import pytest

from puna.tokens.errors import TokenizerError
from puna.tokens.ranks import RankedBpe, merges_of, read_ranks

BYTES = [bytes([value]) for value in range(256)]


def write(path, tokens):
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)))
    return path


def test_ranks_are_read_in_order_whatever_the_order_of_lines(tmp_path):
    path = write(tmp_path / "tokenizer.model", [*BYTES, b"ab"])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(reversed(lines)) + b"\n")
    assert read_ranks(path) == [*BYTES, b"ab"]


@pytest.mark.parametrize("line", [b"!!!! 0", b"YQ==", b"YQ== one", b"YQ== 1 2"])
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"YQ== 0\n" + line + b"\n")
    with pytest.raises(TokenizerError, match="line 2"):
        read_ranks(path)


def test_a_missing_rank_is_named(tmp_path):
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"YQ== 0\nYg== 2\n")
    with pytest.raises(TokenizerError, match="rank 1 is missing"):
        read_ranks(path)


def test_a_vocabulary_without_all_bytes_is_refused():
    with pytest.raises(TokenizerError, match="byte 0x61 is not in the vocabulary"):
        RankedBpe([token for token in BYTES if token != b"a"])


def test_a_token_cannot_have_two_ranks():
    with pytest.raises(TokenizerError, match="1 tokens stand twice"):
        RankedBpe([*BYTES, b"ab", b"ab"])


def test_the_lowest_rank_is_joined_first():
    bpe = RankedBpe([*BYTES, b"bc", b"ab", b"abcd"])
    assert bpe.encode("abc") == [ord("a"), 256]
    assert bpe.encode("ab") == [257]
    assert bpe.encode("abcd") == [258]  # a whole piece is looked up first, though no merge leads there


def test_merges_hold_every_way_to_cut_a_token_in_two_known_ones():
    tokens = [*BYTES, b"ab", b"bc", b"abc"]
    assert merges_of(tokens) == [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc"), (b"ab", b"c")]
