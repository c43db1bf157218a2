from pathlib import Path

import pytest

from puna.cli.line import Found, read_command, split_line, written_path


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "two words.JPG", "it's.webp"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/help", ("help", "")),
        ("  /clear  ", ("clear", "")),
        ("/image a b.png", ("image", "a b.png")),
        ("/nonsense", ("nonsense", "")),
        ("/home/me/a.png what is it?", None),
        ("what does /help do?", None),
        ("/", None),
        ("hello", None),
    ],
)
def test_a_command_is_a_slash_and_a_plain_word(line: str, command: tuple[str, str] | None) -> None:
    assert read_command(line) == command


def test_a_dropped_path_is_found_in_every_spelling(pictures: Path) -> None:
    spaced = pictures / "two words.JPG"
    for spelling in (f"'{spaced}'", f'"{spaced}"', str(spaced).replace(" ", "\\ "), spaced.as_uri(), "'two words.JPG'"):
        first, found, last = split_line(f"look at {spelling} closely")
        assert (first, last) == ("look at", "closely")
        assert isinstance(found, Found) and found.exists
        assert Path(found.path).resolve() == spaced


def test_pictures_keep_their_places_among_the_words(pictures: Path) -> None:
    assert list(split_line("a.png or 'two words.JPG'?")) == [Found("a.png", True), "or 'two words.JPG'?"]
    assert list(split_line("is a.png older than 'two words.JPG' ?")) == [
        "is",
        Found("a.png", True),
        "older than",
        Found("two words.JPG", True),
        "?",
    ]


def test_videos_are_found_as_pictures_are(pictures: Path) -> None:
    (pictures / "clip.MP4").touch()
    assert list(split_line("what moves in clip.MP4 and in none.webm ?")) == [
        "what moves in",
        Found("clip.MP4", True),
        Found("none.webm", False),
        "and in none.webm ?",
    ]


def test_an_apostrophe_opens_no_quotation(pictures: Path) -> None:
    assert list(split_line("don't look at a.png it's mine")) == ["don't look at", Found("a.png", True), "it's mine"]
    assert list(split_line('"it\'s.webp"')) == [Found("it's.webp", True)]


def test_a_path_that_leads_nowhere_stays_text(pictures: Path) -> None:
    assert list(split_line("what is in none.png today")) == [Found("none.png", False), "what is in none.png today"]
    assert list(split_line("x" * 5000 + ".png")) == [Found("x" * 5000 + ".png", False), "x" * 5000 + ".png"]


def test_text_is_left_as_it_was_typed(pictures: Path) -> None:
    assert list(split_line("  two   spaces \\n and \"quotes\" 'here'  ")) == ["two   spaces \\n and \"quotes\" 'here'"]
    assert list(split_line("   ")) == []


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/llama")
    assert written_path("~/a.png") == "/home/llama/a.png"
