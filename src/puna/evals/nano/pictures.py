"""Questions about one picture: names, numbers, places, colours and forms. Pictures are new renderings, drawn for the "eval" purpose."""

from collections.abc import Callable, Iterable, Iterator

from puna.data import phrases, scenes
from puna.data.emoji import UNSEEN_ARTIST, album, artists_of, codes, inventory, render_emoji
from puna.data.languages import LANGUAGES
from puna.evals.score import Question, question_rng


def naming_questions(language: str, views: int = 1, artist: str | None = None) -> Iterator[Question]:
    """Each emoji and flag in `views` new renderings; flags are asked for their country. Groups: emoji, flag."""
    for place, code in enumerate(codes()):
        if artist == UNSEEN_ARTIST and code not in album(UNSEEN_ARTIST):
            continue
        emoji = inventory()[code]
        for view in range(views):
            # The language is in the index, so that no two languages share a rendering.
            rng = question_rng("naming", (LANGUAGES.index(language) * 10_000 + place) * 10 + view)
            drawn_by = artist or rng.choice(artists_of(code))
            text = rng.choice((phrases.ASK_COUNTRY if emoji.is_flag else phrases.ASK_NAME)[language])
            yield Question(text, (render_emoji(code, rng, drawn_by),), emoji.names[language], "flag" if emoji.is_flag else "emoji")


def naming_in_all_languages() -> Iterator[Question]:
    """Each emoji and flag once in every language. Groups: the language."""
    for language in LANGUAGES:
        for question in naming_questions(language):
            yield question._replace(group=language)


def counting_questions(each: int = 40) -> Iterator[Question]:
    """1 to 5 equal emoji, `each` of every number, in English. Groups: the number."""
    for number in range(1, 6):
        for view in range(each):
            rng = question_rng("counting", number * 1000 + view)
            scene = scenes.counting_scene(rng, number)
            yield Question(rng.choice(phrases.ASK_COUNT["en"]), (scenes.draw(scene, rng),), str(number), str(number))


def placing_questions(total: int = 200) -> Iterator[Question]:
    """Two things in a row: what is on a side, in English. Groups: left, right, top, bottom."""
    for index in range(total):
        rng = question_rng("placing", index)
        side = index % 4
        scene = scenes.row_scene(rng, 2, vertical=side >= 2)
        answer = inventory()[scene.at_side(side).code].names["en"]
        yield Question(phrases.ASK_AT["en"][side], (scenes.draw(scene, rng),), answer, ("left", "right", "top", "bottom")[side])


def where_questions(total: int = 120) -> Iterator[Question]:
    """One thing: on the left or on the right, at the top or at the bottom; in all languages. Groups: the language."""
    for index in range(total):
        rng = question_rng("where", index)
        side, language = rng.randrange(4), LANGUAGES[index % len(LANGUAGES)]
        scene = scenes.side_scene(rng, side)
        yield Question(phrases.ASK_SIDE[language][side // 2], (scenes.draw(scene, rng),), phrases.SIDES[language][side], language)


def shape_questions(total: int = 120) -> Iterator[Question]:
    """Colour and form of one shape, in English. Groups: colour, form."""
    for index in range(total):
        rng = question_rng("shapes", index)
        scene = scenes.shape_scene(rng, 1)
        item, asks_colour = scene.items[0], index % 2 == 0
        table = phrases.ASK_COLOUR if asks_colour else phrases.ASK_SHAPE
        answer = phrases.COLOURS["en"][item.colour] if asks_colour else phrases.SHAPES["en"][item.shape]
        yield Question(rng.choice(table["en"]), (scenes.draw(scene, rng),), answer, "colour" if asks_colour else "form")


QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {
    "naming": lambda: naming_questions("en", views=2),
    "naming-languages": naming_in_all_languages,
    "naming-unseen": lambda: naming_questions("en", artist=UNSEEN_ARTIST),
    "counting": counting_questions,
    "placing": placing_questions,
    "where": where_questions,
    "shapes": shape_questions,
}
