"""Downloads over loopback: whole, cut in the middle, without ranges, and wrong."""

import errno
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from puna.data import download as module
from puna.data import sources
from puna.data.download import download
from puna.data.sources import DataError, fetch

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirror:
    """What the server does with the next requests, and the ranges it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.cuts: list[int] = []  # bytes sent before the connection is cut, one for each request to come
        self.content = CONTENT
        self.ranges = True
        self.status = 0
        self.url = ""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    state = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            if state.status:
                self.send_error(state.status)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            self.end_headers()
            self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/text/file.bin"
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.001)
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def brought(server: Mirror, folder: Path, **changes: object) -> Path:
    expected = {"num_bytes": len(CONTENT), "sha256": SHA256, **changes}
    return download(server.url, folder / "text" / "file.bin", **expected)  # pyright: ignore[reportArgumentType]


def test_a_file_arrives_and_its_progress_is_heard(server: Mirror, tmp_path: Path) -> None:
    heard: list[int] = []
    path = brought(server, tmp_path, on_bytes=heard.append)
    assert path.read_bytes() == CONTENT and server.asked == [None]
    assert heard == sorted(heard) and heard[-1] == len(CONTENT)
    assert not path.with_name("file.bin.part").exists()


def test_a_cut_connection_goes_on_where_it_was_cut(server: Mirror, tmp_path: Path) -> None:
    server.cuts = [300_000, 200_000]
    assert brought(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=500000-"]


def test_a_second_run_goes_on_where_the_first_gave_up(server: Mirror, tmp_path: Path) -> None:
    server.cuts = [300_000, *[0] * module.ATTEMPTS]
    with pytest.raises(DataError, match=r"attempts that brought nothing. 300,000 bytes are kept in .*file.bin.part"):
        brought(server, tmp_path)
    server.asked.clear()
    assert brought(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=300000-"]


def test_a_server_without_ranges_starts_again(server: Mirror, tmp_path: Path) -> None:
    server.ranges = False
    server.cuts = [300_000]
    assert brought(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]


def test_a_wrong_checksum_is_named_and_the_file_removed(server: Mirror, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=f"file.bin has sha256 .*the manifest says {SHA256[:16]}.*removed"):
        brought(server, tmp_path)
    assert list((tmp_path / "text").iterdir()) == []


def test_a_file_that_is_too_long_is_never_written_whole(server: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="longer than the 1,000 bytes"):
        brought(server, tmp_path, num_bytes=1000)
    assert list((tmp_path / "text").iterdir()) == []


def test_a_file_that_is_too_short_is_said_to_end_early(server: Mirror, tmp_path: Path) -> None:
    server.content = CONTENT[:1000]
    with pytest.raises(DataError, match="gave up after"):
        brought(server, tmp_path)


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, module.ATTEMPTS)])
def test_a_refusal_names_address_and_answer_and_is_asked_again_only_if_that_may_help(
    server: Mirror, tmp_path: Path, status: int, requests: int
) -> None:
    server.status = status
    with pytest.raises(DataError, match=f"text/file.bin.*{status}"):
        brought(server, tmp_path)
    assert len(server.asked) == requests


def test_a_disk_that_is_too_small_is_known_before_anything_is_sent(server: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("usage", (), {"free": 1000}))
    with pytest.raises(DataError, match="needs 1.0 MB more.*0.0 MB free.*PUNA_DATA_CACHE"):
        brought(server, tmp_path)
    assert not server.asked


def test_a_disk_that_fills_up_keeps_what_has_arrived(server: Mirror, tmp_path: Path) -> None:
    def full(arrived: int) -> None:
        if arrived > 400_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="disk is full.*go on"):
        brought(server, tmp_path, on_bytes=full)
    server.asked.clear()
    assert brought(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[0] is not None


def test_nobody_at_the_address_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.001)
    with pytest.raises(DataError, match="http://127.0.0.1:9/x.*gave up"):
        download("http://127.0.0.1:9/x", tmp_path / "x", 10, SHA256)


def test_fetch_downloads_into_the_cache_once(data: Path, server: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = sources.source("wikipedia_simple_en")
    server.content = (data / wanted.file).read_bytes()
    monkeypatch.setenv(sources.MIRROR_VARIABLE, server.url.rpartition("/text/")[0] + "/")
    monkeypatch.setenv(sources.CACHE_VARIABLE, str(tmp_path / "cache"))
    for _ in range(2):
        assert fetch("wikipedia_simple_en") == tmp_path / "cache" / wanted.file
    assert len(server.asked) == 1
