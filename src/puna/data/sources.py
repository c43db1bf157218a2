"""Where the data comes from: our manifest, and `fetch`, which hands out a file only after its checksum.

The manifest names each file's origin, licence and languages; nothing else in the package knows where a file lies. Files are
taken from a local mirror named by the environment variable PUNA_DATA_MIRROR. Evaluation sets are not in this manifest: what
trains a model and what scores it never share a list.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MIRROR_VARIABLE = "PUNA_DATA_MIRROR"
MANIFEST = Path(__file__).parent / "manifest.json"


class DataError(ValueError):
    """A data file that is missing, unknown or not what the manifest says."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the manifest. `languages` is empty for files that hold no prose."""

    name: str
    file: str
    origin: str
    licence: str
    languages: tuple[str, ...]
    bytes: int
    sha256: str


@cache
def manifest() -> dict[str, Source]:
    """Every source by name, in the order of the file."""
    rows = json.loads(MANIFEST.read_text(encoding="utf-8"))
    return {row["name"]: Source(**{**row, "languages": tuple(row["languages"])}) for row in rows}


def source(name: str) -> Source:
    """The manifest's entry called `name`."""
    if name not in manifest():
        raise DataError(f"no data source is called {name!r}; the manifest has {', '.join(manifest())}")
    return manifest()[name]


@cache
def _checked(path: Path, sha256: str) -> Path:
    """`path`, once its contents are known to match; one read per process and file."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise DataError(f"{path} has sha256 {found[:16]}..., the manifest says {sha256[:16]}...; delete the file and copy it again")
    return path


def fetch(name: str) -> Path:
    """The local path of source `name`, its checksum verified."""
    wanted = source(name)
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        raise DataError(
            f"{wanted.file} ({wanted.bytes / 1e6:.1f} MB, {wanted.licence}) is needed, but {MIRROR_VARIABLE} is not set; "
            f"set it to a folder that holds the files of puna/data/manifest.json (this one comes from: {wanted.origin})"
        )
    path = Path(mirror) / wanted.file
    if not path.is_file():
        raise DataError(f"{MIRROR_VARIABLE}={mirror} holds no {wanted.file}; copy it there (it comes from: {wanted.origin})")
    return _checked(path, wanted.sha256)
