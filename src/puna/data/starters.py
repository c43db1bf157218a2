"""Draws the web page's starter pictures from Noto emoji, and writes what to ask about them in 12 languages with the expected answers.

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
from PIL import Image

from puna.data import phrases
from puna.data.emoji import SIZE, inventory
from puna.data.languages import LANGUAGES
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


@dataclass(frozen=True, slots=True)
class Starter:
    """One picture, and per language its description, questions and expected answers (one a question)."""

    file: str
    kind: str
    scene: Scene
    alt: dict[str, str]
    questions: dict[str, list[str]]
    answers: dict[str, list[str]]


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
        scene,
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
        scene,
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
        scene,
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
        scene,
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
        Scene((Item(x, y, 26, code=code),)),
        {language: f"{names[language]}, {phrases.SIDES[language][side]}" for language in LANGUAGES},
        {language: [phrases.ASK_SIDE[language][side // 2], phrases.ASK_NAME[language][0]] for language in LANGUAGES},
        {language: [phrases.SIDES[language][side], names[language]] for language in LANGUAGES},
    )


def starters() -> list[Starter]:
    """The twenty pictures: seven emoji, five flags, three to count, two to place, two shapes, one to find."""
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
    ]


def write(directory: Path) -> list[Path]:
    """Draw all pictures into `directory`, with `starters.json` (the page's list) and `answers.json` (what the nano should say)."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for place, starter in enumerate(starters()):
        path = directory / starter.file
        # 128 colours halve the files; the eye sees no difference at this size.
        _paint(starter.scene, place).quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
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
