"""Files of a media root: those below it are read, and nothing else, however it is named."""

import os
from pathlib import Path

import pytest

from puna.media import FetchError
from puna.media.root import MediaRoot


@pytest.fixture
def root(tmp_path: Path) -> MediaRoot:
    inside = tmp_path / "media"
    (inside / "deep").mkdir(parents=True)
    (tmp_path / "media-secret").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (inside / "a b.png").write_bytes(b"picture")
    (inside / "deep" / "ü.png").write_bytes(b"deeper")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "near").symlink_to(inside / "a b.png")
    (inside / "out").symlink_to(tmp_path)
    (inside / "loop").symlink_to(inside / "loop")
    os.mkfifo(inside / "pipe")
    return MediaRoot(inside)


@pytest.mark.parametrize("start", ["file://", "FILE://", "file://localhost"])
def test_files_below_the_root_are_read(root: MediaRoot, start: str) -> None:
    assert root.read(f"{start}{root.directory}/a%20b.png", 7) == b"picture"
    assert root.read(f"{start}{root.directory}/deep/%C3%BC.png", 7) == b"deeper"
    assert root.read(f"{start}{root.directory}/deep/ü.png", 7) == b"deeper"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("{root}/none.png", "file_missing"),
        ("{root}/deep/none/none.png", "file_missing"),
        ("{root}", "file_refused"),
        ("{root}/", "file_refused"),
        ("{root}/deep", "file_refused"),
        ("{root}/pipe", "file_refused"),
        ("{root}/link", "file_refused"),
        ("{root}/near", "file_refused"),
        ("{root}/loop", "file_refused"),
        ("{root}/out/secret", "file_refused"),
        ("{root}/a%20b.png/x", "file_refused"),
        ("{root}/../secret", "file_refused"),
        ("{root}/%2e%2e/secret", "file_refused"),
        ("{root}/deep/..%2f../../secret", "file_refused"),
        ("{root}/./a%20b.png", "file_refused"),
        ("{root}//a%20b.png", "file_refused"),
        ("{root}-secret", "file_refused"),
        ("{root}/a%20b.png%00", "file_refused"),
        ("{root}/a%20b.png\ud800", "file_refused"),
        ("{root}/" + "x" * 5000, "file_refused"),
        ("/etc/passwd", "file_refused"),
        ("elsewhere{root}/a%20b.png", "file_refused"),
        ("", "file_refused"),
    ],
)
def test_nothing_else_is_read(root: MediaRoot, path: str, code: str) -> None:
    with pytest.raises(FetchError) as caught:
        root.read("file://" + path.format(root=root.directory), 1000)
    assert caught.value.code == code
    assert str(root.directory) not in str(caught.value)


def test_other_schemes_and_bare_paths_are_refused(root: MediaRoot) -> None:
    for url in (f"{root.directory}/a%20b.png", f"https://{root.directory}/a%20b.png", f"file:{root.directory}/a%20b.png"):
        with pytest.raises(FetchError, match="names no file"):
            root.read(url, 1000)


def test_the_size_is_bounded(root: MediaRoot) -> None:
    with pytest.raises(FetchError, match="at most 6") as caught:
        root.read(f"file://{root.directory}/a%20b.png", 6)
    assert caught.value.code == "too_large"


def test_no_file_stays_open(root: MediaRoot) -> None:
    before = len(os.listdir("/dev/fd"))
    for path in ("a%20b.png", "deep/ü.png", "deep", "pipe", "link", "none", "out/secret", "deep/none"):
        try:
            root.read(f"file://{root.directory}/{path}", 6)
        except FetchError:
            continue
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(("directory", "words"), [("nowhere", "not a directory"), ("/", "whole disk")])
def test_a_root_is_a_directory_below_the_disk(directory: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MediaRoot(directory)
