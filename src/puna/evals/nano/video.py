"""Questions about short videos: which way, what moved, what came first and last, what appeared or disappeared, what happens. In English
unless said otherwise."""

import random
from collections.abc import Callable, Iterable, Iterator

from puna.data import clips, phrases_seen
from puna.data.clips import Actor, Clip
from puna.data.emoji import inventory
from puna.data.languages import LANGUAGES
from puna.evals.score import Question, question_rng


def _question(clip: Clip, rng: random.Random, text: str, answer: str, group: str) -> Question:
    return Question(text, clips.film(clip, rng), answer, group, clip.timestamps)


def _name(actor: Actor) -> str:
    return inventory()[actor.code].names["en"]


def way_questions(total: int = 200) -> Iterator[Question]:
    """Which way does it move? Groups: left, right, up, down."""
    for index in range(total):
        rng = question_rng("video-way", index)
        way = index % 4
        clip = clips.moving_clip(rng, way)
        answer = phrases_seen.WAYS["en"][way]
        yield _question(clip, rng, rng.choice(phrases_seen.ASK_WAY["en"]), answer, ("left", "right", "up", "down")[way])


def way_in_all_languages(total: int = 240) -> Iterator[Question]:
    """Which way does it move? Groups: the language."""
    for index in range(total):
        rng = question_rng("video-way-languages", index)
        language, way = LANGUAGES[index % len(LANGUAGES)], rng.randrange(4)
        clip = clips.moving_clip(rng, way)
        yield _question(clip, rng, rng.choice(phrases_seen.ASK_WAY[language]), phrases_seen.WAYS[language][way], language)


def moved_questions(total: int = 120) -> Iterator[Question]:
    """One thing moves beside another that stands still: what moved? Groups: along a row, along a column."""
    for index in range(total):
        rng = question_rng("video-moved", index)
        clip = clips.moving_clip(rng, index % 4, watched=True)
        (mover,) = clip.movers()
        yield _question(clip, rng, rng.choice(phrases_seen.ASK_MOVED["en"]), _name(mover), ("row", "column")[index % 4 // 2])


def first_questions(total: int = 200) -> Iterator[Question]:
    """What came first? Groups: of how many."""
    for index in range(total):
        rng = question_rng("video-first", index)
        clip = clips.order_clip(rng, 2 + index % 2)
        yield _question(clip, rng, phrases_seen.ASK_FIRST["en"], _name(clip.in_order()[0]), f"of {len(clip.actors)}")


def last_questions(total: int = 120) -> Iterator[Question]:
    """What came last? Groups: of how many."""
    for index in range(total):
        rng = question_rng("video-last", index)
        clip = clips.order_clip(rng, 2 + index % 2)
        yield _question(clip, rng, phrases_seen.ASK_LAST["en"], _name(clip.in_order()[-1]), f"of {len(clip.actors)}")


def appeared_questions(total: int = 160) -> Iterator[Question]:
    """What appeared, what disappeared? Groups: these."""
    for index in range(total):
        rng = question_rng("video-appeared", index)
        appears = index % 2 == 0
        clip = clips.appear_clip(rng, appears)
        (changed,) = clip.newcomers() if appears else clip.leavers()
        ask = phrases_seen.ASK_APPEARED if appears else phrases_seen.ASK_DISAPPEARED
        yield _question(clip, rng, rng.choice(ask["en"]), _name(changed), "appeared" if appears else "disappeared")


def change_questions(total: int = 160) -> Iterator[Question]:
    """What happens to it? Groups: the answers."""
    for index in range(total):
        rng = question_rng("video-change", index)
        clip = clips.change_clip(rng, index % 4)
        answer = phrases_seen.HAPPENINGS["en"][index % 4]
        yield _question(clip, rng, rng.choice(phrases_seen.ASK_HAPPENS["en"]), answer, answer)


QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {
    "video-way": way_questions,
    "video-way-languages": way_in_all_languages,
    "video-moved": moved_questions,
    "video-first": first_questions,
    "video-last": last_questions,
    "video-appeared": appeared_questions,
    "video-change": change_questions,
}
