"""Responses that outlive their request, in one SQLite file: a conversation goes on from the id of its last response.

What `add` and `update` have returned from is on the disk: a server that is killed in the next instant loses none of it. A response that
was under way then is found failed at the next start. The file is bounded; what has not been used for longest goes first, and a deleted
response is overwritten, not only forgotten.

Several servers may share a file. Each holds a lock on a file of its own beside it, so that another one can tell whose responses will never
end. Knows nothing of HTTP, nor of what is in a response besides its status and error.
"""

import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

try:
    import fcntl
except ImportError:  # Windows: servers that share a file there take each other's responses for dead
    fcntl = None

_log = logging.getLogger(__name__)

# "puna" in ASCII, in the file's header: so that another program's database is not taken for ours.
_APPLICATION = 0x70756E61
_SCHEMA = 1
_TABLE = """
CREATE TABLE responses (
    id TEXT PRIMARY KEY, owner TEXT, previous TEXT, created REAL NOT NULL, used REAL NOT NULL, status TEXT NOT NULL, server TEXT NOT NULL,
    bytes INTEGER NOT NULL, input TEXT NOT NULL, response TEXT NOT NULL, events BLOB
);
CREATE INDEX by_use ON responses (used, bytes);
CREATE INDEX unfinished ON responses (server) WHERE status IN ('queued', 'in_progress');
"""
_UNFINISHED = "status IN ('queued', 'in_progress')"
_CHAIN = """
WITH RECURSIVE chain (id, previous, depth) AS (
    SELECT id, previous, 0 FROM responses WHERE id = :id AND owner IS :owner
    UNION SELECT r.id, r.previous, depth + 1 FROM responses r JOIN chain c ON r.id = c.previous WHERE r.owner IS :owner
)
"""
_BUSY_S = 15.0
_DAY_S = 86_400.0


class StoreError(ValueError):
    """The file cannot be used as a store, or not any more. The message names it, the reason and the way out."""


class TooLongError(ValueError):
    """A conversation has more bytes than may be read at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much is kept at most: so many responses, so many bytes of them, and none that has not been used for `days`."""

    count: int = 10_000
    bytes: int = 2**30
    days: float = 30.0


class Kept(NamedTuple):
    """A response. `input` is the JSON of its items, `response` its own; `owner` the name of the key it was made with.

    `events` are the frames of its stream, if it can be streamed again.
    """

    id: str
    owner: str | None
    previous: str | None
    created: float
    status: str
    input: str
    response: str
    events: bytes | None = None


_COLUMNS = ", ".join(Kept._fields)


def default_path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where responses are kept unless told otherwise: in a user's own data. None for a user without a home, as in some containers."""
    root = environment.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(root) / "puna" / "responses.sqlite3" if os.path.isabs(root) else None


class Store:
    """Every method may be called from any thread, and blocks while it reads or writes. `clock`: seconds since the epoch."""

    def __init__(self, path: Path, bounds: Bounds | None = None, clock: Callable[[], float] = time.time) -> None:
        """Opens the file, or makes it. Raises `StoreError`."""
        self.path, self._bounds, self._clock = path, bounds or Bounds(), clock
        self._server = secrets.token_hex(8)
        self._lock = threading.RLock()
        self._presence: tuple[Path, IO[bytes]] | None = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Conversations are nobody else's business; SQLite gives its other files the rights of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(f"{path}: responses cannot be kept there ({error.strerror}); {_WAY_OUT}") from error
        self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            with _told(path):
                self._open()
                self._presence = self._appear()
                self._fail_the_dead()
                with self._writing():
                    self._forget_old()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            if self._presence is not None:
                place, file = self._presence
                place.unlink(missing_ok=True)
                file.close()
                self._presence = None

    # Responses

    def add(self, kept: Kept) -> None:
        now = self._clock()
        with self._writing():
            values = (*kept, now, self._server, _size(kept.input, kept.response, kept.events))
            marks = ", ".join("?" * len(values))
            self._connection.execute(f"INSERT INTO responses ({_COLUMNS}, used, server, bytes) VALUES ({marks})", values)
            self._forget_old(kept.id)

    def update(self, id: str, status: str, response: str, events: bytes | None = None) -> None:
        """Nothing, if it has been deleted meanwhile."""
        with self._writing():
            values = (status, response, events, _size(response, events), self._clock(), id)
            self._connection.execute(
                "UPDATE responses SET status = ?, response = ?, events = ?, bytes = ? + length(CAST(input AS BLOB)), used = ? WHERE id = ?",
                values,
            )
            self._forget_old(id)

    def get(self, id: str, owner: str | None) -> Kept | None:
        with self._reading():
            found = self._connection.execute(f"SELECT {_COLUMNS} FROM responses WHERE id = ? AND owner IS ?", (id, owner)).fetchone()
        return None if found is None else Kept(*found)

    def chain(self, id: str, owner: str | None, max_bytes: int) -> list[Kept]:
        """The response and those that it continues, the first of all first; empty if there is no such response.

        If the first one has a `previous`, the conversation's beginning has been deleted. All of it counts as used now. Raises
        `TooLongError` above `max_bytes`.
        """
        named = {"id": id, "owner": owner}
        with self._writing():
            size = f"{_CHAIN} SELECT coalesce(sum(bytes), 0) FROM responses WHERE id IN (SELECT id FROM chain)"
            if (total := self._connection.execute(size, named).fetchone()[0]) > max_bytes:
                raise TooLongError(f"the conversation so far has {total:,} bytes, more than the {max_bytes:,} that may be read at once")
            columns = ", ".join(f"r.{name}" if name != "events" else "NULL" for name in Kept._fields)
            query = f"{_CHAIN} SELECT {columns} FROM responses r JOIN chain c ON r.id = c.id ORDER BY depth DESC"
            found = [Kept(*row) for row in self._connection.execute(query, named)]
            used = "UPDATE responses SET used = ? WHERE id = ?"
            self._connection.executemany(used, [(self._clock(), kept.id) for kept in found])
        return found

    def delete(self, id: str, owner: str | None) -> bool:
        """Whether there was one."""
        with self._writing():
            return self._connection.execute("DELETE FROM responses WHERE id = ? AND owner IS ?", (id, owner)).rowcount > 0

    def count(self) -> int:
        with self._reading():
            return self._connection.execute("SELECT count(*) FROM responses").fetchone()[0]

    # The file

    def _open(self) -> None:
        run = self._connection.execute
        # A commit is on the disk when it returns, whatever happens to the process or to the machine.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            run(f"PRAGMA {pragma}").fetchall()
        with self._writing():
            application, schema = (run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
            if not run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in filter(str.strip, _TABLE.split(";")):
                    run(statement)
                run(f"PRAGMA application_id = {_APPLICATION}")
                run(f"PRAGMA user_version = {_SCHEMA}")
            elif application != _APPLICATION:
                raise StoreError(f"{self.path} is a database of another program; {_WAY_OUT}")
            elif schema != _SCHEMA:
                message = f"{self.path} has schema {schema}, and this version of puna knows {_SCHEMA}; use the version that made it, or"
                raise StoreError(f"{message} {_WAY_OUT}")
        if (fault := run("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(fault)

    def _forget_old(self, but: str | None = None) -> None:
        """Deletes what is too old, and then the least used until the rest is within bounds. Never what is under way, or `but`."""
        run, bounds = self._connection.execute, self._bounds
        run(f"DELETE FROM responses WHERE used < ? AND NOT {_UNFINISHED} AND id IS NOT ?", (self._clock() - bounds.days * _DAY_S, but))
        count, size = run("SELECT count(*), coalesce(sum(bytes), 0) FROM responses").fetchone()
        candidates = run(f"SELECT id, bytes FROM responses WHERE NOT {_UNFINISHED} AND id IS NOT ? ORDER BY used", (but,))
        gone = []
        while (count > bounds.count or size > bounds.bytes) and (oldest := candidates.fetchone()) is not None:
            gone.append(oldest[:1])
            count, size = count - 1, size - oldest[1]
        candidates.close()
        self._connection.executemany("DELETE FROM responses WHERE id = ?", gone)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction, alone in the file."""
        with self._lock, _told(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, _told(self.path):
            yield

    # Servers that share the file

    def _appear(self) -> tuple[Path, IO[bytes]] | None:
        """Holds a lock that ends with this process, however it ends."""
        if fcntl is None:
            return None
        place = self._presence_of(self._server)
        # Locked before it has its name: under it, nobody sees it unlocked.
        unnamed = place.with_name(f"{place.name}.new")
        file = unnamed.open("wb")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.replace(place)
        return place, file

    def _presence_of(self, server: str) -> Path:
        return self.path.with_name(f"{self.path.name}-server-{server}")

    def _fail_the_dead(self) -> None:
        """Responses of servers that are gone will never end: they failed."""
        error = {"code": "server_error", "message": "the server ended before this response did; ask again"}
        with self._writing():
            servers = [name for (name,) in self._connection.execute(f"SELECT DISTINCT server FROM responses WHERE {_UNFINISHED}")]
            for server in servers:
                if self._is_alive(server):
                    continue
                failed = self._connection.execute(
                    "UPDATE responses SET status = 'failed', response = json_set(response, '$.status', 'failed', '$.error', json(?))"
                    f" WHERE server = ? AND {_UNFINISHED}",
                    (json.dumps(error), server),
                )
                _log.warning("%d responses had not ended when a server did; they are marked failed", failed.rowcount)
        for place in self.path.parent.glob(f"{self.path.name}-server-" + "[0-9a-f]" * 16):
            self._is_alive(place.name.rpartition("-")[2])  # takes away what the dead have left

    def _is_alive(self, server: str) -> bool:
        if server == self._server:
            return True
        place = self._presence_of(server)
        if fcntl is None or not place.exists():
            return False
        try:
            with place.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                place.unlink(missing_ok=True)
                return False
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True


_WAY_OUT = "name another file with --store, or keep nothing with --no-store"


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except sqlite3.OperationalError as error:  # full, locked, read-only, gone
        raise StoreError(f"{path}: responses cannot be kept there now ({error}); free the disk or the file, or {_WAY_OUT}") from error
    except sqlite3.DatabaseError as error:
        raise StoreError(f"{path} is damaged, or no file of responses ({error}); move it away to begin anew, or {_WAY_OUT}") from error


def _size(*parts: str | bytes | None) -> int:
    return sum(len(part.encode() if isinstance(part, str) else part) for part in parts if part is not None)
