"""Local files that a server may read for its clients: those below one folder, named by `file:` URLs, and no link out of it.

Each part of a path is opened inside the folder before it, and no symbolic link is followed, so nothing can be swapped in between a check
and its use. Knows no network.
"""

import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote

from puna.media.error import FetchError

_FILE_URL = re.compile(r"file://(?:localhost)?(/[^?#\ud800-\udfff]*)", re.IGNORECASE)


class MediaRoot:
    """`MediaRoot("/srv/pictures").read("file:///srv/pictures/cat.png", max_bytes)`; `directory` itself may be or contain a link."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(os.path.abspath(directory))
        if not self.directory.is_dir():
            raise ValueError(f"the media root {self.directory} is not a directory; name one that exists")
        if self.directory == Path(self.directory.anchor):
            raise ValueError(f"the media root {self.directory} is the whole disk; name the directory that holds the media")
        if os.open not in os.supports_dir_fd:
            raise ValueError("a media root needs a system that opens files relative to a directory; this one does not, send data: URLs")

    def read(self, url: str, max_bytes: int) -> bytes:
        """The bytes of a `file:` URL below the root. Raises `FetchError`: `file_refused`, `file_missing` or `too_large`."""
        parts = self._parts(url)
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            # NONBLOCK: opening a pipe would wait for its writer.
            file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except FileNotFoundError as error:
            raise FetchError("there is no such file below the media root; check the path", "file_missing") from error
        except OSError as error:  # a link (ELOOP), a file where a folder should be, no permission
            raise FetchError(
                "the path leads to no file below the media root that may be read; links are not followed", "file_refused"
            ) from error
        finally:
            os.close(folder)
        try:
            found = os.fstat(file)  # of what is open, not of a name
            if not stat.S_ISREG(found.st_mode):
                raise FetchError("the path names no plain file; name a picture or a video", "file_refused")
            if found.st_size > max_bytes:
                size = f"{found.st_size:,} bytes, but at most {max_bytes:,} are read"
                raise FetchError(f"the file has {size}; save it smaller", "too_large")
            with open(file, "rb", closefd=False) as opened:
                return opened.read(found.st_size)
        finally:
            os.close(file)

    def _parts(self, url: str) -> list[str]:
        """The parts of the path below the root. Nothing is normalised: a path with `..` in it is refused, wherever it would lead."""
        match = _FILE_URL.fullmatch(url)
        path = unquote(match[1]) if match else ""
        root = self.directory.as_posix().rstrip("/") + "/"
        parts = path.removeprefix(root).split("/")
        if not path.startswith(root) or "\0" in path or any(part in ("", ".", "..") for part in parts):
            raise FetchError("the address names no file below the media root; write file:///<media root>/<file>", "file_refused")
        return parts
