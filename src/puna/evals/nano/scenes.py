"""Questions about composed scenes: how many, what is where, colour and form, bigger and smaller, the odd one out."""

from collections.abc import Callable, Iterable, Iterator

from puna.data import phrases, scenes
from puna.data.emoji import inventory
from puna.data.languages import LANGUAGES
from puna.evals.score import Question, question_rng


def _name(item: scenes.Item) -> str:
    return inventory()[item.code].names["en"]


def counting_questions(each: int = 30) -> Iterator[Question]:
    """1 to 9 equal emoji, `each` of every number, in English. Groups: the number."""
    for number in range(1, scenes.MAX_COUNT + 1):
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
        group = ("left", "right", "top", "bottom")[side]
        yield Question(phrases.ASK_AT["en"][side], (scenes.draw(scene, rng),), _name(scene.at_side(side)), group)


def where_questions(total: int = 240) -> Iterator[Question]:
    """One thing: on the left or on the right, at the top or at the bottom; in all languages. Groups: the language."""
    for index in range(total):
        rng = question_rng("where", index)
        side, language = rng.randrange(4), LANGUAGES[index % len(LANGUAGES)]
        scene = scenes.side_scene(rng, side)
        yield Question(phrases.ASK_SIDE[language][side // 2], (scenes.draw(scene, rng),), phrases.SIDES[language][side], language)


def shape_questions(total: int = 200) -> Iterator[Question]:
    """Colour and form of one shape, in English. Groups: colour, form."""
    for index in range(total):
        rng = question_rng("shapes", index)
        scene = scenes.shape_scene(rng, 1)
        item, asks_colour = scene.items[0], index % 2 == 0
        table = phrases.ASK_COLOUR if asks_colour else phrases.ASK_SHAPE
        answer = phrases.COLOURS["en"][item.colour] if asks_colour else phrases.SHAPES["en"][item.shape]
        yield Question(rng.choice(table["en"]), (scenes.draw(scene, rng),), answer, "colour" if asks_colour else "form")


def comparing_questions(total: int = 150) -> Iterator[Question]:
    """Which is bigger, which smaller, which the odd one out, in English. Groups: bigger, smaller, odd."""
    for index in range(total):
        rng = question_rng("comparing", index)
        group = ("bigger", "smaller", "odd")[index % 3]
        if group == "odd":
            scene = scenes.odd_scene(rng)
            text, answer = "Which is the odd one out?", _name(scene.odd_one())
        else:
            scene = scenes.size_scene(rng)
            small, big = sorted(scene.items, key=lambda item: item.size)
            first, second = rng.sample((_name(small), _name(big)), 2)
            text, answer = f"Which is {group}: {first} or {second}?", _name(big if group == "bigger" else small)
        yield Question(text, (scenes.draw(scene, rng),), answer, group)


QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {
    "counting": counting_questions,
    "placing": placing_questions,
    "where": where_questions,
    "shapes": shape_questions,
    "comparing": comparing_questions,
}
