"""Kinds of rows about one picture: names, captions, and questions about composed scenes, each true by construction.

A kind is a function of a generator. `KINDS` lists them by name; `samples` mixes them with the other rows.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from puna.data import lexicon, phrases, phrases_seen, scenes, skills
from puna.data.emoji import Emoji, Which, artists_of, codes, inventory, render_emoji
from puna.data.english import MASS_OR_PLURAL, plural, with_article
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.lettering import letter
from puna.data.numbers import is_held_out, number_word
from puna.data.reading import any_number, any_word
from puna.data.row import Sample, chat

# --- one picture of one thing -------------------------------------------------------------------------------------------------


def _picture(code: str, rng: random.Random) -> np.ndarray:
    return render_emoji(code, rng, rng.choice(artists_of(code)))


def _ask_name(emoji: Emoji, language: str, rng: random.Random) -> str:
    if emoji.is_flag and rng.random() < 0.7:
        return rng.choice(phrases.ASK_COUNTRY[language])
    return rng.choice(phrases.ASK_NAME[language])


def naming(rng: random.Random, which: Which = "chosen") -> Sample:
    """What is this? Then perhaps: and in other languages?"""
    emoji = inventory(which)[rng.choice(codes(which=which))]
    names, language = emoji.names, skills.pick_language(rng)
    turns = [(_ask_name(emoji, language, rng), names[language])]
    for target in rng.sample([other for other in LANGUAGES if other != language], rng.choice((0, 0, 1, 2, 3))):
        if rng.random() < 0.5 and not lexicon.is_held_out(names[language], target):
            turns.append((rng.choice(phrases.ASK_IN[language]).format(language=LANGUAGE_NAMES[language][target]), names[target]))
        else:
            turns.append((_ask_name(emoji, target, rng), names[target]))
    return chat("naming", turns, (_picture(emoji.code, rng),), rng)


def first_name(rng: random.Random, which: Which = "chosen") -> Sample:
    """What is this? In English, and nothing else: the shortest way from a picture to a word."""
    emoji = inventory(which)[rng.choice(codes(which=which))]
    return chat("first_name", [(_ask_name(emoji, "en", rng), emoji.names["en"])], (_picture(emoji.code, rng),), rng)


def caption(rng: random.Random, which: Which = "chosen") -> Sample:
    """A picture and its names, a line a language: the densest way to tie a picture to its names."""
    emoji = inventory(which)[rng.choice(codes(which=which))]
    return Sample("caption", document=skills.name_lines(rng, dict(emoji.names)), pictures=(_picture(emoji.code, rng),))


def verify(rng: random.Random) -> Sample:
    """Is this a so-and-so? Yes or no, then the true name."""
    code, other = rng.sample(codes(), 2)
    language = skills.pick_language(rng)
    names = inventory()[code].names
    is_true = rng.random() < 0.5
    claimed = names[language] if is_true else inventory()[other].names[language]
    ask = rng.choice(phrases.ASK_IS[language]).format(name=claimed)
    turns = [(ask, phrases.YES_NO[language][0 if is_true else 1])]
    if rng.random() < 0.4:
        turns.append((_ask_name(inventory()[code], language, rng), names[language]))
    return chat("verify", turns, (_picture(code, rng),), rng)


def which(rng: random.Random) -> Sample:
    """Two pictures in one message: which one is it, or what is on each?"""
    pair = rng.sample(codes(), 2)
    language = skills.pick_language(rng)
    wanted = rng.randrange(2)
    ask = phrases.ASK_WHICH[language].format(name=inventory()[pair[wanted]].names[language])
    turns = [(ask, phrases.ORDINALS[language][wanted])]
    if language == "en" and rng.random() < 0.5:
        place = rng.randrange(2)
        turns.append((f"What is in the {('first', 'second')[place]} picture?", inventory()[pair[place]].names["en"]))
    return chat("which", turns, [_picture(code, rng) for code in pair], rng)


# --- composed scenes ----------------------------------------------------------------------------------------------------------


def _name(item: scenes.Item, language: str = "en") -> str:
    return inventory()[item.code].names[language]


def counting(rng: random.Random) -> Sample:
    """How many? 1 to 9 equal things; in English also "how many cats?" among others, and what they are."""
    number = rng.randint(1, scenes.MAX_COUNT)
    language = skills.pick_language(rng, 0.5)
    if language == "en" and rng.random() < 0.25:
        return _counting_among(rng)
    of_shapes = rng.random() < 0.2
    scene = scenes.shape_counting_scene(rng, number) if of_shapes else scenes.counting_scene(rng, number)
    question = rng.choice(phrases.ASK_COUNT[language])
    if not of_shapes and language == "en" and _name(scene.items[0]) not in MASS_OR_PLURAL and rng.random() < 0.4:
        question = f"How many {plural(_name(scene.items[0]))} are there?"
    turns = [(question, str(number))]
    if not of_shapes and rng.random() < 0.35:
        ask = "What are they?" if language == "en" and number > 1 else rng.choice(phrases.ASK_NAME[language])
        turns.append((ask, _name(scene.items[0], language)))
        if rng.random() < 0.3:
            turns.reverse()
    return chat("counting", turns, (scenes.draw(scene, rng),), rng)


def _counting_among(rng: random.Random) -> Sample:
    """Two kinds together: how many of one, how many in all."""
    while True:
        first = rng.randint(1, 5)
        scene = scenes.mixed_scene(rng, first, rng.randint(1, min(5, scenes.MAX_COUNT - first)))
        kinds = list(dict.fromkeys(item.code for item in scene.items))
        if all(inventory()[code].names["en"] not in MASS_OR_PLURAL for code in kinds):
            break
    rng.shuffle(kinds)
    turns = [
        (f"How many {plural(inventory()[code].names['en'])} are there?", str(scene.count(code))) for code in kinds[: rng.randint(1, 2)]
    ]
    if rng.random() < 0.3:
        turns.append(("How many things are there in all?", str(len(scene.items))))
    return chat("counting", turns, (scenes.draw(scene, rng),), rng)


def placing(rng: random.Random) -> Sample:
    """What is on the left? Where is the dog? Is the cat above the dog?"""
    vertical = rng.random() < 0.5
    scene = scenes.row_scene(rng, 2 if rng.random() < 0.85 else 3, vertical)
    language = skills.pick_language(rng, 0.6)
    turns = [_placing_turn(scene, vertical, language, rng) for _ in range(rng.choice((1, 2, 2, 3)))]
    return chat("placing", list(dict(turns).items()), (scenes.draw(scene, rng),), rng)


def _placing_turn(scene: scenes.Scene, vertical: bool, language: str, rng: random.Random) -> skills.Turn:
    """One question about a row whose items stand in order."""
    ends = (2, 3) if vertical else (0, 1)
    items = scene.items
    if language != "en" or rng.random() < 0.35:
        side = rng.choice(ends)
        return phrases.ASK_AT[language][side], _name(scene.at_side(side), language)
    draw = rng.randrange(4)
    # Of three, two are left of the last and two right of the first: questions with one answer are about the middle one.
    place = 0 if draw == 0 else len(items) - 2 if draw == 1 else rng.randrange(len(items) - 1)
    before, after = items[place], items[place + 1]
    relation, inverse = ("above", "below") if vertical else ("to the left of", "to the right of")
    if draw == 0:
        return f"What is {relation} the {_name(after)}?", _name(before)
    if draw == 1:
        return f"What is {inverse} the {_name(before)}?", _name(after)
    if draw == 2:
        side = rng.choice(ends)
        verb = "are" if _name(scene.at_side(side)) in MASS_OR_PLURAL and _name(scene.at_side(side)).endswith("s") else "is"
        return f"Where {verb} the {_name(scene.at_side(side))}?", phrases.SIDES["en"][side]
    first, second = (before, after) if rng.random() < 0.5 else (after, before)
    claimed = rng.choice((relation, inverse))
    is_true = (first is before) == (claimed == relation)
    return f"Is the {_name(first)} {claimed} the {_name(second)}?", phrases.YES_NO["en"][0 if is_true else 1]


def side(rng: random.Random) -> Sample:
    """One thing near a side: left or right, top or bottom, in 12 languages."""
    where = rng.randrange(4)
    scene = scenes.side_scene(rng, where)
    language = skills.pick_language(rng)
    turns = [(phrases.ASK_SIDE[language][where // 2], phrases.SIDES[language][where])]
    if rng.random() < 0.4:
        turns.append((rng.choice(phrases.ASK_NAME[language]), _name(scene.items[0], language)))
    return chat("side", turns, (scenes.draw(scene, rng),), rng)


def shapes(rng: random.Random) -> Sample:
    """Colours and forms."""
    language = skills.pick_language(rng, 0.45)
    if language == "en" and rng.random() < 0.4:
        scene = scenes.shape_scene(rng, 2)
        turns = []
        for item in rng.sample(scene.items, rng.randint(1, 2)):
            form, colour = phrases.SHAPES["en"][item.shape], phrases.COLOURS["en"][item.colour]
            turns.append((f"What colour is the {form}?", colour) if rng.random() < 0.5 else (f"Which shape is {colour}?", form))
        return chat("shapes", turns, (scenes.draw(scene, rng),), rng)
    scene = scenes.shape_scene(rng, 1)
    item = scene.items[0]
    form, colour = phrases.SHAPES[language][item.shape], phrases.COLOURS[language][item.colour]
    turns = [(rng.choice(phrases.ASK_COLOUR[language]), colour), (rng.choice(phrases.ASK_SHAPE[language]), form)]
    if language == "en" and rng.random() < 0.4:
        turns.append((rng.choice(phrases.ASK_NAME["en"]), f"{colour} {form}"))
    rng.shuffle(turns)
    return chat("shapes", turns[: rng.randint(1, len(turns))], (scenes.draw(scene, rng),), rng)


def comparing(rng: random.Random) -> Sample:
    """Which is bigger, which is smaller, which is the odd one out."""
    if rng.random() < 0.5:
        scene = scenes.size_scene(rng)
        names = [_name(item) for item in scene.items]
        big = _name(scene.biggest())
        small = next(name for name in names if name != big)
        rng.shuffle(names)
        turns = [(f"Which is bigger: {names[0]} or {names[1]}?", big), (f"Which is smaller: {names[0]} or {names[1]}?", small)]
        turns = rng.sample(turns, rng.randint(1, 2))
    else:
        scene = scenes.odd_scene(rng)
        turns = [(rng.choice(("Which one is different?", "Which is the odd one out?", "What does not belong?")), _name(scene.odd_one()))]
    return chat("comparing", turns, (scenes.draw(scene, rng),), rng)


def scene_caption(rng: random.Random) -> Sample:
    """A picture and one English sentence that describes it."""
    draw = rng.randrange(3)
    if draw == 0:
        scene = scenes.shape_scene(rng, 1)
        item = scene.items[0]
        line = f"{with_article(phrases.COLOURS['en'][item.colour])} {phrases.SHAPES['en'][item.shape]}"
    elif draw == 1:
        number = rng.randint(2, scenes.MAX_COUNT)
        while (scene := scenes.counting_scene(rng, number)) and _name(scene.items[0]) in MASS_OR_PLURAL:
            pass
        line = f"{number_word(number, 'en')} {plural(_name(scene.items[0]))}"
    else:
        vertical = rng.random() < 0.5
        scene = scenes.row_scene(rng, 2, vertical)
        first, second = (with_article(_name(item)) for item in scene.items)
        line = f"{first} above {second}" if vertical else f"{first} on the left and {second} on the right"
    return Sample("scene_caption", document=line[0].upper() + line[1:] + ".", pictures=(scenes.draw(scene, rng),))


# --- printed text -------------------------------------------------------------------------------------------------------------


def number(rng: random.Random) -> Sample:
    """What number is this? One to four printed digits; then perhaps the number in words."""
    printed, language = any_number(rng), skills.pick_language(rng)
    turns = [(rng.choice(phrases_seen.ASK_NUMBER[language]), printed)]
    if not is_held_out(int(printed)) and rng.random() < 0.2:
        turns.append((rng.choice(phrases.ASK_WORDS[language]).format(number=printed), number_word(int(printed), language)))
    return chat("number", turns, (letter(printed, rng).picture,), rng)


def word(rng: random.Random) -> Sample:
    """Read this: a short name of something, in one of six languages, asked for in that language or in English."""
    printed, language = any_word(rng)
    asked_in = "en" if rng.random() < 0.3 else language
    return chat("word", [(rng.choice(phrases_seen.ASK_READ[asked_in]), printed)], (letter(printed, rng).picture,), rng)


KINDS: dict[str, Callable[[random.Random], Sample]] = {
    "naming": naming,
    "first_name": first_name,
    "caption": caption,
    "verify": verify,
    "which": which,
    "counting": counting,
    "placing": placing,
    "side": side,
    "shapes": shapes,
    "comparing": comparing,
    "scene_caption": scene_caption,
    "number": number,
    "word": word,
    # The same for every emoji that has a name and a picture.
    "naming_all": lambda rng: replace(naming(rng, "all"), kind="naming_all"),
    "first_name_all": lambda rng: replace(first_name(rng, "all"), kind="first_name_all"),
    "caption_all": lambda rng: replace(caption(rng, "all"), kind="caption_all"),
}
