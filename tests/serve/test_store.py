import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from puna.serve.store import Bounds, Kept, Store, StoreError, TooLongError, default_path


def response(id: str, *, previous: str | None = None, status: str = "completed", owner: str | None = None, text: str = "x") -> Kept:
    body = json.dumps({"id": id, "status": status, "error": None, "text": text})
    return Kept(id, owner, previous, 1.0, status, "[]", body)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "deep" / "responses.sqlite3"


def test_what_is_added_is_there_for_its_owner_alone(path) -> None:
    store = Store(path)
    mine = response("a", owner="me")
    store.add(mine)
    assert store.get("a", "me") == mine
    assert store.get("a", "you") is None and store.get("a", None) is None
    assert store.chain("a", "you", 10**6) == [] and not store.delete("a", "you")
    assert store.delete("a", "me") and store.get("a", "me") is None and not store.delete("a", "me")
    store.close()


def test_it_is_for_this_user_s_eyes(path) -> None:
    Store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_an_update_of_what_was_deleted_brings_nothing_back(path) -> None:
    store = Store(path)
    store.add(response("a", status="in_progress"))
    store.update("a", "completed", "{}", b"[]")
    assert store.get("a", None)[4:] == ("completed", "[]", "{}", b"[]")
    store.delete("a", None)
    store.update("a", "completed", "{}")
    assert store.count() == 0


def test_a_chain_is_told_from_its_beginning_and_no_longer_than_allowed(path) -> None:
    store = Store(path)
    for id, previous in (("a", None), ("b", "a"), ("c", "b"), ("other", "a")):
        store.add(response(id, previous=previous))
    assert [kept.id for kept in store.chain("c", None, 10**6)] == ["a", "b", "c"]
    with pytest.raises(TooLongError, match="more than the 100"):
        store.chain("c", None, 100)
    store.delete("a", None)
    assert [kept.id for kept in store.chain("c", None, 10**6)] == ["b", "c"]


def test_a_chain_never_leaves_its_owner(path) -> None:
    store = Store(path)
    store.add(response("theirs", owner="them"))
    store.add(response("mine", previous="theirs", owner="me"))
    assert [kept.id for kept in store.chain("mine", "me", 10**6)] == ["mine"]


def test_the_least_used_goes_first_and_what_is_under_way_never(path) -> None:
    now = iter(range(1000))
    store = Store(path, Bounds(count=3), clock=lambda: float(next(now)))
    store.add(response("running", status="in_progress"))
    for id in ("a", "b"):
        store.add(response(id))
    store.chain("a", None, 10**6)  # used again
    store.add(response("c"))
    assert [store.get(id, None) is not None for id in ("running", "a", "b", "c")] == [True, True, False, True]


def test_bytes_and_age_are_bounded(path) -> None:
    now = [0.0]
    store = Store(path, Bounds(bytes=3000, days=1), clock=lambda: now[0])
    for id in ("a", "b", "c"):
        store.add(response(id, text="x" * 1000))
        now[0] += 1
    assert store.get("a", None) is None and store.count() == 2
    store.add(response("large", text="x" * 9000))  # it alone may be more
    assert store.count() == 1
    now[0] += 86_500
    store.close()
    assert Store(path, Bounds(days=1), clock=lambda: now[0]).count() == 0


def test_responses_of_a_server_that_has_gone_have_failed_and_those_of_another_one_go_on(path) -> None:
    one, other = Store(path), Store(path)
    for store, id in ((one, "one"), (other, "other")):
        store.add(response(id, status="in_progress"))
    one.close()
    third = Store(path)
    failed = third.get("one", None)
    assert failed.status == "failed"
    assert json.loads(failed.response)["status"] == "failed"
    assert json.loads(failed.response)["error"]["code"] == "server_error"
    assert third.get("other", None).status == "in_progress"


KILLED = """
import sys, time
from pathlib import Path
from puna.serve.store import Kept, Store
store = Store(Path(sys.argv[1]))
store.add(Kept("done", None, None, 1.0, "completed", "[]", "{}"))
store.add(Kept("running", None, None, 1.0, "in_progress", "[]", "{}"))
print("there", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills a process by a signal")
def test_a_kill_loses_nothing(path) -> None:
    program = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None and program.stdout.readline() == "there\n"
    program.send_signal(signal.SIGKILL)
    program.wait(10)
    program.stdout.close()
    store = Store(path)
    assert store.get("done", None).status == "completed"
    assert store.get("running", None).status == "failed"
    store.close()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_none_of_ours_is_refused(path, tmp_path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 50)
    with pytest.raises(StoreError, match="damaged, or no file of responses.*--no-store"):
        Store(path)
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreError, match="another program"):
        Store(tmp_path / "other.db")
    Store(tmp_path / "newer.db").close()
    with sqlite3.connect(tmp_path / "newer.db") as newer:
        newer.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="schema 9"):
        Store(tmp_path / "newer.db")
    with pytest.raises(StoreError, match="cannot be kept there"):
        Store(tmp_path)


def test_damage_inside_is_told_at_the_start(path) -> None:
    store = Store(path)
    for number in range(50):
        store.add(response(str(number), text="x" * 5000))
    store.close()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20_000] = b"\xff" * 20_000
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        Store(path)


def test_the_default_place_is_in_the_user_s_own_data() -> None:
    assert default_path({"XDG_DATA_HOME": "/data"}) == Path("/data/puna/responses.sqlite3")
    assert default_path({"XDG_DATA_HOME": "relative"}) is None
