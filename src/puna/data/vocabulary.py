"""The texts that a nano tokenizer is trained on, in which the drills' own words have their share. Knows no shards.

No two digits ever stand side by side in them, so that no merge joins digits: 27 is always 2 and 7, where a vocabulary learned from plain
text knows 20 and 199 as one piece each and cuts 37 and 187 up. [ours] Sums are learned from far fewer tokens (`docs/log.md`).
"""

import re
from collections.abc import Iterable, Iterator

from puna.data import ask_text, formats, phrases, phrases_seen
from puna.data.cards import CARDS
from puna.data.chance import generator
from puna.data.languages import LANGUAGE_NAMES
from puna.data.lexicon import words
from puna.data.numbers import number_word
from puna.data.skills import facts, name_lines
from puna.data.stories import story

_BETWEEN_DIGITS = re.compile(r"(?<=\d)(?=\d)")


def tokenizer_texts(prose: Iterable[str]) -> Iterator[str]:
    """What a nano vocabulary is learned from: prose, and the drills often enough that names become short. Digits apart."""
    for texts in (prose, drill_texts()):
        yield from (_BETWEEN_DIGITS.sub(" ", text) for text in texts)


def drill_texts(repeats: int = 60) -> Iterable[str]:
    """Names, questions, cards, facts and stories, as often as training will meet them in proportion to the prose."""
    lines = [name for word in words() for name in word.names.values()]
    lines += [name for table in LANGUAGE_NAMES.values() for name in table.values()]
    lines += [number_word(number, language) for language in LANGUAGE_NAMES for number in range(0, 100)]
    for table in (table for module in (phrases, phrases_seen, ask_text, formats) for table in vars(module).values()):
        if isinstance(table, dict):
            lines += [
                line for entry in table.values() for line in (entry if isinstance(entry, tuple) else (entry,)) if isinstance(line, str)
            ]
    lines += [line for cards in CARDS.values() for entry in cards for line in (*entry.questions, entry.answer)]
    yield from ("\n".join(lines) for _ in range(repeats))
    yield from ("\n".join(part for turn in facts() for part in turn) for _ in range(3))
    for index in range(3000):
        rng = generator("train", 0, index)
        yield story(rng)
        yield name_lines(rng)
