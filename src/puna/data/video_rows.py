"""Kinds of rows about short videos: what moves and which way, what comes in what order, appears, disappears, grows or turns.

A kind is a function of a generator, as in `picture_rows`; answers are read off the `Clip` that is filmed.
"""

import random
from collections.abc import Callable, Sequence

from puna.data import clips, phrases, phrases_seen, skills
from puna.data.clips import Actor, Clip
from puna.data.copying import joined
from puna.data.emoji import inventory
from puna.data.english import MASS_OR_PLURAL
from puna.data.row import Sample, chat


def _name(actor: Actor, language: str) -> str:
    return inventory()[actor.code].names[language]


def _sample(kind: str, clip: Clip, turns: Sequence[skills.Turn], rng: random.Random) -> Sample:
    return chat(kind, turns, clips.film(clip, rng), rng, clip.timestamps)


def _also_named(clip: Clip, language: str, turns: list[skills.Turn], rng: random.Random) -> list[skills.Turn]:
    """`turns`, a third of the time with the only actor's name before or after."""
    if len(clip.actors) == 1 and rng.random() < 0.33:
        turns.insert(rng.randrange(2), (rng.choice(phrases.ASK_NAME[language]), _name(clip.actors[0], language)))
    return turns


def moving(rng: random.Random) -> Sample:
    """Which way does it move? Of two: what moved?"""
    watched = rng.random() < 0.35
    clip = clips.moving_clip(rng, rng.randrange(4), watched)
    language = skills.pick_language(rng)
    (mover,) = clip.movers()
    way = mover.way()
    assert way is not None
    turns = [(rng.choice(phrases_seen.ASK_WAY[language]), phrases_seen.WAYS[language][way])]
    if watched:
        turns.insert(rng.randrange(2), (rng.choice(phrases_seen.ASK_MOVED[language]), _name(mover, language)))
    return _sample("video_moving", clip, _also_named(clip, language, turns, rng), rng)


def order(rng: random.Random) -> Sample:
    """What came first, what last, what after what, and all in order."""
    clip = clips.order_clip(rng, rng.choice((2, 2, 3, 3, 4)))
    language = skills.pick_language(rng)
    names = [_name(actor, language) for actor in clip.in_order()]
    turns = [(phrases_seen.ASK_FIRST[language], names[0]), (phrases_seen.ASK_LAST[language], names[-1])]
    if rng.random() < 0.4:
        turns.append((phrases_seen.ASK_ORDER[language], joined(names, language)))
    if language == "en" and rng.random() < 0.5:
        place = rng.randrange(len(names) - 1)
        turns.append((f"What came after the {names[place]}?", names[place + 1]))
    return _sample("video_order", clip, rng.sample(turns, rng.randint(1, len(turns))), rng)


def appear(rng: random.Random) -> Sample:
    """What appeared, or what disappeared?"""
    appears = rng.random() < 0.5
    clip = clips.appear_clip(rng, appears)
    language = skills.pick_language(rng)
    (changed,) = clip.newcomers() if appears else clip.leavers()
    ask = phrases_seen.ASK_APPEARED if appears else phrases_seen.ASK_DISAPPEARED
    turns = [(rng.choice(ask[language]), _name(changed, language))]
    if language == "en" and rng.random() < 0.3:
        verb = "Do" if _name(changed, "en") in MASS_OR_PLURAL and _name(changed, "en").endswith("s") else "Does"
        asked = rng.randrange(2)
        question = f"{verb} the {_name(changed, 'en')} {('appear', 'disappear')[asked]}?"
        turns.append((question, phrases.YES_NO["en"][0 if (asked == 0) == appears else 1]))
    return _sample("video_appear", clip, turns, rng)


def change(rng: random.Random) -> Sample:
    """What happens to it: it grows, shrinks, turns, or stays."""
    clip = clips.change_clip(rng, rng.choice((clips.GROWS, clips.SHRINKS, clips.TURNS, clips.STAYS)))
    language = skills.pick_language(rng)
    answer = phrases_seen.HAPPENINGS[language][clip.actors[0].happening()]
    turns = [(rng.choice(phrases_seen.ASK_HAPPENS[language]), answer)]
    return _sample("video_change", clip, _also_named(clip, language, turns, rng), rng)


KINDS: dict[str, Callable[[random.Random], Sample]] = {
    "video_moving": moving,
    "video_order": order,
    "video_appear": appear,
    "video_change": change,
}
