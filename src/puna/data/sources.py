"""Where the data comes from: two manifests, and `fetch`, which hands out a file only after its checksum.

A manifest names each file's origin, licence, languages and kind; nothing else in the package knows where a file lies. Files are
taken from a mirror named by PUNA_DATA_MIRROR: a folder, or an http(s) address, from which they are downloaded into a cache
(`download`). What trains a model and what scores it never share a list: `manifest()` is what may train, `eval_manifest()` what only scores.
PUNA_DATA_MANIFEST names another list than the package's own, for your own files; its evaluation sets stand in `eval_manifest.json`
beside it.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

MIRROR_VARIABLE = "PUNA_DATA_MIRROR"
CACHE_VARIABLE = "PUNA_DATA_CACHE"
MANIFEST_VARIABLE = "PUNA_DATA_MANIFEST"
MANIFEST = Path(__file__).parent / "manifest.json"
EVAL_MANIFEST = "eval_manifest.json"

# What the kinds hold. "prose" is what `build` packs; the others are read by the generators and by chat rows, but for "pairs" and
# "problems": those two are listed for recipes to come.
KINDS: tuple[str, ...] = ("prose", "pairs", "problems", "questions", "picture_books", "pictures", "names")


class DataError(ValueError):
    """A data file that is missing, unknown, broken or not what the manifest says."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a manifest. `languages` is empty for files that hold no words; `upstream` is the public address of the raw material."""

    name: str
    kind: str
    file: str
    origin: str
    licence: str
    languages: tuple[str, ...]
    bytes: int
    sha256: str
    upstream: str = ""
    note: str = ""


def manifest() -> dict[str, Source]:
    """Every source that may train, by name, in the order of the file."""
    return _listed(Path(os.environ.get(MANIFEST_VARIABLE) or MANIFEST))


def eval_manifest() -> dict[str, Source]:
    """Every evaluation set by name: what `build` keeps out of the shards. Beside a manifest of your own it may be missing: no sets."""
    beside = Path(os.environ.get(MANIFEST_VARIABLE) or MANIFEST).with_name(EVAL_MANIFEST)
    return _listed(beside) if beside.is_file() else {}


@cache
def _listed(path: Path) -> dict[str, Source]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        sources = [Source(**{**row, "languages": tuple(row["languages"])}) for row in rows]
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there; {MANIFEST_VARIABLE} names a JSON list of sources") from error
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        names = ", ".join(field.name for field in fields(Source))
        raise DataError(f"{path} is no manifest ({error}); it is a JSON list of objects with {names}") from error
    if strange := next((source for source in sources if source.kind not in KINDS), None):
        raise DataError(f"{path}: {strange.name} is of kind {strange.kind!r}; there are {', '.join(KINDS)}")
    return {source.name: source for source in sources}


def source(name: str) -> Source:
    """The manifest's entry called `name`."""
    if name not in manifest():
        raise DataError(f"no data source is called {name!r}; the manifest has {', '.join(manifest())}")
    return manifest()[name]


@cache
def _checked(path: Path, sha256: str) -> Path:
    """`path`, once its contents are known to match; one read per process and file."""
    found = sha256_of(path)
    if found != sha256:
        raise DataError(f"{path} has sha256 {found[:16]}..., the manifest says {sha256[:16]}...; delete the file and copy it again")
    return path


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where downloads are kept: PUNA_DATA_CACHE, or the platform's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "puna" / "data"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "puna" / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "puna" / "data"


def fetch(name: str) -> Path:
    """The local path of training source `name`, its checksum verified."""
    return fetch_source(source(name))


def fetch_source(wanted: Source, on_bytes: Callable[[int], object] | None = None) -> Path:
    """The local path of `wanted`, its checksum verified; downloaded if the mirror is an address. `on_bytes` hears how many have arrived."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        raise DataError(
            f"{wanted.file} ({wanted.bytes / 1e6:.1f} MB, {wanted.licence}) is needed, but {MIRROR_VARIABLE} is not set; "
            f"set it to a folder or an address that holds the files of puna/data/manifest.json (this one comes from: {wanted.origin})"
        )
    if mirror.startswith(("http://", "https://")):
        path = cache_folder() / wanted.file
        if not path.is_file():
            from puna.data.download import download  # HTTP is imported only by those who download

            download(f"{mirror.rstrip('/')}/{wanted.file}", path, wanted.bytes, wanted.sha256, on_bytes)
        return _checked(path, wanted.sha256)
    path = Path(mirror) / wanted.file
    if not path.is_file():
        raise DataError(f"{MIRROR_VARIABLE}={mirror} holds no {wanted.file}; copy it there (it comes from: {wanted.origin})")
    return _checked(path, wanted.sha256)
