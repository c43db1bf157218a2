"""Questions about printed text: numbers of one to four digits, short words in six languages."""

from collections.abc import Callable, Iterable, Iterator

from puna.data import phrases_seen
from puna.data.lettering import letter
from puna.data.reading import LANGUAGES_READ, any_number, vocabulary
from puna.evals.score import Question, question_rng


def number_questions(total: int = 240) -> Iterator[Question]:
    """Printed numbers, as many of each length, in English. Groups: the number of digits."""
    for index in range(total):
        rng = question_rng("digits", index)
        digits = 1 + index % 4
        number = any_number(rng)
        while len(number) != digits:
            number = any_number(rng)
        yield Question(rng.choice(phrases_seen.ASK_NUMBER["en"]), (letter(number, rng).picture,), number, f"{digits} digits")


def word_questions(total: int = 240) -> Iterator[Question]:
    """Printed names of things, in small letters; all words are of the trained vocabulary, every picture is new. Groups: the language."""
    for index in range(total):
        rng = question_rng("words", index)
        language = LANGUAGES_READ[index % len(LANGUAGES_READ)]
        word = rng.choice(vocabulary(language))
        yield Question(rng.choice(phrases_seen.ASK_READ[language]), (letter(word, rng).picture,), word, language)


QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {"printed-numbers": number_questions, "printed-words": word_questions}
