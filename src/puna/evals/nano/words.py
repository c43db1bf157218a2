"""Questions in words alone: sums, number words, names across languages, set cards, facts."""

import re
from collections.abc import Callable, Iterable, Iterator

from puna.data import phrases, skills
from puna.data.cards import CARDS
from puna.data.emoji import inventory
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.evals.score import Question, question_rng


def sum_questions(total: int = 300) -> Iterator[Question]:
    """Sums as in training's ranges. Training draws from the same few hundred pairs: this measures that they are known, not transfer."""
    for index in range(total):
        rng = question_rng("sums", index)
        expression, value = skills.sum_pair(rng)
        numbers = [int(number) for number in re.findall(r"\d+", expression)]
        sign = expression.split()[1]
        group = "times" if sign not in "+-" else "to 20" if max(*numbers, int(value)) <= 20 else "to 100"
        yield Question(rng.choice(phrases.ASK_SUM["en"]).format(sum=expression), (), value, group)


def number_word_questions() -> Iterator[Question]:
    """Every drilled number in words, in every language. Groups: the language."""
    for language in LANGUAGES:
        for number in phrases.SPOKEN_NUMBERS:
            yield Question(phrases.ASK_WORDS[language][0].format(number=number), (), phrases.number_word(number, language), language)


def translation_questions(total: int = 330) -> Iterator[Question]:
    """How do you say a name in another language, asked in English. Groups: the language asked for."""
    names = [emoji.names for emoji in inventory().values()]
    for index in range(total):
        rng = question_rng("translation", index)
        target = LANGUAGES[1 + index % (len(LANGUAGES) - 1)]
        entry = rng.choice(names)
        text = phrases.ASK_SAY["en"][0].format(word=entry["en"], language=LANGUAGE_NAMES["en"][target])
        yield Question(text, (), entry[target], target)


def card_questions() -> Iterator[Question]:
    """Every wording of every set card. Groups: the language."""
    for language in LANGUAGES:
        for card in CARDS[language]:
            for text in card.questions:
                yield Question(text, (), card.answer, language)


def fact_questions(total: int = 200) -> Iterator[Question]:
    """The commonest topics, as drilled: what the model remembers of its training."""
    for text, answer in skills.facts()[:total]:
        yield Question(text, (), answer, "fact")


QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {
    "sums": sum_questions,
    "number-words": number_word_questions,
    "translation": translation_questions,
    "cards": card_questions,
    "facts": fact_questions,
}
