"""First sentences of the Korean Wikipedia as answers to "What is ...?" (CC-BY-SA-4.0); the English ones are `skills.facts`.

A sentence is kept if it is short, begins with the article's own title, and defines it; commonest topics first, as in English. Our sample
of the Chinese Wikipedia is left out: what is short in it is about craters, districts and parties, which nobody asks a nano about. Knows
no tokens.
"""

import random
import re
from collections import Counter
from functools import cache

from puna.data import ask_text
from puna.data.text import clean, rows, split_of

_SOURCE = "wikipedia_ko"
_NUM_DEFINITIONS = 500
# What a small model cannot keep apart: persons, dates, places of administration, single works.
_TOO_SPECIAL = re.compile(
    r"\d|[A-Za-z]|출신|태어|배우|가수|선수|정치인|작가|감독|소설|영화|앨범|노래|드라마|만화|게임|행정|마을|읍|전투|전쟁|사건|나치|성행위|성교|살인"
    r"|자살|의 시이다|의 도이다|의 주이다|있는 시|있는 군|있는 구|의 도시|처녀|장남|신하|군인|‘|밴드"
)
_BRACKET = re.compile(r"\s*\([^()]*\)")
_TITLE = re.compile(r"[가-힣]{1,6}")
# "is", "is called", "means": how a definition ends.
_ENDS = ("이다.", "말한다.", "뜻한다.")


def definition(title: str, body: str) -> str | None:
    """ "사과는 ... 이다." from an article called 사과, else None."""
    sentence = _BRACKET.sub("", body.split("다.")[0] + "다.").strip()
    if not _TITLE.fullmatch(title) or not sentence.startswith((f"{title}은 ", f"{title}는 ")) or _TOO_SPECIAL.search(sentence):
        return None
    return sentence if 15 <= len(sentence) <= 60 and sentence.endswith(_ENDS) and "\n" not in sentence else None


@cache
def definitions() -> tuple[tuple[str, str], ...]:
    """(title, first sentence), the titles first that most other articles mention."""
    found: list[tuple[str, str]] = []
    words: Counter[str] = Counter()
    for row in rows(_SOURCE):
        title, _, body = clean(row["text"], _SOURCE).partition("\n")
        # Endings follow a noun without a space: each beginning of a word may be a title.
        words.update({word[:size] for word in body[:400].split() for size in range(1, 7)})
        if split_of(_SOURCE, row["key"]) == "train" and (sentence := definition(title, body)):
            found.append((title, sentence))
    return tuple(sorted(found, key=lambda entry: (-words[entry[0]], entry[0]))[:_NUM_DEFINITIONS])


def definition_turn(rng: random.Random) -> tuple[str, str]:
    """A topic and its first sentence; common topics most often."""
    entries = definitions()
    title, sentence = entries[int(len(entries) * rng.random() ** 1.5)]
    return rng.choice(ask_text.ASK_WHAT_IS["ko"]).format(title=title), sentence
