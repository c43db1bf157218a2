"""Samples: every kind of training row by name, and `Mixture`, which makes row `index` of run `seed` whatever ran before.

A `Sample` is a chat (messages, loss on the assistant's turns), a document (text under pictures, loss on all text), or a window of
stored tokens. `to_stream` turns it into a `Stream` with the chat format's tokenizer. Everything is a pure function of (purpose,
seed, index): a loader that resumes at a number sees the very sample it would have seen.
"""

import random
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from puna.data import phrases, scenes, skills
from puna.data.chance import Purpose, generator
from puna.data.emoji import artists_of, codes, inventory, render_emoji
from puna.data.english import MASS_OR_PLURAL, plural, with_article
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.pack import TextShards
from puna.stream import Image, Message, Stream, Text
from puna.tokens.chat import ChatFormat

MAX_TEXT_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Sample:
    """One training row: `messages`, or else `document` under `pictures`, or else `token_ids` as stored."""

    kind: str
    messages: tuple[Message, ...] = ()
    document: str = ""
    pictures: tuple[np.ndarray, ...] = ()
    token_ids: np.ndarray | None = field(default=None)


def picture_part(picture: np.ndarray) -> Image:
    """A uint8 [64, 64, 3] picture as the one tile that `puna.media` would cut it into."""
    return Image(tiles_of((picture,)), (1, 1))


# The same float32 levels that `puna.media.tiling` gives.
_LEVELS = ((np.arange(256, dtype=np.float32) / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)


def tiles_of(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 pictures as float32 tiles [M, 3, 64, 64] in [-1, 1]."""
    return _LEVELS[np.stack(pictures).transpose(0, 3, 1, 2)]


def chat(kind: str, turns: Sequence[skills.Turn], pictures: Sequence[np.ndarray] = (), rng: random.Random | None = None) -> Sample:
    """A conversation of `turns`; the pictures stand in its first message, before the text, or after it a quarter of the time."""
    messages: list[Message] = []
    for place, (question, answer) in enumerate(turns):
        content: tuple[Text | Image, ...] = (Text(question),)
        if place == 0 and pictures:
            parts = tuple(picture_part(picture) for picture in pictures)
            content = (*content, *parts) if rng and rng.random() < 0.25 else (*parts, *content)
        messages += [Message("user", content), Message("assistant", (Text(answer),))]
    return Sample(kind, messages=tuple(messages), pictures=tuple(pictures))


# --- one picture of one thing -------------------------------------------------------------------------------------------------


def _any_emoji(rng: random.Random) -> str:
    """A code; a flag a quarter of the time, as in the inventory."""
    return rng.choice(codes())


def _picture(code: str, rng: random.Random) -> np.ndarray:
    return render_emoji(code, rng, rng.choice(artists_of(code)))


def _ask_name(code: str, language: str, rng: random.Random) -> str:
    if inventory()[code].is_flag and rng.random() < 0.7:
        return rng.choice(phrases.ASK_COUNTRY[language])
    return rng.choice(phrases.ASK_NAME[language])


def naming(rng: random.Random) -> Sample:
    """What is this? Then perhaps: and in other languages?"""
    code = _any_emoji(rng)
    names, language = inventory()[code].names, skills.pick_language(rng)
    turns = [(_ask_name(code, language, rng), names[language])]
    for target in rng.sample([other for other in LANGUAGES if other != language], rng.choice((0, 0, 1, 2, 3))):
        if rng.random() < 0.5:
            turns.append((rng.choice(phrases.ASK_IN[language]).format(language=LANGUAGE_NAMES[language][target]), names[target]))
        else:
            turns.append((_ask_name(code, target, rng), names[target]))
    return chat("naming", turns, (_picture(code, rng),), rng)


def first_name(rng: random.Random) -> Sample:
    """What is this? In English, and nothing else: the shortest way from a picture to a word."""
    code = _any_emoji(rng)
    return chat("first_name", [(_ask_name(code, "en", rng), inventory()[code].names["en"])], (_picture(code, rng),), rng)


def caption(rng: random.Random) -> Sample:
    """A picture and its names, a line a language: the densest way to tie a picture to its names."""
    code = _any_emoji(rng)
    return Sample("caption", document=skills.name_lines(rng, dict(inventory()[code].names)), pictures=(_picture(code, rng),))


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
        turns.append((_ask_name(code, language, rng), names[language]))
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
    """How many? 1 to 6 equal things; in English also "how many cats?" among others, and what they are."""
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
        first = rng.randint(1, 4)
        scene = scenes.mixed_scene(rng, first, rng.randint(1, scenes.MAX_COUNT - first))
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
    scene = scenes.row_scene(rng, 2 if rng.random() < 0.65 else 3, vertical)
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
    place = rng.randrange(len(items) - 1)
    before, after = items[place], items[place + 1]
    relation, inverse = ("above", "below") if vertical else ("to the left of", "to the right of")
    draw = rng.randrange(4)
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
        line = f"{phrases.number_word(number, 'en')} {plural(_name(scene.items[0]))}"
    else:
        vertical = rng.random() < 0.5
        scene = scenes.row_scene(rng, 2, vertical)
        first, second = (with_article(_name(item)) for item in scene.items)
        line = f"{first} above {second}" if vertical else f"{first} on the left and {second} on the right"
    return Sample("scene_caption", document=line[0].upper() + line[1:] + ".", pictures=(scenes.draw(scene, rng),))


# --- text only ----------------------------------------------------------------------------------------------------------------


def names_list(rng: random.Random) -> Sample:
    """The names of a few things as lines, without a picture."""
    return Sample("names_list", document="\n\n".join(skills.name_lines(rng) for _ in range(rng.choice((1, 2, 3)))))


def story_text(rng: random.Random) -> Sample:
    """A template story as a plain document."""
    return Sample("story_text", document="\n\n".join(skills.story(rng) for _ in range(rng.choice((1, 1, 2)))))


def _drill(kind: str, drill: Callable[[random.Random], skills.Drill]) -> Callable[[random.Random], Sample]:
    return lambda rng: chat(kind, drill(rng).turns)


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
    "translate": _drill("translate", skills.translate),
    "into_english": _drill("into_english", skills.into_english),
    "names_list": names_list,
    "number_words": _drill("number_words", skills.number_words),
    "sums": _drill("sums", skills.sums),
    "what_is": _drill("what_is", skills.what_is),
    "story": _drill("story", skills.tell_story),
    "story_text": story_text,
    "card": _drill("card", skills.card),
    "repeat": _drill("repeat", skills.repeat),
}
TEXT_KIND = "text"

# Shares of samples, not of tokens. Names in many scripts cost most, so naming and captions lead. [ours]
NANO_WEIGHTS: dict[str, float] = {
    "naming": 20, "caption": 11, "verify": 2, "which": 2.5,
    "counting": 13, "placing": 9.5, "side": 2.5, "shapes": 4, "comparing": 2.5, "scene_caption": 3,
    "translate": 4, "into_english": 1.5, "names_list": 1.5, "number_words": 3, "sums": 7, "what_is": 4, "story": 2, "story_text": 0.5,
    "card": 3, "repeat": 1.5, "text": 5.5, "first_name": 0,
}  # fmt: skip


def sample(kind: str, rng: random.Random) -> Sample:
    """One sample of `kind` (any of `KINDS`; stored text needs a `Mixture` with shards)."""
    if kind not in KINDS:
        raise ValueError(f"no kind of sample is called {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](rng)


class Mixture:
    """Kinds by weight. `sample(seed, index)` depends on nothing else."""

    def __init__(self, weights: Mapping[str, float] | None = None, shards: TextShards | None = None, purpose: Purpose = "train") -> None:
        chosen = dict(NANO_WEIGHTS if weights is None else weights)
        unknown = [kind for kind in chosen if kind not in KINDS and kind != TEXT_KIND]
        if unknown:
            raise ValueError(f"no kind of sample is called {unknown[0]!r}; there are {', '.join((*KINDS, TEXT_KIND))}")
        if chosen.get(TEXT_KIND) and shards is None:
            raise ValueError(
                f"the mixture gives {TEXT_KIND!r} weight {chosen[TEXT_KIND]} but has no shards; pass TextShards(dir) or leave it out"
            )
        self.weights = {kind: weight for kind, weight in chosen.items() if weight > 0}
        self.shards = shards
        self.purpose: Purpose = purpose
        self._kinds = tuple(self.weights)
        self._edges = tuple(accumulate(self.weights.values()))

    def sample(self, seed: int, index: int) -> Sample:
        """Row `index` of run `seed`."""
        rng = generator(self.purpose, seed, index)
        kind = self._kinds[min(bisect(self._edges, rng.random() * self._edges[-1]), len(self._kinds) - 1)]
        if kind == TEXT_KIND:
            assert self.shards is not None  # __init__ has refused it
            return Sample(TEXT_KIND, token_ids=self.shards.window(rng, MAX_TEXT_TOKENS))
        return KINDS[kind](rng)

    def stream(self, seed: int, index: int, chat_format: ChatFormat) -> Stream:
        """Row `index` of run `seed`, ready for a batch."""
        return to_stream(self.sample(seed, index), chat_format)


def to_stream(row: Sample, chat_format: ChatFormat) -> Stream:
    """The sample as token ids, tiles and loss mask (None where every token trains)."""
    if row.messages:
        return chat_format.encode_training(row.messages)
    if row.token_ids is not None:
        return Stream(row.token_ids.astype(np.int64))
    special = chat_format.tokenizer.special
    pictures = [token for _ in row.pictures for token in chat_format.image_ids((1, 1))]
    text = [*chat_format.tokenizer.encode(row.document), special.end_of_text]
    ids = np.array([special.bos, *pictures, *text], dtype=np.int64)
    if not row.pictures:
        return Stream(ids)
    mask = np.zeros(len(ids), dtype=bool)
    mask[1 + len(pictures) :] = True
    return Stream(ids, tiles_of(row.pictures), mask)
