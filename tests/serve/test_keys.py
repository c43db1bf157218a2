"""Keys as they are kept: made, found, ended; and the file that keeps them."""

import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from puna.serve.keys import KeyFile, KeyFileError, KeyRing, default_path


@pytest.fixture
def store(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "puna" / "keys.json")


def test_a_key_is_long_random_and_kept_only_as_a_hash(store: KeyFile) -> None:
    texts = {store.add(f"key-{number}")[0] for number in range(5)}
    assert len(texts) == 5
    assert all(text.startswith("pk-") and len(text) >= 3 + 43 for text in texts), "43 characters of base64 hold 256 bits"
    content = store.path.read_text()
    assert not any(text in content or text[8:] in content for text in texts)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_file_is_its_owners_alone_and_nothing_is_left_beside_it(store: KeyFile) -> None:
    store.add("one")
    store.add("two")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in store.path.parent.iterdir()] == ["keys.json"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_file_that_others_can_write_is_not_trusted(store: KeyFile) -> None:
    store.add("one")
    store.path.chmod(0o644)
    assert len(store.read()) == 1, "reading hashes helps nobody"
    store.path.chmod(0o664)
    with pytest.raises(KeyFileError, match="other users.*chmod 600"):
        store.read()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Invalid JSON"),
        ("[]", "not a file of keys"),
        ('{"version": 2, "keys": []}', "version"),
        ('{"keys": [{"name": "a"}]}', "keys.0.sha256"),
        ('{"keys": [], "extra": 1}', "extra"),
    ],
)
def test_a_file_that_is_none_of_keys_is_named_with_the_place(store: KeyFile, content: str, words: str) -> None:
    store.path.parent.mkdir()
    store.path.write_text(content)
    store.path.chmod(0o600)
    with pytest.raises(KeyFileError, match=f"keys.json.*{words}"):
        store.read()


def test_names_of_keys_that_count_are_unique_and_plain(store: KeyFile) -> None:
    store.add("laptop")
    with pytest.raises(KeyFileError, match="has a key named 'laptop' already.*revoke laptop"):
        store.add("laptop")
    store.revoke("laptop")
    store.add("laptop")
    assert [key.state() for key in store.read()] == ["revoked", "active"]
    for name in ("", "a b", "a\nb", "-x", "x" * 65, "é"):
        with pytest.raises(KeyFileError, match="cannot be used"):
            store.add(name)


def test_an_unknown_scope_and_an_end_in_the_past_are_refused(store: KeyFile) -> None:
    with pytest.raises(KeyFileError, match="scope 'root' is unknown; there are chat, metrics"):
        store.add("one", ["root"])
    with pytest.raises(KeyFileError, match="has expired already"):
        store.add("one", expires=datetime.now(UTC) - timedelta(seconds=1))
    assert store.read() == []


def test_revoking_what_is_not_there_names_what_is(store: KeyFile) -> None:
    store.add("one")
    with pytest.raises(KeyFileError, match="no key named 'two' to revoke; there are: one"):
        store.revoke("two")


def test_keys_made_at_the_same_time_are_all_kept(store: KeyFile) -> None:
    threads = [threading.Thread(target=store.add, args=(f"key-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.read()) == 8


def test_a_ring_finds_its_keys_and_no_others(store: KeyFile) -> None:
    text, _ = store.add("one")
    ring = KeyRing(store.path, "from-the-environment, and-a-second-one")
    assert ring.is_required
    assert ring.find(text).name == "one"
    assert ring.find("from-the-environment").name == "environment"
    assert ring.find("and-a-second-one").name == "environment-2"
    assert ring.find("and-a-second-one").scopes == ("chat", "metrics")
    hashed = json.loads(store.path.read_text())["keys"][0]["sha256"]
    for other in ("", text[:-1], text + "x", text.swapcase(), hashed, "\ud800", "x" * 100_000):
        assert ring.find(other) is None


def test_a_short_key_in_the_environment_is_refused_without_being_shown(store: KeyFile) -> None:
    with pytest.raises(KeyFileError, match="key 2 in PUNA_API_KEY has 6 characters") as refused:
        KeyRing(None, "long-enough-to-count,hunter")
    assert "hunter" not in str(refused.value)


def test_changes_of_the_file_count_at_once(store: KeyFile) -> None:
    ring = KeyRing(store.path)
    assert not ring.is_required, "no file, no keys"
    first, _ = store.add("first")
    assert ring.is_required
    assert ring.find(first).state() == "active"
    second, _ = store.add("second")
    store.revoke("first")
    assert ring.find(first).state() == "revoked"
    assert ring.find(second).state() == "active"


def test_a_file_that_goes_away_or_breaks_locks_the_server(store: KeyFile, caplog: pytest.LogCaptureFixture) -> None:
    text, _ = store.add("one")
    ring = KeyRing(store.path)
    content = store.path.read_text()
    store.path.write_text(content[:-20])
    assert ring.find(text) is None and ring.is_required
    assert "no key of the file counts until it is mended" in caplog.text and text not in caplog.text
    store.path.write_text(content)
    assert ring.find(text) is not None
    store.path.unlink()
    assert ring.find(text) is None and ring.is_required


def test_a_key_expires_by_itself(store: KeyFile) -> None:
    _, key = store.add("one", expires=datetime.now(UTC) + timedelta(hours=1))
    assert key.state() == "active"
    assert key.state(datetime.now(UTC) + timedelta(hours=2)) == "expired"


def test_keys_lie_in_the_users_configuration() -> None:
    assert default_path({"XDG_CONFIG_HOME": "/srv/conf"}) == Path("/srv/conf/puna/keys.json")
    assert default_path({}) == Path.home() / ".config" / "puna" / "keys.json"
