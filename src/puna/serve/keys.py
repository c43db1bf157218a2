"""API keys: who may ask. A key is shown once and kept as a hash; a file holds the hashes, and its changes count at once.

A key is 256 random bits, so a plain SHA-256 protects it: nobody tries 2**256 inputs, and the slow, salted hashes that passwords need
would only cost time at every request. Whoever reads the file learns no key.

Knows nothing of HTTP; `puna.serve.access` asks it at each request.
"""

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

try:
    import fcntl
except ImportError:  # Windows: two `puna keys add` in the same instant may lose one of the two
    fcntl = None

PREFIX = "pk-"
VARIABLE = "PUNA_API_KEY"
Scope = Literal["chat", "metrics"]
# `chat`: ask the model, by any API, and see which model there is. `metrics`: read /metrics.
SCOPES: tuple[Scope, ...] = ("chat", "metrics")
# A key from the environment is chosen by a person: short ones can be guessed over the network.
_SHORTEST = 16

_log = logging.getLogger(__name__)


class KeyFileError(ValueError):
    """The file of keys, or a change to it, cannot be. The message names the file, the reason and the way out."""


class Key(BaseModel):
    """One key as it is kept. `hint` is its beginning, to tell which one a leaked key is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    hint: str
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    def state(self, now: datetime | None = None) -> Literal["active", "expired", "revoked"]:
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= (now or datetime.now(UTC)) else "active"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    keys: list[Key] = []


def default_path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where keys are kept unless told otherwise: in a user's own configuration. None for a user without a home, as in some containers."""
    root = environment.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(root) / "puna" / "keys.json" if os.path.isabs(root) else None


class KeyFile:
    """The keys in one file. Each change is written beside it and put in its place whole, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        """All keys, revoked ones included; none if there is no file. Raises `KeyFileError` for one that cannot be trusted or read."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise KeyFileError(f"{self.path}: the keys cannot be read ({error.strerror}); check its owner and rights") from error
        if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KeyFileError(
                f"{self.path} can be written by other users (mode {stat.S_IMODE(mode):o}), who could add keys; run chmod 600 {self.path}"
            )
        try:
            return _File.model_validate_json(content).keys
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(step) for step in first["loc"]) or "the file"
            message = f"{self.path} is not a file of keys: {place}: {first['msg']}; mend it, or move it away and make new keys"
            raise KeyFileError(message) from error

    def add(self, name: str, scopes: Sequence[str] = ("chat",), expires: datetime | None = None) -> tuple[str, Key]:
        """Make a key; its text, which is kept nowhere, and what is kept. Names of active keys are unique."""
        text = PREFIX + secrets.token_urlsafe(32)
        now = datetime.now(UTC).replace(microsecond=0)
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown:
            raise KeyFileError(f"scope {unknown[0]!r} is unknown; there are {', '.join(SCOPES)}")
        if expires is not None and expires <= now:
            raise KeyFileError(f"a key that expires at {expires.isoformat()} has expired already; name a time to come")
        try:
            key = Key(name=name, sha256=_digest(text), hint=text[:7], scopes=tuple(dict.fromkeys(scopes)), created=now, expires=expires)  # pyright: ignore[reportArgumentType]  # checked above
        except ValidationError as error:
            raise KeyFileError(f"name {name!r} cannot be used; 1 to 64 letters, digits and . _ @ -, a letter or digit first") from error
        with self._alone():
            keys = self.read()
            if any(each.name == name and each.state() != "revoked" for each in keys):
                raise KeyFileError(
                    f"{self.path} has a key named {name!r} already; choose another name, or run puna keys revoke {name} first"
                )
            self._write([*keys, key])
        return text, key

    def revoke(self, name: str) -> Key:
        """Let a key count no more. Its entry stays, so that the log's names keep their meaning."""
        with self._alone():
            keys = self.read()
            for place, key in enumerate(keys):
                if key.name == name and key.revoked is None:
                    keys[place] = key.model_copy(update={"revoked": datetime.now(UTC).replace(microsecond=0)})
                    self._write(keys)
                    return keys[place]
        there = ", ".join(sorted({key.name for key in keys if key.revoked is None})) or "none"
        raise KeyFileError(f"{self.path} has no key named {name!r} to revoke; there are: {there}")

    def _write(self, keys: Sequence[Key]) -> None:
        content = json.dumps({"version": 1, "keys": [key.model_dump(mode="json") for key in keys]}, indent=1) + "\n"
        try:
            handle, beside = tempfile.mkstemp(dir=self.path.parent, prefix=".keys-")  # mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, self.path)
            except BaseException:
                os.unlink(beside)
                raise
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be written: {error.strerror}; name another place with --file") from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else changes the file meanwhile. The folder is locked, since the file itself is replaced."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder = os.open(self.path.parent, os.O_RDONLY) if fcntl is not None else None
        except OSError as error:
            raise KeyFileError(f"{self.path.parent} cannot be used: {error.strerror}; name another place with --file") from error
        try:
            if fcntl is not None and folder is not None:
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            if folder is not None:
                os.close(folder)  # and with it the lock


class KeyRing:
    """The keys that a server accepts: those of a file, read again when it changes, and those of the environment, which may do everything.

    Once a key has been seen, `is_required` stays true: taking the file away locks the server, it does not open it.
    """

    def __init__(self, path: Path | None = None, from_environment: str | None = None) -> None:
        self._file = KeyFile(path) if path is not None else None
        self._own = [_environment_key(number, text) for number, text in enumerate(_split(from_environment), 1)]
        self._seen: tuple[int, int, int] | None = None
        self._kept: list[Key] = []
        self._is_required = bool(self._own)
        if self._file is not None:
            self._seen = self._stamp()
            self._kept = self._file.read()  # a file that is wrong at the start is told at the start
            self._is_required |= any(key.state() == "active" for key in self._kept)

    @property
    def is_required(self) -> bool:
        """Whether a request needs a key."""
        self._refresh()
        return self._is_required

    def find(self, text: str) -> Key | None:
        """The key that `text` is, expired and revoked ones included; None if it is none.

        Every key is compared, each in constant time: how long it takes says nothing about any of them.
        """
        self._refresh()
        digest, found = _digest(text), None
        for key in (*self._own, *self._kept):
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _refresh(self) -> None:
        if self._file is None or (stamp := self._stamp()) == self._seen:
            return
        self._seen = stamp
        try:
            self._kept = self._file.read()
        except KeyFileError as error:
            self._kept = []  # closed, not open: nobody knows whom the file would let in
            _log.error("no key of the file counts until it is mended: %s", error)
            return
        self._is_required |= any(key.state() == "active" for key in self._kept)
        _log.info("the file of keys has changed: %d keys count now", sum(key.state() == "active" for key in self._kept))

    def _stamp(self) -> tuple[int, int, int] | None:
        assert self._file is not None
        try:
            status = self._file.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()] if text else []


def _environment_key(number: int, text: str) -> Key:
    if len(text) < _SHORTEST:
        raise KeyFileError(
            f"key {number} in {VARIABLE} has {len(text)} characters, fewer than {_SHORTEST}: it could be guessed; "
            "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    name = "environment" if number == 1 else f"environment-{number}"
    return Key(name=name, sha256=_digest(text), hint="", scopes=SCOPES, created=datetime.now(UTC))
