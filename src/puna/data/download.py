"""One file over HTTP: resumed where it stopped, bounded by the size that the manifest states, and kept only if its checksum is right.

What has arrived lies in FILE.part, so a cut connection, a full disk or a kill loses nothing. Knows no manifest.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx

from puna.data.sources import DataError

ATTEMPTS = 5
_TIMEOUT_S = 30.0
_FIRST_PAUSE_S = 0.25


def download(url: str, path: Path, num_bytes: int, sha256: str, on_bytes: Callable[[int], object] | None = None) -> Path:
    """Bring `url` to `path`. `on_bytes` hears the bytes that have arrived. Raises `DataError` that names what is wrong."""
    part = path.with_name(path.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _refuse_full_disk(url, part, num_bytes)
        _receive_all(url, part, num_bytes, on_bytes or (lambda arrived: None))
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            part.unlink()
            raise DataError(
                f"{url} has sha256 {found[:16]}..., the manifest says {sha256[:16]}...; the download was removed: "
                "ask whoever keeps the mirror, or name another one"
            )
        os.replace(part, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(f"the disk is full: {part} could not be written; make room, then run the same command to go on") from error
        raise
    return path


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _refuse_full_disk(url: str, part: Path, num_bytes: int) -> None:
    missing = num_bytes - _size(part)
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise DataError(
            f"{url} needs {missing / 1e6:.1f} MB more, but {part.parent} has {free / 1e6:.1f} MB free; set PUNA_DATA_CACHE elsewhere"
        )


def _receive_all(url: str, part: Path, num_bytes: int, on_bytes: Callable[[int], object]) -> None:
    """Ask again from where the last answer stopped, as long as an answer brings more than was ever there, else a few times."""
    failures, most = 0, _size(part)
    # A mirror may redirect to where it keeps its files; compressed transfer would make byte ranges mean something else.
    with httpx.Client(follow_redirects=True, max_redirects=5, timeout=_TIMEOUT_S, headers={"Accept-Encoding": "identity"}) as client:
        while _size(part) != num_bytes:
            try:
                _receive(client, url, part, num_bytes, on_bytes)
                why = f"ended after {_size(part):,} of {num_bytes:,} bytes"
            except httpx.InvalidURL as error:
                raise DataError(
                    f"{url} is no address ({error}); PUNA_DATA_MIRROR is a folder or starts with http:// or https://"
                ) from error
            except httpx.HTTPError as error:
                why = str(error) or type(error).__name__
            failures = 0 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures == ATTEMPTS:
                raise DataError(
                    f"{url}: {why}; gave up after {ATTEMPTS} attempts that brought nothing. "
                    f"{_size(part):,} bytes are kept in {part}: run the same command to go on"
                )
            if failures:
                time.sleep(_FIRST_PAUSE_S * 2 ** (failures - 1))


def _receive(client: httpx.Client, url: str, part: Path, num_bytes: int, on_bytes: Callable[[int], object]) -> None:
    """One request; appends to `part`, or starts it anew if the server knows no ranges."""
    have = _size(part)
    if have > num_bytes:  # left by another version of the file
        part.unlink()
        have = 0
    with client.stream("GET", url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
        status = response.status_code
        if status == 416:  # the server's file is shorter than what we have: not the same file
            part.unlink()
            raise httpx.HTTPError(f"has no bytes after {have:,}; starting again")
        if status >= 500 or status == 429:
            raise httpx.HTTPError(f"the server answers {status}")
        if status not in (200, 206):
            raise DataError(f"{url}: the server answers {status} {response.reason_phrase}; check that PUNA_DATA_MIRROR is right")
        if status == 206 and not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
            raise DataError(f"{url}: asked for the bytes from {have:,}, got {response.headers.get('content-range')!r}; name another mirror")
        arrived = have if status == 206 else 0
        with part.open("ab" if status == 206 else "wb") as file:
            for chunk in response.iter_raw():  # as it comes: a cut connection loses nothing that has arrived
                arrived += len(chunk)
                if arrived > num_bytes:
                    file.close()
                    part.unlink()
                    raise DataError(f"{url} is longer than the {num_bytes:,} bytes of the manifest; the download was removed")
                file.write(chunk)
                on_bytes(arrived)
