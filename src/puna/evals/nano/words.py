"""Questions in words alone: sums, numbers, names across languages, countries, set cards, facts, copying and finding.

Sums, large numbers and names are asked on the held-out side of splits that training respects (`arithmetic`, `numbers`, `lexicon`).
Capitals, cards and facts are finite sets which training holds whole: those scores say what was remembered.
"""

import random
from collections.abc import Callable, Iterable, Iterator

from puna.data import arithmetic, ask_text, copying, definitions, formats, lexicon, phrases, skills
from puna.data.cards import CARDS
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.numbers import LARGEST, is_held_out, number_word
from puna.evals.score import Question, question_rng

NEEDLE_TOKENS: tuple[int, ...] = (128, 256, 512, 1024, 1800)
NEEDLE_DEPTHS: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)


def sum_questions(total: int = 300) -> Iterator[Question]:
    """Two-digit sums and differences of held-out pairs, in English. Groups: +, -."""
    for index in range(total):
        rng = question_rng("sums", index)
        problem = arithmetic.two_digits(rng, held_out=True)
        text = rng.choice(phrases.ASK_SUM["en"]).format(sum=f"{problem.a} {problem.sign} {problem.b}")
        yield Question(text, (), str(problem.value), problem.sign)


def step_questions(total: int = 120) -> Iterator[Question]:
    """The same step by step: the whole line must be right. Groups: +, -."""
    for index in range(total):
        problem = arithmetic.two_digits(question_rng("steps", index), held_out=True)
        text = ask_text.ASK_STEPS["en"].format(sum=f"{problem.a} {problem.sign} {problem.b}")
        yield Question(text, (), arithmetic.worked(problem), problem.sign)


def easy_sum_questions(total: int = 200) -> Iterator[Question]:
    """What is known by heart: sums to 20, tens, products, quotients, two digits and one. Groups: the sign."""
    for index in range(total):
        rng = question_rng("easy sums", index)
        problem = arithmetic.easy(rng)
        yield Question(rng.choice(phrases.ASK_SUM["en"]).format(sum=arithmetic.written(problem, rng)), (), str(problem.value), problem.sign)


def number_word_questions(each: int = 10) -> Iterator[Question]:
    """Numbers in words, in every language: `each` up to 100, and as many held-out ones to 999 and to 9,999. Groups: the language."""
    for language in LANGUAGES:
        for index in range(3 * each):
            rng = question_rng("number words", index)
            low, high = ((0, 100), (101, 999), (1000, LARGEST))[index % 3]
            while not is_held_out(number := rng.randint(low, high)) and high > 100:
                pass
            yield Question(rng.choice(phrases.ASK_WORDS[language]).format(number=number), (), number_word(number, language), language)


def _held_out_word(rng: random.Random, kind: str, speaker: str) -> tuple[lexicon.Word, str]:
    """A word of `kind` and a language into which training never asks for its name in `speaker`; not one that is spelled the same there."""
    while True:
        word, target = rng.choice(lexicon.words_of(kind)), rng.choice(LANGUAGES)
        name = word.names[speaker]
        differs = name.casefold() != word.names[target].casefold()
        asks = differs and lexicon.is_held_out(name, target, by_all=True) and len(lexicon.meanings(name, target, speaker)) == 1
        if target != speaker and asks:
            return word, target


def translation_questions(total: int = 360) -> Iterator[Question]:
    """How do you say a noun or a country in another language: held-out directions, asked in all languages. Groups: noun, country."""
    for index in range(total):
        rng = question_rng("translation", index)
        kind, speaker = ("noun", "country")[index % 2], LANGUAGES[index // 2 % len(LANGUAGES)]
        word, target = _held_out_word(rng, kind, speaker)
        text = rng.choice(phrases.ASK_SAY[speaker]).format(word=word.names[speaker], language=LANGUAGE_NAMES[speaker][target])
        yield Question(text, (), word.names[target], kind)


def geography_questions(total: int = 180) -> Iterator[Question]:
    """Capitals and continents in all languages, as drilled. Groups: the language."""
    for index in range(total):
        language = LANGUAGES[index % len(LANGUAGES)]
        text, answer = formats.geography_turn(question_rng("geography", index), language)
        yield Question(text, (), answer, language)


def card_questions() -> Iterator[Question]:
    """Two wordings of every set card, the last ones. Groups: the language."""
    for language in LANGUAGES:
        for card in CARDS[language]:
            for text in card.questions[-2:]:
                yield Question(text, (), card.answer, language)


def fact_questions(total: int = 200) -> Iterator[Question]:
    """The commonest topics, as drilled: what the model remembers of its training. Groups: en, ko."""
    for text, answer in skills.facts()[:total]:
        yield Question(text, (), answer, "en")
    for title, answer in definitions.definitions()[: total // 4]:
        yield Question(ask_text.ASK_WHAT_IS["ko"][0].format(title=title), (), answer, "ko")


def copy_questions(total: int = 240) -> Iterator[Question]:
    """Repeat, reverse, which word stands where, in all languages. Groups: the language."""
    for index in range(total):
        language = LANGUAGES[index % len(LANGUAGES)]
        text, answer = copying.copy_turn(question_rng("copying", index), language)
        yield Question(text, (), answer, language)


def needle_questions(each: int = 4) -> Iterator[Question]:
    """One code among four in held-out English prose, at five depths of five lengths. Groups: about how many tokens the text has."""
    for tokens in NEEDLE_TOKENS:
        for depth in NEEDLE_DEPTHS:
            for view in range(each):
                rng = question_rng(f"needle {tokens} {depth}", view)
                hidden = copying.hide(rng, "en", tokens, 4, "held_out", depth)
                text = f"{hidden.text}\n{ask_text.ASK_CODE['en'].format(name=hidden.names[0])}"
                yield Question(text, (), hidden.codes[0], f"{tokens} tokens")


QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {
    "sums": sum_questions,
    "sums-steps": step_questions,
    "sums-easy": easy_sum_questions,
    "number-words": number_word_questions,
    "translation": translation_questions,
    "geography": geography_questions,
    "cards": card_questions,
    "facts": fact_questions,
    "copying": copy_questions,
    "needles": needle_questions,
}
