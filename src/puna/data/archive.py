"""A zip file that stays open, also in processes that are forked while it is."""

import os
import zipfile
from pathlib import Path


class Archive:
    """Members of a zip file by name. A process that was forked opens the file for itself: an inherited handle shares its place in the file
    with every other process, and reads of one would land in the middle of another's.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        self._zip, self._owner = zipfile.ZipFile(self.path), os.getpid()

    @property
    def names(self) -> list[str]:
        return self._zip.namelist()

    def read(self, name: str) -> bytes:
        if self._owner != os.getpid():
            self._open()
        return self._zip.read(name)
