"""Words as arrays say what a plain loop over the text says."""

import random

import numpy as np

from puna.data.words import CLASSES, HAN, KANA, LATIN, SYMBOL, Runs, batches, word_hash, words_of

TEXTS = ["The cat sat.", "", "猫が 3 sat THE cat", "...", "über-Größe naïve"]


def test_words_are_runs_of_letters_and_single_ideographs() -> None:
    words = words_of(TEXTS)
    expected = ["the", "cat", "sat", "猫", "が", "3", "sat", "the", "cat", "über", "größe", "naïve"]
    assert words.hashes.tolist() == [int(word_hash(word)) for word in expected]
    assert words.text.tolist() == [0, 0, 0, 2, 2, 2, 2, 2, 2, 4, 4, 4]
    assert words.per_text().tolist() == [3, 0, 6, 0, 3]


def test_different_words_have_different_hashes() -> None:
    rng = random.Random(0)
    invented = {"".join(rng.choices("abcdefgh", k=rng.randint(1, 6))) for _ in range(20_000)}
    assert len(np.unique(words_of([" ".join(sorted(invented))]).hashes)) == len(invented)


def test_classes_count_every_character_once() -> None:
    counts = words_of(TEXTS).classes
    assert counts.sum(axis=1).tolist() == [len(text) for text in TEXTS]
    assert counts.shape == (len(TEXTS), len(CLASSES))
    assert counts[2, HAN] == 1 and counts[2, KANA] == 1 and counts[2, LATIN] == 9
    assert counts[3, SYMBOL] == 3


def test_an_ideograph_above_the_basic_plane_is_one_and_an_emoji_is_not() -> None:
    counts = words_of(["\U00020000\U0001f600"]).classes
    assert counts[0, HAN] == 1 and counts[0, SYMBOL] == 1


def test_runs_are_the_same_wherever_they_stand_and_never_cross_texts() -> None:
    runs = Runs(words_of(["a b c d", "x a b c", "b c d"]))
    hashes, text = runs.of(3)
    assert text.tolist() == [0, 0, 1, 1, 2]
    assert hashes[0] == hashes[3] and hashes[1] == hashes[4]
    assert len(np.unique(hashes)) == 3
    assert len(runs.of(5)[0]) == 0


def test_batches_hold_every_text_once_in_order() -> None:
    texts = ["x" * (index % 7) for index in range(50)]
    assert [text for batch in batches(texts, 20) for text in batch] == texts
