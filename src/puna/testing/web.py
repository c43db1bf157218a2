"""A web server of a few lines for tests of those who fetch: it answers raw bytes, so it can lie, drip, loop and break off."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Self

Answers = Callable[[str], bytes | Iterable[bytes]]
"""The path of a request in, the whole answer out, head included; in pieces if it is an iterable, which may wait between them."""


def answer(body: bytes, content_type: str = "image/png", status: str = "200 OK", **headers: str) -> bytes:
    """A whole HTTP/1.1 answer with an honest length, unless `headers` (Content_Length="5") say otherwise."""
    named = {"Content-Type": content_type, "Content-Length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return answer(b"", status=status, Location=location)


def resolver(names: Mapping[str, Sequence[str]]) -> Callable[[str], Sequence[str]]:
    """Looks names up in a table, and finds no others."""

    def resolve(host: str) -> Sequence[str]:
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return names[host]

    return resolve


class Website:
    """Serves `answers` on a loopback port while it is entered; one thread a connection. `requests` holds every head that came in."""

    def __init__(self, answers: Answers, *, tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        self.requests: list[str] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # OSError: whoever fetches hangs up in the middle, which is often the point of the test
        with suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    if not (more := connection.recv(4096)):
                        return
                    head += more
                self.requests.append(head.decode("latin-1"))
                pieces = self.answers(head.split(b" ")[1].decode("latin-1"))
                for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                    connection.sendall(piece)
