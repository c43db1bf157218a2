"""What the tests of fetching share: websites on a loopback port, a table of names, and a watch on every connection that is tried."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from puna.media import exchange
from puna.media.fetch import FetchError, FetchPolicy, fetch
from puna.testing.web import Answers, Website, resolver

# `site.test` is a loopback address that the policies of these tests allow; the rest is what an attacker would register.
NAMES = {
    "site.test": ["127.0.0.1"],
    "other.test": ["127.0.0.1"],
    "localhost": ["127.0.0.1", "::1"],
    "inner.test": ["127.0.0.2"],
    "rfc1918.test": ["10.1.2.3"],
    "metadata.test": ["169.254.169.254"],
    "mixed.test": ["8.8.8.8", "192.168.1.1"],
    "mixed6.test": ["2606:4700::1111", "fd00:ec2::254"],
    "mapped.test": ["::ffff:10.0.0.1"],
    "nat64.test": ["64:ff9b::a00:1"],
    "scoped.test": ["fe80::1%eth0"],
    "empty.test": [],
    "public.test": ["8.8.8.8"],
    "xn--bcher-kva.test": ["8.8.8.8"],
}


@pytest.fixture
def resolve() -> Callable[[str], object]:
    return resolver(NAMES)


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that a connection was tried to; those that are not ours fail at once instead of reaching for the internet."""
    tried: list[str] = []
    real = socket.create_connection

    def create(address: tuple[str, int], timeout: float) -> socket.socket:
        tried.append(address[0])
        if address[0] != "127.0.0.1":
            raise ConnectionRefusedError
        return real(address, timeout=timeout)

    monkeypatch.setattr(exchange.socket, "create_connection", create)
    return tried


@pytest.fixture
def site() -> Iterator[Callable[[Answers], tuple[Website, FetchPolicy]]]:
    """Starts a website; gives it and a policy that allows exactly its address and port, over http and https."""
    with ExitStack() as opened:

        def start(answers: Answers) -> tuple[Website, FetchPolicy]:
            website = opened.enter_context(Website(answers))
            networks = {"private_networks": ("127.0.0.1/32",), "ports": (website.port,)}
            return website, FetchPolicy(enabled=True, schemes=("http", "https"), seconds=10.0, **networks)

        yield start


@pytest.fixture
def code_of(resolve: Callable[[str], object]) -> Callable[..., str]:
    """Fetches what must fail, and gives the code; the message must be one short sentence without what servers hide."""

    def code(url: str, policy: FetchPolicy, **options: object) -> str:
        with pytest.raises(FetchError) as caught:
            fetch(url, policy, **{"resolve": resolve, **options})  # pyright: ignore[reportArgumentType]
        message = str(caught.value)
        assert "the-inner-secret" not in message
        assert "\n" not in message
        assert len(message) < 500
        return caught.value.code

    return code
