"""A small data mirror made here: every emoji of the inventory as a coloured square, articles, picture books, novels and manuals of invented
prose in 12 languages, two evaluation sets, and the manifests that describe them.

    python -m puna.testing.mirror DIR
    PUNA_DATA_MIRROR=DIR PUNA_DATA_MANIFEST=DIR/manifest.json puna data build OUT --size micro
"""

import hashlib
import io
import itertools
import json
import lzma
import os
import random
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from puna.data import commands, definitions, emoji, emoji_names, photos, skills, sources, tales
from puna.data import prose as prose_rows
from puna.data.emoji import codes, inventory
from puna.data.languages import LANGUAGES
from puna.data.photos import CLOTHES
from puna.data.quality import FUNCTION_WORDS

ARTICLES = {
    "Apple": "An apple is a round fruit that grows on trees. Many people like an apple. They eat an apple each day.",
    "Boat": "A boat is a thing that floats on the water (like a small ship). A boat is smaller than a ship, and a boat is slow.",
    "Jane Doe": "Jane Doe (born 1950) is an American actor.",
}
# Syllables of which words are invented; in Chinese and Japanese the words themselves.
_SYLLABLES: dict[str, str] = {
    **dict.fromkeys(("en", "es", "fr", "de", "pt", "id"), "ba ke li mo nu sa te vi ro du fa ge hi jo pu la me ri to zu"),
    "ru": "ба ке ли мо ну са те ви ро ду фа ге хи жо пу ла ме ри то зу",
    "ar": "با كي لي مو نو سا تي في رو دو فا جي حي جو بو لا مي ري تو زو",
    "hi": "बा के ली मो नू सा ते वी रो दू फा गे ही जो पू ला मे री तो जू",
    "ja": "山 川 木 犬 猫 空 海 花 本 車 が を に は で と も の へ から",
    "ko": "바 게 리 모 누 사 테 비 로 두 파 제 히 조 푸 라 메 리 토 주",
    "zh": "山 川 木 狗 猫 天 海 花 书 车 的 是 在 有 和 人 水 大 小 家",
}
_UNCHOSEN = "1f600"  # a grinning face
# A book's cover, its six pages, and a picture that repeats the last.
_PICTURES = tuple(f"{number:02}" for number in range(1, 9))
_FULL_STOP = {"ja": "。", "zh": "。", "hi": "।"}


def prose(language: str, rng: random.Random, sentences: int) -> str:
    """Invented sentences that look enough like `language` for filters: its script, and its function words among invented ones."""
    syllables = _SYLLABLES[language].split()
    common = FUNCTION_WORDS.get(language, "").split()
    between = "" if language in ("ja", "zh") else " "

    def word() -> str:
        if common and rng.random() < 0.4:
            return rng.choice(common)
        return rng.choice(syllables) if not between else "".join(rng.choices(syllables, k=rng.randint(2, 3)))

    stop = _FULL_STOP.get(language, ".")
    made = (between.join(word() for _ in range(rng.randint(8, 14))) + stop for _ in range(sentences))
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in made)


def _command_page(language: str, program: str, rng: random.Random) -> str:
    """A page of tldr's form: title, what the program does, two examples."""
    examples = [f"- {prose(language, rng, 1)[:40]}:\n\n`{program} -{option} {{{{path}}}}`" for option in "ab"]
    return "\n\n".join([f"# {program}", f"> {prose(language, rng, 1)}", *examples])


def _png(number: int) -> bytes:
    picture = Image.new("RGBA", (24, 24))
    picture.paste((40 + number % 200, 255 - number % 256, number * 7 % 256, 255), (2, 2, 22, 22))
    data = io.BytesIO()
    picture.save(data, "PNG")
    return data.getvalue()


def _jpeg(size: tuple[int, int], colour: tuple[int, int, int]) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "JPEG")
    return data.getvalue()


def _album(path: Path, kinds: str) -> None:
    # One emoji that is not among the chosen ones is in every album.
    with zipfile.ZipFile(path, "w") as archive:
        for number, code in enumerate((*codes(kinds), _UNCHOSEN)):
            archive.writestr(f"{code}.png", _png(number))


def write_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """JSONL packed by xz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(path, "wt", encoding="utf-8", preset=1) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def describe(root: Path, kinds: Mapping[str, str]) -> Path:
    """Manifests of the files under `root`: what lies in evals/ scores, everything else trains. `kinds` are by name; pictures if unnamed."""
    listed: dict[bool, list[dict[str, object]]] = {False: [], True: []}
    for path in sorted(root.glob("*/*")):
        name, is_evaluation = path.name.split(".")[0], path.parent.name == "evals"
        kind = "questions" if is_evaluation else kinds.get(name, "pictures")
        only = "en" if is_evaluation else next((language for language in LANGUAGES if name.endswith(f"_{language}")), "")
        languages = [only] if only else [] if kind == "pictures" else list(LANGUAGES)
        listed[is_evaluation].append(
            {
                **{"name": name, "kind": kind, "file": str(path.relative_to(root)), "origin": "made by puna.testing", "licence": "CC0-1.0"},
                **{"languages": languages, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
            }
        )
    (root / "eval_manifest.json").write_text(json.dumps(listed[True]))
    (root / "manifest.json").write_text(json.dumps(listed[False]))
    return root / "manifest.json"


def write_mirror(root: Path) -> Path:
    """Fill `root`, about 1 MB; returns the manifest."""
    rng = random.Random(1)
    (root / "images").mkdir(parents=True)
    for artist, kinds in (("noto", "all"), ("blobmoji", "emoji"), ("fxemoji", "emoji")):
        _album(root / f"images/emoji_{artist}_72.zip", kinds)
    annotations = {code: dict(inventory()[code].names) for code in codes("emoji")}
    annotations[_UNCHOSEN] = {language: f"grin in {language}" for language in LANGUAGES}
    (root / "images/emoji_names.json").write_text(json.dumps(annotations))
    flags = {"".join(chr(ord(letter) - 0x1F1E6 + ord("A")) for letter in inventory()[code].char): code for code in codes("flag")}
    territories = {language: {land: inventory()[code].names[language] for land, code in flags.items()} for language in LANGUAGES}
    (root / "images/territories_12.json").write_text(json.dumps(territories))
    filler = {f"Topic {number}": f"Topic {number} is about number {number}. " + prose("en", rng, 12) for number in range(150)}
    articles = [f"{title}\n{body}" for title, body in {**ARTICLES, **filler}.items()]
    write_rows(
        root / "text/wikipedia_simple_en.jsonl.xz", [{"lang": "en", "key": text.partition("\n")[0], "text": text} for text in articles]
    )
    books = [
        {
            "id": f"{number:04}",
            "images": list(_PICTURES),
            "langs": {
                language: {"title": f"{prose(language, rng, 1)[:-1]}", "pages": [prose(language, rng, 1) for _ in range(6)]}
                for language in LANGUAGES
            },
        }
        for number in range(120)
    ]
    write_rows(root / "images/storybooks.jsonl.xz", books)
    with zipfile.ZipFile(root / "images/storybooks_144.zip", "w") as archive:
        for book, picture in itertools.product(range(120), _PICTURES):
            archive.writestr(f"{book:04}/{picture}.jpg", _jpeg((48, 36), (2 * book, 30 * int(picture), 90)))
    with zipfile.ZipFile(root / "images/clothing_128.zip", "w") as archive:
        for number, (split, what) in enumerate(itertools.product(("train", "test", "validation"), CLOTHES)):
            archive.writestr(f"{split}/{what}/{number}.jpg", _jpeg((40, 60), (8 * number, 200, 20)))
    chapters = [
        {"lang": language, "src": "Nobody", "key": f"{n}.htm", "n": n, "text": "\n".join(prose(language, rng, 6) for _ in range(12))}
        for language in LANGUAGES
        for n in range(60)
    ]
    write_rows(root / "text/books_parallel_12.jsonl.xz", chapters)
    commands = [
        {"lang": language, "key": f"common/{program}.md", "text": _command_page(language, program, rng)}
        for language in LANGUAGES
        for program in ("cat", "ls", "tar", "wc")
    ]
    write_rows(root / "text/tldr_12.jsonl.xz", commands)
    korean = [
        {"lang": "ko", "key": title, "text": f"{title}\n{title}는 {prose('ko', rng, 1)[:12]} 과일이다. {prose('ko', rng, 3)}"}
        for title in ("사과", "포도")
    ]
    write_rows(root / "text/wikipedia_ko.jsonl.xz", korean)
    write_rows(root / "evals/questions_en.jsonl.xz", [{"query": f"Question: {prose('en', rng, 2)}", "gold": 1} for _ in range(20)])
    write_rows(root / "evals/problems_en.jsonl.xz", [{"question": prose("en", rng, 3), "answer": "#### 7"} for _ in range(20)])
    prose_files = dict.fromkeys(("wikipedia_simple_en", "wikipedia_ko", "books_parallel_12", "tldr_12"), "prose")
    return describe(root, {**prose_files, "storybooks": "picture_books"})


# What remembers files of the mirror that was in use.
_REMEMBERING = (
    *(sources._listed, skills.facts, emoji.album, emoji.inventory, emoji.codes, emoji_names._sources),
    *(photos._archive, photos.books, photos.clothes, photos.picture),
    *(prose_rows._books, prose_rows.picture_books, prose_rows.lengths, prose_rows.parallel, prose_rows.pairs),
    *(prose_rows.directions, prose_rows._paragraphs, prose_rows.held_out_pages, prose_rows.said_in),
    *(commands.pages, definitions.definitions),
    *(tales.books, tales.short_books, tales.languages),
)


@contextmanager
def in_use(root: Path) -> Iterator[Path]:
    """The mirror under `root` as the one that `puna.data` reads, until the end of the block."""
    variables = {sources.MANIFEST_VARIABLE: str(root / "manifest.json"), sources.MIRROR_VARIABLE: str(root)}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    for function in _REMEMBERING:
        function.cache_clear()
    try:
        yield root
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        for function in _REMEMBERING:
            function.cache_clear()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(f"PUNA_DATA_MIRROR={folder} PUNA_DATA_MANIFEST={write_mirror(folder)}")
