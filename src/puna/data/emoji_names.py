"""Which emoji and flags the nano herd knows, and what they are called: CLDR's names (Unicode-3.0), shortened. [ours]

Three rules shorten: nothing after the first comma, straight apostrophes, and "face of a wolf" is a wolf where English says so. What
else people call otherwise than CLDR stands in `emoji_corrections.json`. The choice and its names are kept in `emoji_choice.json`,
which this program writes from the sources (and `--check` compares):

    PUNA_DATA_MIRROR=DIR python -m puna.data.emoji_names
"""

import argparse
import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from puna.data.languages import LANGUAGES
from puna.data.sources import fetch

CHOICE = Path(__file__).parent / "emoji_choice.json"
_CORRECTIONS = Path(__file__).parent / "emoji_corrections.json"

# 320 things that stay apart at 64 pixels and are called by one short word in most languages; drawn by both training artists.
CHOSEN = (
    "🐈🐕🐶🐱🐁🐄🐅🐇🐉🐊🐋🐌🐍🐎🐐🐒🐓🐖🐘🐙🐜🐝🐞🐟🐢🐦🐧🐨🐪🐬🐸🐺🐻🐼🦀🦁🦂🦄🦅🦆🦇🦈🦉🦊🦋🦌🦒🦓🦔🦘🦙🦚🦜🦞🦢🦩🕷🐑"
    "🍇🍉🍊🍋🍌🍍🍎🍏🍐🍑🍒🍓🍅🍆🍄🍔🍕🍞🍟🍣🍨🍩🍪🍬🎂🥚🥕🥔🥑🥦🧄🧅🥥🥐🥨🍿🌭🌮🌈🌋🌙☀☁☃☂⭐🔥💧🌹🌷🌻🌵🌴🍁❄🎄"
    "🚗🚌🚕🚆🚲✈🚀🚁🚢🚜🚑🏠🏰⛪🔑🔔⏰🔨✂✏📚📷☎📺🎸🎻🎺🥁👑💍👓👗👕👖🎈🎁⚽🏀🏆💡🕯🚪🛏🪑🧲⚓👻👽🤖💀❤👁👂👃🦷💣"
    "🐔🐗🐆🐛🐿🐹🦃🦍🦎🦏🦐🦑🦖🦛🦝🦟🦥🦦🦡🐠🐚🐤🕊🕸🌰🌱🌳🌶🌸🌺🌽🍀🍈🍗🍙🍚🍝🍫🍭🍯🍰🍴☕🍷🍺🍼🧀🧁🧂🧇🧊🥒🥓🥖🥜🥝🥞🥟🥧🥪🥭🥛🥄🥗"
    "🎀🎃🎒🎡🎤🎥🎧🎨🎩🎪🎮🎯🎲🎳🎵🎷🎹🎾🎿🏈🏐🏓🏹🥊⛸🛹🪁🧩🧸🧦🧤🧣🧥👔👜👠👟🕶💄💎💊💉🌡🔬🔋🔍🔒🔦🔧🧹🧼⌚⌛📱💻📻📅📎📰📦✉🖌💰🛡🦴🧠👅👄"
    "🚂🚒🚓🏍⛵🛴🛶🛸⛺🏥⛲🌊🌍🪐⚡🌪💔👶"
)
# 80 flags that stay apart: of two that differ in a shade or in proportions only one is here.
CHOSEN_FLAGS = tuple(
    "FR DE ES IT PT GB US CA MX BR AR CL CO PE CU CN JP KR IN ID TH VN SA IR TR IL EG MA ZA NG KE GR SE NP FI DK"
    " PL UA CZ CH AT BE NL IE RU AU PK JM PH BD"
    " IS HU RO BG HR SK EE LT LV KZ MN IQ LB QA DZ TN ET GH TZ UG MG NZ MY SG LK VE UY PA GE CY".split()
)

_FACE = {
    "es": re.compile(r"^cara de "),
    "fr": re.compile(r"^tête de "),
    "pt": re.compile(r"^rosto d[eoa] "),
    "ar": re.compile(r"^وجه "),
    "hi": re.compile(r" (का|जैसा) चेहरा$| चेहरा$"),
    "id": re.compile(r"^wajah "),
    "ja": re.compile(r"の顔$"),
    "ko": re.compile(r" 얼굴$"),
}
_NOTHING = re.compile(r"(?!)")


def short_name(name: str, language: str, english: str) -> str:
    """CLDR's `name` shortened; `english` is CLDR's English name of the same thing."""
    name = re.split("[,،、]", name)[0].strip().replace("’", "'")
    return name if "face" in english.split() else _FACE.get(language, _NOTHING).sub("", name)


def code_of(char: str) -> str:
    """The file name of an emoji: its code points in hexadecimal, joined by hyphens."""
    return "-".join(f"{ord(point):04x}" for point in char)


def flag_code(territory: str) -> str:
    """The code of a territory's flag: "FR" -> "1f1eb-1f1f7"."""
    return code_of("".join(chr(0x1F1E6 + ord(letter) - ord("A")) for letter in territory))


def _territory(code: str) -> str | None:
    points = [int(point, 16) for point in code.split("-")]
    is_flag = len(points) == 2 and all(0x1F1E6 <= point <= 0x1F1FF for point in points)
    return "".join(chr(point - 0x1F1E6 + ord("A")) for point in points) if is_flag else None


@cache
def _corrections() -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = json.loads(_CORRECTIONS.read_text(encoding="utf-8"))
    return {flag_code(key) if key.isascii() else code_of(key): names for key, names in rows.items()}


@cache
def _sources() -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    names = json.loads(fetch("emoji_names").read_text(encoding="utf-8"))
    return names, json.loads(fetch("territories_12").read_text(encoding="utf-8"))


def row_of(code: str) -> dict[str, Any]:
    """Kind ("emoji" or "flag") and short names in 12 languages of the emoji `code`."""
    annotations, territories = _sources()
    territory = _territory(code)
    if territory:
        names = {language: territories[language][territory] for language in LANGUAGES}
    else:
        row = annotations[code]
        names = {language: short_name(row[language], language, row["en"]) for language in LANGUAGES}
    return {"kind": "flag" if territory else "emoji", "names": {**names, **_corrections().get(code, {})}}


def chosen_codes() -> list[str]:
    """The 400 of the choice, emoji first."""
    return [*map(code_of, CHOSEN), *map(flag_code, CHOSEN_FLAGS)]


def all_codes() -> list[str]:
    """The choice, then every other base form (no joined sequences: "woman: red hair") that has names in 12 languages and a Noto picture."""
    annotations, territories = _sources()
    with ZipFile(fetch("emoji_noto_72")) as archive:
        drawn = {name.removesuffix(".png") for name in archive.namelist()}
    chosen = chosen_codes()
    known = set(chosen)
    named = (
        code
        for code in sorted(annotations)
        if code in drawn and code not in known and "200d" not in code
        if (territory := _territory(code)) is None or all(territory in territories[language] for language in LANGUAGES)
    )
    return [*chosen, *sorted(named, key=lambda code: _territory(code) is not None)]


def choice() -> str:
    """The text of `emoji_choice.json`, a row a line."""
    rows = (f'"{code}": {json.dumps(row_of(code), ensure_ascii=False)}' for code in chosen_codes())
    return "{\n" + ",\n".join(rows) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write emoji_choice.json from CLDR's names.")
    parser.add_argument("--check", action="store_true", help="only say whether the file is what would be written")
    if parser.parse_args().check:
        if CHOICE.read_text(encoding="utf-8") != choice():
            sys.exit(f"{CHOICE.name} is not what the sources give; run this program without --check")
        return
    CHOICE.write_text(choice(), encoding="utf-8")


if __name__ == "__main__":
    main()
