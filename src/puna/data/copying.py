"""Drills of copying and finding: repeat, reverse, which word was where, and codes hidden in prose of up to some 2,000 tokens.

What a code belongs to is drawn anew in each row, so that the answer stands in the text alone. [ours] Knows no tokens: lengths are in
English letters, of which a nano's token holds about four.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

from puna.data import ask_text, prose
from puna.data.lexicon import words_of

_LETTERS_PER_TOKEN = 4
_CONSONANTS = "BCDFGHJKLMNPRSTVWXZ"
_JOINER = {"ar": "، ", "ja": "、", "zh": "、"}
# Lengths in tokens of the text that hides the codes, and how often each.
_DEPTHS, _DEPTH_SHARES = (60, 120, 250, 450, 900, 1700), (30, 25, 20, 15, 7, 3)


class Hidden(NamedTuple):
    """A text with codes in it: `text`, the names that were given codes, and the codes."""

    text: str
    names: tuple[str, ...]
    codes: tuple[str, ...]


def joined(words: Sequence[str], language: str) -> str:
    """A list as the language writes it."""
    return _JOINER.get(language, ", ").join(words)


def _nouns(rng: random.Random, language: str, number: int) -> list[str]:
    # Names that are all different: some languages have one word for two pictures.
    return rng.sample(sorted({word.names[language] for word in words_of("noun")}), number)


def code(rng: random.Random) -> str:
    """Four signs that no text holds by chance: "7K42" or "4815"."""
    if rng.random() < 0.5:
        return f"{rng.randrange(10)}{rng.choice(_CONSONANTS)}{rng.randrange(10)}{rng.randrange(10)}"
    return f"{rng.randrange(1000, 10000)}"


def copy_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """Repeat, say backwards, or say which word stands where."""
    words = _nouns(rng, language, rng.randint(2, 6))
    if rng.random() < 0.25:
        words = [code(rng) for _ in words]
    draw = rng.random()
    listed = joined(words, language)
    if draw < 0.4:
        return ask_text.ASK_REPEAT[language].format(words=listed), listed
    if draw < 0.65:
        return ask_text.ASK_REVERSE[language].format(words=listed), joined(words[::-1], language)
    place = rng.randrange(3 if len(words) > 2 else 2)
    return ask_text.ASK_WORD_AT[language][place].format(words=listed), words[(0, -1, 1)[place]]


def sentence_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """Repeat a sentence of a book; where chance finds no whole one, words."""
    clean = [text for text in prose.haystack(rng, language, 600) if prose.is_clean(text, language)]
    if not clean:
        return copy_turn(rng, language)
    text = rng.choice(clean)
    return ask_text.ASK_REPEAT[language].format(words=text), text


def hide(rng: random.Random, language: str, tokens: int, number: int, split: str = "train", depth: float | None = None) -> Hidden:
    """`number` codes in a text of about `tokens` tokens; the first at `depth` (0 the beginning, 1 the end) or anywhere."""
    lines = prose.haystack(rng, language, tokens * _LETTERS_PER_TOKEN, split)
    names = _nouns(rng, language, number)
    codes = [code(rng) for _ in names]
    for place, (name, secret) in enumerate(zip(names, codes, strict=True)):
        at = round(depth * len(lines)) if depth is not None and not place else rng.randint(0, len(lines))
        lines.insert(at, ask_text.CODE_SENTENCE[language].format(name=name, code=secret))
    return Hidden(("" if language in ("ja", "zh") else " ").join(lines), tuple(names), tuple(codes))


def needle_turns(rng: random.Random, language: str) -> list[tuple[str, str]]:
    """A text with one to four codes, then questions for one or two of them."""
    hidden = hide(rng, language, rng.choices(_DEPTHS, _DEPTH_SHARES)[0], rng.choice((1, 1, 2, 3, 4)))
    asked = rng.sample(range(len(hidden.names)), min(len(hidden.names), rng.choice((1, 1, 2))))
    turns = [(ask_text.ASK_CODE[language].format(name=hidden.names[place]), hidden.codes[place]) for place in asked]
    return [(f"{hidden.text}\n{turns[0][0]}", turns[0][1]), *turns[1:]]
