"""Prose of each language passes; what is not prose is told why."""

import random

import pytest

from puna.data.languages import LANGUAGES
from puna.data.quality import REASONS, judge
from puna.data.words import Runs, words_of
from puna.testing.mirror import prose


def reason(text: str, language: str) -> str:
    words = words_of([text])
    return judge([text], language, words, Runs(words))[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_prose_passes_in_its_own_language(language: str) -> None:
    assert reason(prose(language, random.Random(1), 30), language) == ""


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language not in ("en", "es", "fr", "de", "pt", "id")])
def test_english_is_the_wrong_script_elsewhere(language: str) -> None:
    assert reason(prose("en", random.Random(1), 30), language) == "wrong_script"


def test_real_sentences_are_told_apart_where_scripts_agree() -> None:
    english = (
        "The boy went to the house of his mother and he was not at all afraid of the dog that sat at the door, "
        "for it was old and it had been there all day. "
    )
    spanish = (
        "El niño fue a la casa de su madre y no tenía miedo del perro que estaba en la puerta, pero es más viejo y se queda con su madre. "
    )
    assert reason(english, "en") == reason(spanish, "es") == ""
    assert reason(english, "es") == reason(spanish, "en") == "other_language"


def test_chinese_is_not_japanese_nor_the_other_way_round() -> None:
    japanese = "これは短い文章ですが、ひらがながたくさん入っています。"
    assert reason(japanese, "ja") == "" and reason(japanese, "zh") == "wrong_script"
    assert reason("这是一个没有假名的中文句子。", "ja") == "wrong_script"


def test_tables_lists_and_loops_are_named() -> None:
    rng = random.Random(2)
    table = "\n".join(f"| {rng.random():.5f} | {rng.random():.5f} | -- |" for _ in range(40))
    assert reason(f"Results of the race in the year and so on\n{table}", "en") == "symbols"
    names = " ".join("".join(rng.choices("abcdefghij", k=7)).title() for _ in range(200))
    assert reason(names, "en") == "few_function_words"
    assert reason(prose("en", rng, 3) * 8, "en") == "repeated_phrases"
    line = prose("en", rng, 1)
    assert reason("\n".join([line, line, line, prose("en", rng, 3)]), "en") in ("repeated_lines", "repeated_phrases")


def test_repeated_lines_are_found_where_phrases_are_too_short_to_tell() -> None:
    lines = ["これは同じ行がもう一度ここに出てくる長い行です。"] * 2 + ["それは別の行で、ほかには何も書いていません。"]
    assert reason("\n".join([*lines, lines[0]]), "ja") in ("repeated_lines", "repeated_phrases")
    short = ["안녕하세요 여기에는 같은 줄이 다시 나오고 있습니다"] * 3
    assert reason("\n".join(short), "ko") == "repeated_lines"


def test_judging_together_equals_judging_alone() -> None:
    rng = random.Random(3)
    texts = [prose(rng.choice(("en", "fr", "ru")), rng, rng.randint(1, 30)) for _ in range(40)] + ["", "..."]
    words = words_of(texts)
    assert judge(texts, "en", words, Runs(words)) == [reason(text, "en") for text in texts]


def test_every_reason_is_explained() -> None:
    assert all(len(meaning) > 20 for meaning in REASONS.values())
