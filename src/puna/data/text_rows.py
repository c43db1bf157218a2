"""Every kind of training row without pictures, by name: drills, and conversations built from real text.

A kind is a function of a generator. `KINDS` lists them; `samples` mixes them with the rows that have pictures. Questions and answers
are made by the files of their subjects (`arithmetic`, `lexicon`, `copying`, ...), of which none knows rows.
"""

import random
from collections.abc import Callable, Iterable

from puna.data import arithmetic, ask_text, commands, copying, definitions, formats, lexicon, phrases, prose, skills, tales
from puna.data.cards import BEYOND, CARDS
from puna.data.languages import LANGUAGE_NAMES
from puna.data.numbers import LARGEST, is_held_out, number_word
from puna.data.row import Sample, chat
from puna.data.skills import Turn, pick_language
from puna.data.stories import short_story, story

Turns = Iterable[Turn]


def _several(turn: Callable[[random.Random, str], Turn], most: int, english: float) -> Callable[[random.Random], Turns]:
    """One to `most` turns in one language."""

    def turns(rng: random.Random) -> Turns:
        language = pick_language(rng, english)
        return [turn(rng, language) for _ in range(rng.randint(1, most))]

    return turns


def _say(rng: random.Random) -> Turns:
    """One to four words of one language, each in one to three others."""
    language = pick_language(rng)
    return [turn for _ in range(rng.choice((1, 2, 3, 4))) for turn in lexicon.say_turns(rng, language)]


def _means(rng: random.Random) -> Turns:
    """A foreign word in one's own language; one time in four, between two foreign languages."""
    language = pick_language(rng, 0.5)
    return [lexicon.third_turn(rng, language) if rng.random() < 0.25 else lexicon.means_turn(rng, language)]


def _number(rng: random.Random) -> int:
    """A number that trains: small ones most often."""
    top = rng.choices((100, 1000, LARGEST + 1), (55, 25, 20))[0]
    while is_held_out(number := rng.randrange(top)):
        pass
    return number


def number_turn(rng: random.Random, language: str) -> Turn:
    """Digits to words, or words to digits."""
    number = _number(rng)
    word = number_word(number, language)
    if rng.random() < 0.65:
        return rng.choice(phrases.ASK_WORDS[language]).format(number=number), word
    return phrases.ASK_DIGITS[language].format(word=word), str(number)


def _arithmetic(rng: random.Random) -> Turns:
    """Sums most of the time; comparing, counting on, a small problem in words."""
    language, draw = pick_language(rng, 0.45), rng.random()
    if draw < 0.78:
        return [arithmetic.sum_turn(rng, language) for _ in range(rng.choice((1, 2, 3, 4)))]
    if draw < 0.87:
        return [arithmetic.compare_turn(rng, language) for _ in range(rng.choice((1, 2)))]
    if draw < 0.94:
        return [arithmetic.neighbour_turn(rng, language) for _ in range(rng.choice((1, 2)))]
    return [arithmetic.word_problem(rng)]


def _copy(rng: random.Random) -> Turns:
    language = pick_language(rng)
    return [copying.sentence_turn(rng, language) if rng.random() < 0.2 else copying.copy_turn(rng, language)]


def _needle(rng: random.Random) -> Turns:
    return copying.needle_turns(rng, pick_language(rng))


def _command(rng: random.Random) -> Turns:
    return commands.command_turns(rng, pick_language(rng))


def _what_is(rng: random.Random) -> Turns:
    """A definition in English, one time in six in Korean."""
    return [definitions.definition_turn(rng)] if rng.random() < 1 / 6 else skills.what_is(rng).turns


def _sentence(rng: random.Random) -> Turns:
    """A short sentence translated; asked in the language that it is in, or in English. One in five: which language is it?"""
    # English on one side as often as not.
    source, target = rng.choice([pair for pair in prose.directions() if "en" in pair] if rng.random() < 0.4 else prose.directions())
    passage = rng.choice(prose.pairs(source, target))
    speaker = "en" if rng.random() < 0.25 else source
    if rng.random() < 0.2:
        # Named as a language is named in the question "And in ...?".
        return [(ask_text.ASK_WHICH_LANGUAGE.format(word=passage[source]), LANGUAGE_NAMES["en"][source])]
    ask = rng.choice(ask_text.ASK_TRANSLATE[speaker])
    return [(ask.format(text=passage[source], language=LANGUAGE_NAMES[speaker][target]), passage[target])]


def _free(rng: random.Random) -> Turns:
    """Whatever somebody may say, for which a sentence from a book stands: too much for a nano, and to be told so in its own language."""
    language = pick_language(rng)
    (card,) = (card for card in CARDS[language] if card.topic == BEYOND)
    return [(rng.choice(prose.said_in(language)), card.answer)]


def _tale(rng: random.Random) -> Turns:
    """A picture book read aloud, in a language that has some."""
    language = pick_language(rng)
    return [tales.tale_turn(rng, language if language in tales.languages() else rng.choice(tales.languages()))]


def _story(rng: random.Random) -> Turns:
    """A made-up story: English ones most often, and in four languages whose grammar lets names be put in as they are."""
    if rng.random() < 0.25:
        language = rng.choice(("id", "ja", "ko", "zh"))
        return [(rng.choice(ask_text.ASK_ANY_STORY[language]), short_story(rng, language))]
    return skills.tell_story(rng).turns


def _form(rng: random.Random) -> Turns:
    """Lists of so many, answers in another language, JSON, capitals and spelling."""
    draw = rng.random()
    if draw < 0.5:
        return [formats.list_turn(rng, pick_language(rng))]
    if draw < 0.75:
        return [formats.answer_in_turn(rng, pick_language(rng))]
    return [formats.json_turn(rng) if draw < 0.87 else formats.spelling_turn(rng)]


_TURNS: dict[str, Callable[[random.Random], Turns]] = {
    "translate": _say,
    "into_english": _means,
    "number_words": _several(number_turn, 3, 0.25),
    "sums": _arithmetic,
    "what_is": _what_is,
    "geography": _several(formats.geography_turn, 2, 0.3),
    "story": _story,
    "tale": _tale,
    "card": lambda rng: skills.card(rng).turns,
    "repeat": _copy,
    "needle": _needle,
    "command": _command,
    "sentence": _sentence,
    "free": _free,
    "form": _form,
}


def _conversation(kind: str) -> Callable[[random.Random], Sample]:
    return lambda rng: chat(kind, tuple(_TURNS[kind](rng)))


def names_list(rng: random.Random) -> Sample:
    """The names of a few things as lines, without a picture."""
    return Sample("names_list", document="\n\n".join(skills.name_lines(rng) for _ in range(rng.choice((1, 2, 3)))))


def story_text(rng: random.Random) -> Sample:
    """A template story as a plain document."""
    return Sample("story_text", document="\n\n".join(story(rng) for _ in range(rng.choice((1, 1, 2)))))


def sums_text(rng: random.Random) -> Sample:
    """Sums as a plain document."""
    return Sample("sums_text", document=arithmetic.sum_lines(rng, rng.randint(5, 12)), asked_by="=")


KINDS: dict[str, Callable[[random.Random], Sample]] = {
    **{kind: _conversation(kind) for kind in _TURNS},
    "names_list": names_list,
    "story_text": story_text,
    "sums_text": sums_text,
}
