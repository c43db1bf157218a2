"""One GET: bytes and seconds are bounded whatever the other side does, and TLS holds for the name though the address is pinned."""

import gzip
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from puna.media.fetch import FetchError, FetchPolicy, Resolver, fetch
from puna.testing.pictures import encoded, noise_picture
from puna.testing.web import Answers, Website, answer, redirect

CodeOf = Callable[..., str]
Start = Callable[[Answers], tuple[Website, FetchPolicy]]
PNG = encoded(noise_picture(8, 8))
SECRET = "the-inner-secret"


def forever(piece: bytes, pause_s: float = 0.0, head: bytes = b"") -> Iterator[bytes]:
    """`head`, then `piece` again and again: for much longer than any fetch here may take, yet not for ever if nobody hangs up."""
    yield head
    end = time.monotonic() + 20
    while time.monotonic() < end:
        time.sleep(pause_s)
        yield piece


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answers",
    [
        lambda: answer(bytes(1001)),
        lambda: answer(b"", Content_Length="999999999999"),
        lambda: answer(b"", Content_Length="1001"),
        lambda: forever(bytes(4096), head=OK + b"\r\n"),
        lambda: forever(b"400\r\n" + bytes(1024) + b"\r\n", head=OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        lambda: forever(b"1\r\nx\r\n" * 100, head=OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        lambda: OK + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" + bytes(2000),
    ],
)
def test_bytes_are_bounded_whatever_is_declared(site: Start, answers: Callable[[], bytes | Iterator[bytes]], code_of: CodeOf) -> None:
    website, policy = site(lambda path: answers())
    assert code_of(f"http://site.test:{website.port}/", replace(policy, max_bytes=1000)) == "too_large"


def test_a_body_may_have_exactly_the_bytes_that_are_allowed(site: Start, resolve: Resolver) -> None:
    website, policy = site(lambda path: answer(bytes(1000)))
    assert fetch(f"http://site.test:{website.port}/", replace(policy, max_bytes=1000), resolve=resolve).data == bytes(1000)


def test_bytes_behind_the_declared_length_are_not_taken(site: Start, resolve: Resolver) -> None:
    website, policy = site(lambda path: answer(b"abc" + SECRET.encode(), Content_Length="3"))
    assert fetch(f"http://site.test:{website.port}/", policy, resolve=resolve).data == b"abc"


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"abc", Content_Length="4"),
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        OK + b"Content-Length: -3\r\n\r\nabc",
        OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        OK + b"X: " + b"y" * 200_000,
        OK + b"X: y\r\n" * 50_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + answer(PNG),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + SECRET.encode(),
        b"",
        b"SSH-2.0-OpenSSH_9.6 " + SECRET.encode() + b"\r\n",
        b"+PONG\r\n",
        bytes(range(256)),
        b"HTTP/1.1 two hundred\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_not_whole_http_is_refused_without_being_repeated(site: Start, raw: bytes, code_of: CodeOf) -> None:
    website, policy = site(lambda path: raw)
    assert code_of(f"http://site.test:{website.port}/", policy) == "bad_response"


@pytest.mark.parametrize("piece", [b"X: y\r\n" * 1000, b"y" * 4096])
def test_a_head_without_end_is_refused_long_before_the_seconds_are_over(site: Start, piece: bytes, code_of: CodeOf) -> None:
    website, policy = site(lambda path: forever(piece, head=OK + b"X: "))
    assert code_of(f"http://site.test:{website.port}/", policy) == "bad_response"


def test_the_body_of_anything_but_200_is_not_read(site: Start, code_of: CodeOf, resolve: Resolver) -> None:
    def answers(path: str) -> bytes | Iterator[bytes]:
        status = {"/moved": b"302 Found\r\nLocation: /end", "/gone": b"410 Gone"}.get(path)
        return answer(PNG) if status is None else forever(bytes(4096), head=b"HTTP/1.1 " + status + b"\r\n\r\n")

    website, policy = site(answers)
    policy = replace(policy, max_bytes=len(PNG))
    assert code_of(f"http://site.test:{website.port}/gone", policy) == "bad_status"
    assert fetch(f"http://site.test:{website.port}/moved", policy, resolve=resolve).data == PNG


def test_early_answers_are_skipped(site: Start, resolve: Resolver) -> None:
    website, policy = site(lambda path: b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + answer(PNG))
    assert fetch(f"http://site.test:{website.port}/", policy, resolve=resolve).data == PNG


@pytest.mark.parametrize("status", ["404 Not Found", "500 " + SECRET, "401 Unauthorized", "204 No Content", "206 Partial Content", "304 X"])
def test_only_200_is_an_answer(site: Start, status: str, code_of: CodeOf) -> None:
    body = b"" if status[0:3] in ("204", "304") else SECRET.encode()
    website, policy = site(lambda path: answer(body, status=status))
    assert code_of(f"http://site.test:{website.port}/", policy) == "bad_status"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "GZIP"])
def test_packed_bytes_are_refused_unread(site: Start, encoding: str, code_of: CodeOf) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    website, policy = site(lambda path: answer(bomb, Content_Encoding=encoding))
    assert code_of(f"http://site.test:{website.port}/", policy) == "bad_encoding"


@pytest.mark.parametrize(
    "answers",
    [
        lambda: forever(b"", 0.02),
        lambda: forever(b"X", 0.02, OK),
        lambda: forever(b"X: y\r\n", 0.02, OK),
        lambda: forever(b"x", 0.02, OK + b"Content-Length: 1000\r\n\r\n"),
        lambda: forever(b"1\r\nx\r\n", 0.02, OK + b"Transfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_seconds_are_bounded_however_slowly_bytes_drip(site: Start, answers: Callable[[], Iterator[bytes]], code_of: CodeOf) -> None:
    website, policy = site(lambda path: answers())
    started = time.monotonic()
    assert code_of(f"http://site.test:{website.port}/", replace(policy, seconds=0.3)) == "timeout"
    assert time.monotonic() - started < 5


def test_any_bytes_are_a_picture_or_one_error(site: Start, resolve: Resolver) -> None:

    random_ = random.Random(7)
    honest = [answer(PNG), redirect("/x"), OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
    sent: list[bytes] = []

    def mutated(path: str) -> bytes:
        raw = bytearray(random_.choice(honest))
        for _ in range(random_.randint(1, 6)):
            raw[random_.randrange(min(len(raw), 120))] = random_.randrange(256)
        sent.append(bytes(raw))
        return bytes(raw)

    website, policy = site(mutated)
    outcomes = set()
    for _ in range(300):
        try:
            outcomes.add(type(fetch(f"http://site.test:{website.port}/", policy, resolve=resolve)).__name__)
        except FetchError as error:
            outcomes.add(error.code)
    assert {"Fetched", "bad_response"} <= outcomes, (outcomes, len(sent))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for good.test that signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl command to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, chain = str(folder / "key.pem"), str(folder / "chain.pem")
    options = (
        "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=puna -addext subjectAltName=DNS:good.test"
    )
    subprocess.run([openssl, *options.split(), "-keyout", key, "-out", chain], check=True, capture_output=True)
    return chain, key


@pytest.fixture
def secured(certificate: tuple[str, str]) -> Iterator[tuple[Website, list[str | None]]]:
    """A website over TLS, and the names that clients asked it for (SNI)."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda connection, name, context: names.append(name)

    def answers(path: str) -> bytes:
        return redirect(f"http://good.test:{website.port}/") if path == "/down" else answer(PNG)

    with Website(answers, tls=context) as website:
        yield website, names


def tls_policy(website: Website) -> FetchPolicy:
    return FetchPolicy(enabled=True, ports=(website.port,), private_networks=("127.0.0.1/32",), seconds=5)


def test_tls_checks_the_name_though_the_address_is_pinned(
    secured: tuple[Website, list], certificate: tuple[str, str], code_of: CodeOf
) -> None:
    website, names = secured
    trusting = ssl.create_default_context(cafile=certificate[0])
    options = {"resolve": lambda host: ["127.0.0.1"], "tls": trusting}
    policy = tls_policy(website)
    assert fetch(f"https://good.test:{website.port}/", policy, **options).data == PNG
    assert names == ["good.test"]
    assert f"\r\nhost: good.test:{website.port}\r\n" in website.requests[0].lower()
    for host in ("evil.test", "127.0.0.1"):
        assert code_of(f"https://{host}:{website.port}/", policy, **options) == "tls_failed"
    assert len(website.requests) == 1


def test_a_certificate_of_no_known_authority_is_refused(secured: tuple[Website, list], code_of: CodeOf) -> None:
    website, _ = secured
    options = {"resolve": lambda host: ["127.0.0.1"]}
    assert code_of(f"https://good.test:{website.port}/", tls_policy(website), **options) == "tls_failed"
    assert not website.requests


def test_a_redirect_never_leaves_https(secured: tuple[Website, list], certificate: tuple[str, str], code_of: CodeOf) -> None:
    website, _ = secured
    options = {"resolve": lambda host: ["127.0.0.1"], "tls": ssl.create_default_context(cafile=certificate[0])}
    policy = replace(tls_policy(website), schemes=("http", "https"))
    assert code_of(f"https://good.test:{website.port}/down", policy, **options) == "redirect_refused"


def test_a_server_that_never_shakes_hands_costs_seconds(site: Start, code_of: CodeOf) -> None:
    website, policy = site(lambda path: answer(PNG))  # waits for the end of a request, which a handshake is not
    assert code_of(f"https://site.test:{website.port}/", replace(policy, seconds=0.3)) == "timeout"
    assert not website.requests


def test_a_handshake_that_drips_costs_seconds(code_of: CodeOf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with suppress(OSError), connection:
                for piece in forever(b"\x02", 0.02, b"\x16\x03\x03\x3f\xff"):  # a record of 16 kB
                    connection.sendall(piece)

        threading.Thread(target=drip, daemon=True).start()
        port = listener.getsockname()[1]
        started = time.monotonic()
        policy = FetchPolicy(enabled=True, ports=(port,), private_networks=("127.0.0.1/32",), seconds=0.3)
        assert code_of(f"https://site.test:{port}/", policy) == "timeout"
        assert time.monotonic() - started < 5


def test_plain_text_where_tls_should_be_is_refused(code_of: CodeOf) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with suppress(OSError), connection:
                connection.recv(4096)
                connection.sendall(answer(SECRET.encode()))

        threading.Thread(target=talk, daemon=True).start()
        port = listener.getsockname()[1]
        policy = FetchPolicy(enabled=True, ports=(port,), private_networks=("127.0.0.1/32",))
        assert code_of(f"https://site.test:{port}/", policy) == "tls_failed"


def test_bytes_that_drip_through_tls_cost_seconds(certificate: tuple[str, str], code_of: CodeOf) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    options = {"resolve": lambda host: ["127.0.0.1"], "tls": ssl.create_default_context(cafile=certificate[0])}
    with Website(lambda path: forever(b"x", 0.02, OK + b"Content-Length: 1000\r\n\r\n"), tls=context) as website:
        assert code_of(f"https://good.test:{website.port}/", replace(tls_policy(website), seconds=0.5), **options) == "timeout"
