"""Signatures estimate what texts have in common, and twins are found whatever stands between them."""

import random

import numpy as np

from puna.data.dedup import NUM_HASHES, SIMILAR, earlier_twins, signatures
from puna.data.words import Runs, words_of


def signed(texts: list[str], language: str = "en") -> np.ndarray:
    return signatures(Runs(words_of(texts)), len(texts), language)


def invented(rng: random.Random, words: int) -> list[str]:
    return ["".join(rng.choices("abcdefghijkl", k=6)) for _ in range(words)]


def jaccard(a: list[str], b: list[str]) -> float:
    first, second = ({tuple(words[i : i + 5]) for i in range(len(words) - 4)} for words in (a, b))
    return len(first & second) / len(first | second)


def test_agreement_of_signatures_estimates_the_common_share() -> None:
    rng = random.Random(0)
    for changed in (0, 2, 5, 10, 40):
        first = invented(rng, 400)
        second = list(first)
        for place in rng.sample(range(400), changed):
            second[place] = "changed"
        one, other = signed([" ".join(first), " ".join(second)])
        # Three standard deviations of a mean of 112 draws.
        assert abs((one == other).mean() - jaccard(first, second)) < 3 * 0.5 / NUM_HASHES**0.5


def test_near_copies_are_twins_and_others_are_not() -> None:
    rng = random.Random(1)
    texts = [" ".join(invented(rng, 200)) for _ in range(300)]
    copied = texts[17].split()
    copied[60] = "otherword"
    twins = earlier_twins(signed([*texts, " ".join(copied), texts[5].upper() + "!"]))
    assert twins[300] == 17 and twins[301] == 5
    assert (twins[:300] == -1).all()


def test_a_twin_stands_before_its_copy_and_is_alike() -> None:
    rng = random.Random(2)
    texts = [" ".join(invented(rng, 80)) for _ in range(40)]
    texts = [rng.choice(texts) for _ in range(200)]
    rows = signed(texts)
    twins = earlier_twins(rows)
    for place, twin in enumerate(twins.tolist()):
        assert twin < place
        assert (twin >= 0) == (texts[place] in texts[:place])
        assert twin < 0 or (rows[place] == rows[twin]).mean() >= SIMILAR


def test_texts_too_short_for_a_run_are_nobodys_twins() -> None:
    assert (earlier_twins(signed(["one two", "one two", ""])) == -1).all()
    assert len(earlier_twins(np.empty((0, NUM_HASHES), np.uint32))) == 0


def test_chinese_is_compared_by_characters() -> None:
    rng = random.Random(3)
    text = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(300))
    assert earlier_twins(signed([text, text[:150] + "。" + text[150:]], "zh")).tolist() == [-1, 0]
