"""What is printed on pictures to be read: numbers of one to four digits, and short names of things in six languages. [ours]"""

import random
from functools import cache

from puna.data.emoji import inventory
from puna.data.lettering import can_write

LANGUAGES_READ: tuple[str, ...] = ("en", "es", "fr", "de", "pt", "id")
_LONGEST = 8


@cache
def vocabulary(language: str) -> tuple[str, ...]:
    """The inventory's names of one word and at most eight letters that can be written, in order, each once."""
    names = (emoji.names[language] for emoji in inventory().values())
    return tuple(dict.fromkeys(name for name in names if len(name) <= _LONGEST and can_write(name)))


def any_number(rng: random.Random) -> str:
    """One to four digits, one and two most often; a leading zero stands only alone."""
    digits = rng.choice((1, 1, 1, 2, 2, 2, 3, 3, 4))
    return str(rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits))


def any_word(rng: random.Random) -> tuple[str, str]:
    """A word and its language; sometimes with a capital, or all in capitals where it has no accents."""
    language = "en" if rng.random() < 0.4 else rng.choice(LANGUAGES_READ[1:])
    word = rng.choice(vocabulary(language))
    draw = rng.random()
    changed = word.upper() if draw < 0.2 else word.capitalize() if draw < 0.4 else word
    return (changed if can_write(changed) else word), language
