"""Decoding one id at a time."""

import random

from puna.tokens.incremental import IncrementalDecoder


def pieces(tokenizer, ids):
    decoder = IncrementalDecoder(tokenizer)
    return [decoder.push(token_id) for token_id in ids], decoder.flush()


def test_a_character_comes_out_with_its_last_byte(spelled):
    pushed, rest = pieces(spelled, "a🙂é".encode())
    assert pushed == ["a", "", "", "", "🙂", "", "é"]
    assert rest == ""


def test_a_character_that_never_ends_is_replaced_at_the_end(spelled):
    assert pieces(spelled, "é🙂".encode()[:-1]) == (["", "é", "", "", ""], "\ufffd")


def test_a_byte_that_cannot_start_a_character_is_replaced_at_once(spelled):
    assert pieces(spelled, [0xFF, 0x41]) == (["\ufffd", "A"], "")


def test_a_character_that_is_interrupted_is_replaced_when_the_next_byte_shows_it(spelled):
    assert pieces(spelled, [0xC3, 0x41]) == (["", "\ufffdA"], "")


def test_special_ids_say_nothing_and_interrupt_nothing(spelled):
    first, second = "é".encode()
    assert pieces(spelled, [spelled.special.bos, first, spelled.special.eot, second]) == (["", "", "", "é"], "")


def test_ids_behind_the_vocabulary_say_nothing_and_interrupt_nothing(spelled):
    """Models whose tables were filled up to a round number have such rows, and an untrained one chooses them."""
    decoder = IncrementalDecoder(spelled)
    first, second = (spelled.encode("é")[0], spelled.encode("é")[-1])
    assert first != second, "this vocabulary spells é with two ids"
    assert decoder.push(first) + decoder.push(spelled.vocab_size) + decoder.push(10**6) + decoder.push(second) == "é"


def test_the_pieces_of_random_ids_join_to_what_decode_says(trained, spelled):
    chance = random.Random(7)
    for tokenizer in (trained, spelled):
        for _ in range(300):
            ids = [chance.randrange(tokenizer.vocab_size) for _ in range(chance.randint(0, 40))]
            pushed, rest = pieces(tokenizer, ids)
            assert "".join(pushed) + rest == tokenizer.decode(ids)


def test_the_pieces_of_real_text_never_hold_a_replacement_character(trained, corpus):
    for text in corpus:
        if "\ufffd" not in text:
            pushed, rest = pieces(trained, trained.encode(text))
            assert "\ufffd" not in "".join(pushed)
            assert rest == ""


def test_flush_leaves_a_decoder_that_can_start_again(spelled):
    decoder = IncrementalDecoder(spelled)
    decoder.push(0xC3)
    assert decoder.flush() == "\ufffd"
    assert decoder.push(0x41) == "A"
