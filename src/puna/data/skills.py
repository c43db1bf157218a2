"""Text-only drills as (question, answer) turns: facts, stories, set cards; and tables of names.

Each drill is a function of a generator alone and returns a `Drill`: turns, and the kind's name. Everything is true by construction
except `what_is`, whose answers are first sentences of Simple English Wikipedia. Knows no pictures and no tokens.
"""

import random
import re
from collections import Counter
from functools import cache
from typing import NamedTuple

from puna.data.cards import CARDS
from puna.data.emoji import inventory
from puna.data.english import with_article
from puna.data.languages import LANGUAGES
from puna.data.stories import HEROES, story
from puna.data.text import rows, split_of

Turn = tuple[str, str]
ENGLISH_SHARE = 0.35
NUM_FACTS = 1500


class Drill(NamedTuple):
    """Question and answer pairs, in order; one conversation."""

    turns: tuple[Turn, ...]


def pick_language(rng: random.Random, english: float = ENGLISH_SHARE) -> str:
    """English with probability `english`, else one of the other eleven."""
    return "en" if rng.random() < english else LANGUAGES[rng.randrange(1, len(LANGUAGES))]


_FACT = re.compile(r"^(?P<article>(?:A|An|The) )?(?P<title>.+?)(?: \([^)]*\))?,? (?:is|are) .{12,130}?[a-z)]\.(?: |\n|$)")
# Years and births mark persons and events, of which a small model remembers nothing.
_TOO_SPECIAL = re.compile(
    r"\d{3,}|born|footballer|actor|singer|politician|commune|municipality|village|department|province|district|sex|nud|abortion|porn|rape|suicid|murder|Nazi|terror|genital"
    r"|preposition|pronoun|conjunction|adjective|adverb|alphabet|is a word|letter of|given name|surname|Wikipedia|software|website"
)


# Where the dump lost a name or a number, the sentence ends too early.
_CUT_SHORT = re.compile(r" (?:a|an|and|at|between|by|for|from|in|is|of|on|or|than|the|to|with)\.$| ,|, ?,")


@cache
def facts() -> tuple[Turn, ...]:
    """("What is an apple?", "An apple is ...") for the common topics of Simple English Wikipedia, the commonest words first.

    A topic is as common as its title's rarest word is in the openings of the articles.
    """
    frequency: Counter[str] = Counter()
    found: list[tuple[str, Turn]] = []
    for place, row in enumerate(rows("wikipedia_simple_en")):
        if place == 30_000:  # The dump's order is that of creation: what everybody looks up was written first.
            break
        title, _, body = row["text"].partition("\n")
        frequency.update(set(re.findall(r"[a-z]+", body[:600].lower())))
        if split_of("wikipedia_simple_en", row["key"]) == "train" and (turn := fact(title, body)):
            found.append((title.lower(), turn))
    found.sort(key=lambda entry: -min(frequency[word] / len(entry[0].split()) for word in entry[0].split()))
    return tuple(turn for _, turn in found[:NUM_FACTS])


def fact(title: str, body: str) -> Turn | None:
    """The question and the first sentence, if it is a short definition that begins with the title itself."""
    match = _FACT.match(body)
    if not match or match["title"].lower() != title.lower() or len(title.split()) > 2 or not title.replace(" ", "").isascii():
        return None
    sentence = re.sub(r" \([^)]*\)", "", match[0]).strip()
    sentence = re.sub(r"^([^,]{1,40}), (is|are) ", r"\1 \2 ", sentence)
    is_special = not title.replace(" ", "").isalpha() or _TOO_SPECIAL.search(sentence)
    if is_special or _CUT_SHORT.search(sentence) or len(sentence) > 120 or sentence.count(". "):
        return None
    # The article's own use tells a common noun from a name; so does a second word that is written small.
    common = title[0].lower() + title[1:]
    name = common if body.count(f" {common}") >= 2 or title.partition(" ")[2][:1].islower() else title
    verb = "are" if re.match(rf"^(?:\w+ )?{re.escape(match['title'])},? are ", sentence) else "is"
    return f"What {verb} {(match['article'] or '').lower()}{name}?", sentence


def what_is(rng: random.Random) -> Drill:
    """One or two facts. The most common topics come most often."""
    turns = []
    for _ in range(rng.choice((1, 1, 2))):
        question, answer = facts()[int(len(facts()) * rng.random() ** 1.5)]
        if rng.random() < 0.2:
            question = question.replace("What is", "Tell me about", 1).replace("What are", "Tell me about", 1).replace("?", ".")
        turns.append((question, answer))
    return Drill(tuple(turns))


def tell_story(rng: random.Random) -> Drill:
    """A story, about a hero who is asked for or about anyone."""
    if rng.random() < 0.2:
        return Drill(((rng.choice(("Tell me a story.", "Tell me a short story.", "Write a story.")), story(rng)),))
    hero = rng.choice(HEROES)
    ask = rng.choice(
        ("Tell me a story about {}.", "Write a short story about {}.", "Tell me a short story about {}.", "Can you tell a story about {}?")
    )
    return Drill(((ask.format(with_article(hero)), story(rng, hero)),))


def card(rng: random.Random) -> Drill:
    """One to three set cards in one language."""
    language = pick_language(rng, 0.3)
    chosen = rng.sample(CARDS[language], rng.choice((1, 1, 2, 3)))
    return Drill(tuple((rng.choice(entry.questions), entry.answer) for entry in chosen))


def name_lines(rng: random.Random, names: dict[str, str] | None = None) -> str:
    """The names of one thing as a small table, a line a language: "en: cat". The same form stands under pictures."""
    names = names or dict(rng.choice(tuple(inventory().values())).names)
    languages = rng.sample(LANGUAGES, rng.choice((3, 4, 6, 12)))
    if "en" not in languages and rng.random() < 0.7:
        languages[0] = "en"
    return "\n".join(f"{language}: {names[language]}" for language in languages)
