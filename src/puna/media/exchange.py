"""One GET on one connection to an address that somebody has checked: every wait has a deadline, every byte is counted.

Made of plain sockets, `ssl` and h11 instead of an HTTP client, because here each thing that a client does for comfort is a hole: a second
look-up of the name, a pool whose connection was made for another host, proxies and passwords from the environment, cookies, redirects
followed and bodies unpacked on the way. h11 is the parser that httpx and uvicorn stand on: strict about lengths and chunks, bounded
about heads. Knows no policy and follows nothing.
"""

import socket
import ssl
import time
from collections.abc import Sequence
from functools import cache
from ipaddress import IPv6Address
from typing import NamedTuple

import h11

import puna
from puna.media.error import FetchError
from puna.media.web_address import Address, WebAddress, parse_address

_READ_BYTES = 65_536
_MAX_HEAD_BYTES = 65_536
# "100 Continue" and its kin, of which a server may send any number before the answer.
_MAX_EARLY_ANSWERS = 8
# A host may have many addresses; of each family these are tried.
_TRIED_PER_FAMILY = 2


class Answer(NamedTuple):
    """`body` is empty unless the status is 200."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: bytes) -> list[str]:
        """All values of the header `name` (lower case). latin-1: a header is bytes, and every byte is a character of it."""
        return [value.decode("latin-1") for key, value in self.headers if key == name]


class Deadline:
    """One end for everything that a fetch does. Raises `FetchError` (timeout) when it is asked for the time left and there is none."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, host: str) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed(host)
        return left

    def passed(self, host: str) -> FetchError:
        return FetchError(f"{host} did not answer in full within {self.seconds:g} seconds; send the bytes as a data: URL", "timeout")


@cache
def default_tls() -> ssl.SSLContext:
    """Verifies against the system's authorities, or those that SSL_CERT_FILE names, as the rest of Puna does."""
    import httpx2  # here, because most uses of the media room need no network

    return httpx2.create_ssl_context()


def connect(host: str, addresses: Sequence[Address], port: int, deadline: Deadline) -> socket.socket:
    """A TCP connection to the first of `addresses` that takes one. No name is looked up here."""
    tried = [
        address
        for is_ipv6 in (isinstance(addresses[0], IPv6Address), not isinstance(addresses[0], IPv6Address))
        for address in [a for a in addresses if isinstance(a, IPv6Address) == is_ipv6][:_TRIED_PER_FAMILY]
    ]
    for place, address in enumerate(tried):
        # A silent address may use its share of the time only, so that the next one gets its chance.
        share = deadline.left(host) / (len(tried) - place)
        try:
            return socket.create_connection((str(address), port), timeout=share)
        except OSError:  # told below, once, if no address is left
            continue
    deadline.left(host)
    raise FetchError(f"{host} takes no connection on port {port}; check that the address works from the server's network", "unreachable")


def own_address(connection: socket.socket) -> Address | None:
    """The address at the other end if it is this very machine's, whose services trust it more than a stranger; else None."""
    here, there = (parse_address(name[0]) for name in (connection.getsockname(), connection.getpeername()))
    return there if here == there else None


def secure(connection: socket.socket, host: str, tls: ssl.SSLContext, deadline: Deadline) -> ssl.SSLSocket:
    """TLS over `connection`, with a certificate for `host`, the name: the address that it was resolved to plays no part."""
    connection.settimeout(deadline.left(host))  # for the whole handshake, says Python's documentation
    try:
        return tls.wrap_socket(connection, server_hostname=host)
    except TimeoutError as error:
        raise deadline.passed(host) from error
    except ssl.SSLCertVerificationError as error:
        raise FetchError(f"{host} shows a certificate that does not hold: {error.verify_message.rstrip('.')}", "tls_failed") from error
    except OSError as error:  # ssl.SSLError is one
        raise FetchError(f"{host} makes no TLS connection; is it an http: address?", "tls_failed") from error


def get(connection: socket.socket, address: WebAddress, max_bytes: int, deadline: Deadline) -> Answer:
    """GET `address` over `connection`; the body is read if the status is 200, and is then at most `max_bytes` long."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)
    headers = [
        ("Host", address.authority),
        ("User-Agent", f"puna/{puna.__version__}"),
        ("Accept", "image/*, video/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    try:
        request = http.send(h11.Request(method="GET", target=address.target, headers=headers))
        connection.settimeout(deadline.left(address.host))
        connection.sendall((request or b"") + (http.send(h11.EndOfMessage()) or b""))
        head = _head(http, connection, address.host, deadline)
        answer = Answer(head.status_code, list(head.headers), b"")
        if answer.status != 200:
            return answer
        _refuse_early(answer, address.host, max_bytes)
        return answer._replace(body=_body(http, connection, address.host, max_bytes, deadline))
    except TimeoutError as error:
        raise deadline.passed(address.host) from error
    except h11.RemoteProtocolError as error:  # its message may quote the server
        raise FetchError(f"{address.host} answered something that is not whole HTTP/1.1, or was cut off", "bad_response") from error
    except OSError as error:
        raise FetchError(f"the connection to {address.host} broke while it answered; try again", "bad_response") from error


def _next_event(http: h11.Connection, connection: socket.socket, host: str, deadline: Deadline) -> h11.Event:
    while (event := http.next_event()) is h11.NEED_DATA:
        connection.settimeout(deadline.left(host))
        http.receive_data(connection.recv(_READ_BYTES))
    if not isinstance(event, h11.Event):  # PAUSED, which only a switch of protocols brings, and we ask for none
        raise h11.RemoteProtocolError("switched protocols")
    return event


def _head(http: h11.Connection, connection: socket.socket, host: str, deadline: Deadline) -> h11.Response:
    for _ in range(_MAX_EARLY_ANSWERS + 1):
        event = _next_event(http, connection, host, deadline)
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse):  # the connection was closed
            break
    raise h11.RemoteProtocolError("no answer")


def _refuse_early(answer: Answer, host: str, max_bytes: int) -> None:
    """What a head tells before a byte of the body is read."""
    encodings = {part.strip().lower() for value in answer.values(b"content-encoding") for part in value.split(",")}
    if encodings - {"identity", ""}:
        # Unpacking would bring back the bombs that the bound on bytes keeps out, and pictures and videos are packed already.
        raise FetchError(f"{host} sends compressed bytes although it was asked not to; send the bytes as a data: URL", "bad_encoding")
    if any(int(length) > max_bytes for length in answer.values(b"content-length")):
        raise _too_large(host, max_bytes)


def _body(http: h11.Connection, connection: socket.socket, host: str, max_bytes: int, deadline: Deadline) -> bytes:
    body = bytearray()
    while not isinstance(event := _next_event(http, connection, host, deadline), h11.EndOfMessage):
        assert isinstance(event, h11.Data)  # h11 raises if the connection ends before the message
        body += event.data
        if len(body) > max_bytes:  # whatever length was declared
            raise _too_large(host, max_bytes)
    return bytes(body)


def _too_large(host: str, max_bytes: int) -> FetchError:
    return FetchError(f"{host} sends more than the {max_bytes:,} bytes that are fetched at most; save it smaller", "too_large")
