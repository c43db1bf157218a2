import json
from datetime import UTC, datetime

import pytest

from puna.cli.error import UserError
from puna.cli.keys import end
from puna.serve.keys import KeyRing

NOW = datetime(2026, 11, 27, 12, 30, 15, 123, tzinfo=UTC)


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    """Nobody's real keys are touched."""
    monkeypatch.setenv("PUNA_KEYS_FILE", str(tmp_path / "keys.json"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "keys.json"


def test_a_new_key_is_printed_alone_once_and_works(puna, file) -> None:
    made = puna("keys", "add", "laptop", "--scope", "chat", "--scope", "metrics", "--expires", "30d")
    assert made.code == 0
    (text,) = made.out.splitlines()
    assert "laptop may do chat, metrics, until 20" in made.err and str(file) in made.err and text not in made.err
    assert KeyRing(file).find(text).scopes == ("chat", "metrics")
    assert text not in puna("keys", "list").out + puna("keys", "list", "--json").out + file.read_text()


def test_the_list_says_who_may_do_what(puna, file) -> None:
    puna("keys", "add", "laptop")
    puna("keys", "add", "scraper", "--scope", "metrics", "--expires", "2999-01-31")
    puna("keys", "revoke", "laptop")
    laptop, scraper, last = puna("keys", "list").out.splitlines()
    assert laptop.split()[0] == "laptop" and "revoked" in laptop and "chat" in laptop and "without end" in laptop
    assert scraper.split()[0] == "scraper" and "active" in scraper and "until 2999-01-31 00:00" in scraper
    assert last == f"2 keys in {file}; times are UTC"
    told = json.loads(puna("keys", "list", "--json").out)
    assert told["file"] == str(file)
    assert [(key["name"], key["state"], key["scopes"]) for key in told["keys"]] == [
        ("laptop", "revoked", ["chat"]),
        ("scraper", "active", ["metrics"]),
    ]
    assert "sha256" not in told["keys"][0]


def test_a_revoked_key_counts_no_more(puna, file) -> None:
    text = puna("keys", "add", "laptop").out.strip()
    revoked = puna("keys", "revoke", "laptop")
    assert revoked.out == f"laptop ({text[:7]}...) counts no more\n"
    assert KeyRing(file).find(text).state() == "revoked"


def test_the_file_is_named_by_option_or_variable_or_lies_in_the_configuration(puna, tmp_path, monkeypatch) -> None:
    puna("keys", "add", "one", "--file", str(tmp_path / "other.json"))
    assert (tmp_path / "other.json").exists()
    monkeypatch.delenv("PUNA_KEYS_FILE")
    puna("keys", "add", "one")
    assert (tmp_path / "config" / "puna" / "keys.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "a b"], "name 'a b' cannot be used"),
        (["add", "x", "--scope", "root"], "scope 'root' is unknown; there are chat, metrics"),
        (["add", "x", "--expires", "soon"], "--expires 'soon' is no time; write 12h, 30d"),
        (["add", "x", "--expires", "2001-01-01"], "has expired already"),
        (["add", "x", "--expires", "999999w"], "is no time"),
        (["revoke", "x"], "no key named 'x' to revoke; there are: none"),
        (["add", "x", "--file", "/proc/nowhere/keys.json"], "--file"),
        ([], "Missing command"),
    ],
)
def test_a_mistake_is_one_line(puna, arguments: list[str], words: str) -> None:
    outcome = puna("keys", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert words in outcome.err


def test_a_name_is_taken_once(puna) -> None:
    puna("keys", "add", "laptop")
    assert "has a key named 'laptop' already" in puna("keys", "add", "laptop").err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", datetime(2026, 11, 27, 13, 0, 15, tzinfo=UTC)),
        ("12h", datetime(2026, 11, 28, 0, 30, 15, tzinfo=UTC)),
        ("30d", datetime(2026, 12, 27, 12, 30, 15, tzinfo=UTC)),
        ("2w", datetime(2026, 12, 11, 12, 30, 15, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T10:00+02:00", datetime(2027, 1, 31, 8, tzinfo=UTC)),
    ],
)
def test_an_end_is_a_span_or_a_moment(text: str, expected: datetime) -> None:
    assert end(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "d", "-3d", "3y", "tomorrow", "2027-13-01", "999999w"])
def test_any_other_end_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no time"):
        end(text, NOW)
