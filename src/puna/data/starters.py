"""Draws the web page's starter pictures and short videos, and writes what to ask about them in 12 languages with the expected answers.

As a program: `python -m puna.data.starters src/puna/serve/web/starters`. `starters.json` follows `puna.serve.page`.
Questions and answers are the drills' own, so that the page asks what the nano learned.
"""

import argparse
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from puna.data import clips, phrases, phrases_seen
from puna.data.emoji import SIZE, inventory
from puna.data.languages import LANGUAGES
from puna.data.numbers import number_word
from puna.data.scenes import COLOUR_VALUES, Item, Scene, shape_drawing
from puna.data.sources import fetch

PIXELS = 192
_SCALE = PIXELS // SIZE

# Pairs of pale colours, top and bottom of each picture's ground.
_GROUNDS = (
    ((255, 244, 220), (255, 221, 170)),
    ((224, 242, 255), (176, 216, 250)),
    ((232, 250, 228), (190, 232, 188)),
    ((250, 232, 246), (238, 196, 230)),
    ((255, 255, 255), (236, 238, 244)),
    ((255, 240, 236), (255, 206, 196)),
    ((238, 236, 255), (206, 202, 248)),
    ((240, 252, 252), (190, 234, 236)),
)

_SINGLES = (
    "1f999",
    "1f98b",
    "1f418",
    "1f349",
    "1f680",
    "1f3b8",
    "1f308",
    "1f1e7-1f1f7",
    "1f1ef-1f1f5",
    "1f1ff-1f1e6",
    "1f1ee-1f1f3",
    "1f1e8-1f1e6",
)


_FRAME_MS = 500  # as the videos of training


def _noto(code: str, pixels: int) -> Image.Image:
    with zipfile.ZipFile(fetch("emoji_noto_72")) as archive:
        picture = Image.open(io.BytesIO(archive.read(f"{code}.png"))).convert("RGBA")
    drawing = picture.crop(picture.getchannel("A").getbbox())
    side = max(drawing.size)
    square = Image.new("RGBA", (side, side))
    square.paste(drawing, ((side - drawing.width) // 2, (side - drawing.height) // 2))
    return square.resize((pixels, pixels), Image.Resampling.LANCZOS)


def _paint(scene: Scene, ground: int) -> Image.Image:
    """The scene at three times the size of the nano's tile."""
    top, bottom = (np.array(colour, float) for colour in _GROUNDS[ground % len(_GROUNDS)])
    ramp = np.linspace(0, 1, PIXELS)[:, None, None]
    canvas = Image.fromarray(np.broadcast_to(top + ramp * (bottom - top), (PIXELS, PIXELS, 3)).round().astype(np.uint8))
    for item in scene.items:
        pixels = item.size * _SCALE
        if item.code:
            drawing = _noto(item.code, pixels)
        else:
            drawing = Image.new("RGBA", (pixels, pixels), COLOUR_VALUES[item.colour])
            drawing.putalpha(Image.fromarray(np.asarray(shape_drawing(item.shape, item.colour, pixels))[..., 3]))
        canvas.paste(drawing, (round(item.x * _SCALE - pixels / 2), round(item.y * _SCALE - pixels / 2)), drawing)
    return canvas


def _print(picture: Image.Image, text: str) -> None:
    """Write `text` across the middle, as large as fits."""
    font = ImageFont.load_default(min(110, int(PIXELS * 1.6 / len(text))))
    ImageDraw.Draw(picture).text((PIXELS / 2, PIXELS / 2), text, fill=(30, 30, 60), font=font, anchor="mm")


@dataclass(frozen=True, slots=True)
class Starter:
    """One picture, or one video with a scene a frame; and per language its description, questions and expected answers (one a question).

    `printed` is written across the picture.
    """

    file: str
    kind: str
    scenes: tuple[Scene, ...]
    alt: dict[str, str]
    questions: dict[str, list[str]]
    answers: dict[str, list[str]]
    printed: str = ""


def _names(code: str) -> dict[str, str]:
    return dict(inventory()[code].names)


def _file(name: str) -> str:
    return name.lower().replace(" ", "-") + ".png"


def _single(code: str) -> Starter:
    emoji, names = inventory()[code], _names(code)
    ask = phrases.ASK_COUNTRY if emoji.is_flag else phrases.ASK_NAME
    scene = Scene((Item(SIZE / 2, SIZE / 2, 46, code=code),))
    return Starter(
        _file(names["en"]),
        "flag" if emoji.is_flag else "emoji",
        (scene,),
        names,
        {language: [ask[language][0]] for language in LANGUAGES},
        {language: [names[language]] for language in LANGUAGES},
    )


def _counting(code: str, places: Sequence[tuple[float, float]], size: int) -> Starter:
    names, number = _names(code), len(places)
    scene = Scene(tuple(Item(x, y, size, code=code) for x, y in places))
    return Starter(
        f"count-{_file(names['en'])}",
        "counting",
        (scene,),
        {language: f"{number} × {names[language]}" for language in LANGUAGES},
        {language: [phrases.ASK_COUNT[language][0], phrases.ASK_NAME[language][0]] for language in LANGUAGES},
        {language: [str(number), names[language]] for language in LANGUAGES},
    )


def _row(first: str, second: str, vertical: bool) -> Starter:
    names = [_names(code) for code in (first, second)]
    ends = [(17.0, 33.0), (47.0, 31.0)]
    scene = Scene(
        tuple(
            Item(across if vertical else along, along if vertical else across, 25, code=code)
            for (along, across), code in zip(ends, (first, second), strict=True)
        )
    )
    sides = (2, 3) if vertical else (0, 1)
    return Starter(
        f"{names[0]['en']}-{names[1]['en']}.png".replace(" ", "-"),
        "placing",
        (scene,),
        {language: " + ".join(name[language] for name in names) for language in LANGUAGES},
        {language: [phrases.ASK_AT[language][side] for side in sides] for language in LANGUAGES},
        {language: [name[language] for name in names] for language in LANGUAGES},
    )


def _shape(shape: int, colour: int) -> Starter:
    scene = Scene((Item(SIZE / 2, SIZE / 2, 36, shape=shape, colour=colour),))
    forms, colours = (
        {language: table[language][which] for language in LANGUAGES}
        for table, which in ((phrases.SHAPES, shape), (phrases.COLOURS, colour))
    )
    return Starter(
        f"{colours['en']}-{forms['en']}.png",
        "shape",
        (scene,),
        {language: f"{forms[language]}, {colours[language]}" for language in LANGUAGES},
        {language: [phrases.ASK_SHAPE[language][0], phrases.ASK_COLOUR[language][0]] for language in LANGUAGES},
        {language: [forms[language], colours[language]] for language in LANGUAGES},
    )


def _corner(code: str, side: int) -> Starter:
    x, y = ((16, 34), (48, 34), (32, 16), (32, 48))[side]
    names = _names(code)
    return Starter(
        f"where-{_file(names['en'])}",
        "side",
        (Scene((Item(x, y, 26, code=code),)),),
        {language: f"{names[language]}, {phrases.SIDES[language][side]}" for language in LANGUAGES},
        {language: [phrases.ASK_SIDE[language][side // 2], phrases.ASK_NAME[language][0]] for language in LANGUAGES},
        {language: [phrases.SIDES[language][side], names[language]] for language in LANGUAGES},
    )


def _number(printed: str) -> Starter:
    return Starter(
        f"number-{printed}.png",
        "number",
        (Scene(()),),
        dict.fromkeys(LANGUAGES, printed),
        {language: [phrases_seen.ASK_NUMBER[language][0], phrases.ASK_WORDS[language][0].format(number=printed)] for language in LANGUAGES},
        {language: [printed, number_word(int(printed), language)] for language in LANGUAGES},
        printed,
    )


def _word(code: str) -> Starter:
    """A printed English word: read in English, whatever the language of the page."""
    printed = _names(code)["en"]
    return Starter(
        f"word-{printed}.png",
        "word",
        (Scene(()),),
        dict.fromkeys(LANGUAGES, printed),
        {language: [phrases_seen.ASK_READ[language][0]] for language in LANGUAGES},
        {language: [printed] for language in LANGUAGES},
        printed,
    )


def _moving(code: str, way: int) -> Starter:
    """A thing that crosses the picture in four frames."""
    names = _names(code)
    ends = {
        clips.LEFT: ((48, 34), (16, 34)),
        clips.RIGHT: ((16, 34), (48, 34)),
        clips.UP: ((32, 48), (32, 16)),
        clips.DOWN: ((32, 16), (32, 48)),
    }
    (x, y), (to_x, to_y) = ends[way]
    return Starter(
        f"moving-{_file(names['en']).removesuffix('.png')}.webp",
        "video",
        tuple(Scene((Item(x + (to_x - x) * step / 3, y + (to_y - y) * step / 3, 26, code=code),)) for step in range(4)),
        names,
        {language: [phrases_seen.ASK_WAY[language][0], phrases.ASK_NAME[language][0]] for language in LANGUAGES},
        {language: [phrases_seen.WAYS[language][way], names[language]] for language in LANGUAGES},
    )


def _order(first: str, second: str) -> Starter:
    """First one thing, then another in its place."""
    names = [_names(code) for code in (first, second)]
    # A frame equal to the one before it would be stored as one that stays longer.
    scenes = tuple(Scene((Item(x, 32, 36, code=code),)) for code, x in ((first, 31), (first, 33), (second, 31), (second, 33)))
    return Starter(
        f"first-{names[0]['en']}-{names[1]['en']}.webp".replace(" ", "-"),
        "video",
        scenes,
        {language: " → ".join(name[language] for name in names) for language in LANGUAGES},
        {language: [phrases_seen.ASK_FIRST[language], phrases_seen.ASK_LAST[language]] for language in LANGUAGES},
        {language: [name[language] for name in names] for language in LANGUAGES},
    )


def _growing(code: str) -> Starter:
    names = _names(code)
    return Starter(
        f"growing-{_file(names['en']).removesuffix('.png')}.webp",
        "video",
        tuple(Scene((Item(32, 32, size, code=code),)) for size in (16, 26, 36, 46)),
        names,
        {language: [phrases_seen.ASK_HAPPENS[language][0], phrases.ASK_NAME[language][0]] for language in LANGUAGES},
        {language: [phrases_seen.HAPPENINGS[language][clips.GROWS], names[language]] for language in LANGUAGES},
    )


def starters() -> list[Starter]:
    """Pictures: seven emoji, five flags, three to count, two to place, two shapes, one to find, a number and a word to read.
    Videos: two that move, one of two things in order, one that grows.
    """
    return [
        *(_single(code) for code in _SINGLES),
        _counting("1f34e", [(16, 18), (46, 22), (30, 47)], 22),
        _counting("1f427", [(16, 17), (47, 16), (17, 47), (48, 46)], 22),
        _counting("1f388", [(13, 14), (51, 17), (32, 34), (12, 50), (50, 51)], 18),
        _row("1f431", "1f436", vertical=False),
        _row("2600", "1f3e0", vertical=True),
        _shape(2, 0),
        _shape(0, 1),
        _corner("1f41d", 1),
        _number("47"),
        _word("1f3e0"),
        _moving("1f422", clips.RIGHT),
        _moving("1f680", clips.UP),
        _order("1f34c", "1f412"),
        _growing("1f33b"),
    ]


def write(directory: Path) -> list[Path]:
    """Draw all into `directory`, with `starters.json` (the page's list) and `answers.json` (what the nano should say)."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for place, starter in enumerate(starters()):
        path = directory / starter.file
        frames = [_paint(scene, place) for scene in starter.scenes]
        if starter.printed:
            _print(frames[0], starter.printed)
        if len(frames) > 1:
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=_FRAME_MS, loop=0, quality=80, method=6)
        else:
            # 128 colours halve the files; the eye sees no difference at this size.
            frames[0].quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
        written.append(path)
    listed = [{"file": s.file, "kind": s.kind, "title": s.alt["en"], "questions": s.questions} for s in starters()]
    _dump(directory / "starters.json", {"starters": listed})
    _dump(directory / "answers.json", {s.file: {"alt": s.alt, "answers": s.answers} for s in starters()})
    return written


def _dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw the starter pictures and write what to ask about them.")
    parser.add_argument("directory", type=Path, help="where the pictures and starters.json go")
    directory = parser.parse_args(arguments).directory
    written = write(directory)
    print(f"{directory}: {len(written)} pictures, {sum(path.stat().st_size for path in written) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
