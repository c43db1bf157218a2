"""What is this? Emoji and flags in new size, place and background, by artists who trained and by one who never did; clothes.

Pictures are shown as their artist drew them: what training changes to look like another hand (`data.restyle`) is left out here.
"""

from collections.abc import Callable, Iterable, Iterator

from puna.data import photos, phrases, phrases_seen
from puna.data.emoji import UNSEEN_ARTIST, Emoji, album, artists_of, codes, inventory, render_emoji
from puna.data.languages import LANGUAGES
from puna.evals.score import Question, question_rng


def _question(emoji: Emoji, language: str, index: int, artist: str | None = None) -> Question:
    """Question `index` of the naming tasks; a flag is asked for its country. Group: emoji or flag."""
    rng = question_rng("naming", index)
    drawn_by = artist or rng.choice(artists_of(emoji.code))
    text = rng.choice((phrases.ASK_COUNTRY if emoji.is_flag else phrases.ASK_NAME)[language])
    picture = render_emoji(emoji.code, rng, drawn_by, restyled=0.0)
    return Question(text, (picture,), emoji.names[language], "flag" if emoji.is_flag else "emoji")


def naming_questions(language: str, views: int = 1, artist: str | None = None) -> Iterator[Question]:
    """Each of the 400 chosen in `views` new renderings. Groups: emoji, flag. With `artist`, those that this artist drew."""
    for place, code in enumerate(codes()):
        if artist is None or code in album(artist):
            for view in range(views):
                # The language is in the index, so that no two languages share a rendering.
                yield _question(inventory()[code], language, (LANGUAGES.index(language) * 10_000 + place) * 10 + view, artist)


def naming_in_all_languages() -> Iterator[Question]:
    """Each of the 400 once in every language. Groups: the language."""
    for language in LANGUAGES:
        for question in naming_questions(language):
            yield question._replace(group=language)


def naming_everything(languages_each: int = 2) -> Iterator[Question]:
    """Each emoji and flag of the inventory "all" in two languages that go around. Groups: the language."""
    for place, emoji in enumerate(inventory("all").values()):
        for view in range(languages_each):
            language = LANGUAGES[(place + view * len(LANGUAGES) // languages_each) % len(LANGUAGES)]
            yield _question(emoji, language, 2_000_000 + place * 10 + view)._replace(group=language)


def clothes_questions() -> Iterator[Question]:
    """The test photographs of ten kinds of clothes, in English. Groups: the kind."""
    for index, (name, what) in enumerate(photos.clothes("test")):
        rng = question_rng("clothes", index)
        answer = phrases_seen.CLOTHES_NAMES["en"][what]
        yield Question(rng.choice(phrases.ASK_NAME["en"]), (photos.picture("clothing_128", name),), answer, answer)


QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {
    "naming": lambda: naming_questions("en", views=2),
    "naming-languages": naming_in_all_languages,
    "naming-unseen": lambda: naming_questions("en", artist=UNSEEN_ARTIST),
    "naming-all": naming_everything,
    "clothes": clothes_questions,
}
