"""What a line of the chat means: a command, or words with the pictures and videos whose files were dropped among them.

Terminals write a dropped file as its path: bare, in quotes, with escaped spaces, or as a file: URL. All four are read.
Knows no model and reads no file: it only finds the paths.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", ".m4v", ".mov", ".webm", ".mkv")

_COMMAND = re.compile(r"/([a-z]+)(?:\s+(.*))?", re.DOTALL)
# A quoted run, or a run without spaces except escaped ones; each starts a word, so that the apostrophe in "don't" opens nothing.
_WORD = re.compile(r"""(?<!\S)(?:'([^'\n]+)'|"([^"\n]+)"|((?:\\.|[^\s\\])+))(?!\S)""")


class Command(NamedTuple):
    name: str
    argument: str


class Found(NamedTuple):
    """A path that ends like a picture or a video, and whether a file is there."""

    path: str
    exists: bool


def read_command(line: str) -> Command | None:
    """`/name argument`; None for anything else, a path that starts with a slash included."""
    match = _COMMAND.fullmatch(line.strip())
    return Command(match[1], (match[2] or "").strip()) if match else None


def split_line(line: str) -> Iterator[str | Found]:
    """The words in runs, and the paths of pictures and videos between them, in order; as typed, outer spaces aside."""
    start = 0
    for match in _WORD.finditer(line):
        path = written_path(match[0])
        if not path.lower().endswith(ENDINGS):
            continue
        found = Found(path, _is_file(path))
        if found.exists:
            yield from _text(line[start : match.start()])
            start = match.end()
        yield found
    yield from _text(line[start:])


def written_path(word: str) -> str:
    """The path that a terminal wrote as `word`: quotes and escapes removed, a file: URL decoded, ~ expanded."""
    match = _WORD.fullmatch(word)
    if match is None:
        return word
    path = match[1] or match[2] or re.sub(r"\\(.)", r"\1", match[3])
    if path.startswith("file://"):
        path = unquote(urlsplit(path).path)
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _text(run: str) -> Iterator[str]:
    if run.strip():
        yield run.strip()


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL: no such file
        return False
