"""The texts that a nano tokenizer is trained on, in which the drills' own words have their share. Knows no shards."""

from collections.abc import Iterable, Iterator

from puna.data import phrases
from puna.data.cards import CARDS
from puna.data.chance import generator
from puna.data.emoji import inventory
from puna.data.languages import LANGUAGE_NAMES
from puna.data.skills import facts, name_lines
from puna.data.stories import story


def tokenizer_texts(prose: Iterable[str]) -> Iterator[str]:
    """What a nano vocabulary is learned from: prose, and the drills often enough that names become short."""
    yield from prose
    yield from drill_texts()


def drill_texts(repeats: int = 60) -> Iterable[str]:
    """Names, questions, cards, facts and stories, as often as training will meet them in proportion to the prose."""
    lines = [name for emoji in inventory().values() for name in emoji.names.values()]
    lines += [name for table in LANGUAGE_NAMES.values() for name in table.values()]
    for table in vars(phrases).values():
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
