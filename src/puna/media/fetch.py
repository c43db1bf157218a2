"""Pictures and videos from addresses that strangers name, without lending them the server's place in its network.

A server that fetches URLs for its clients can be sent to its own neighbours: cloud metadata, databases, admin pages (SSRF). So nothing is
fetched unless a `FetchPolicy` says so, and then, at each hop of a redirect anew: the URL is parsed once into one form, scheme, port and
host are checked, the name is looked up once, *all* its addresses must be public, and the connection goes to one of the addresses that
were checked (a name server that answers differently the second time is never asked a second time). No proxy, cookie, password or other
credential is ever sent. Bytes and seconds are bounded, whatever the other side declares or however slowly it sends.
"""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from typing import NamedTuple

from puna.media.error import FetchCode, FetchError
from puna.media.exchange import Answer, Deadline, connect, default_tls, get, own_address, secure
from puna.media.image import MAX_IMAGE_BYTES
from puna.media.web_address import DEFAULT_PORTS, Address, Network, WebAddress, parse_address, parse_host, parse_url, refusal

__all__ = ["FetchCode", "FetchError", "FetchPolicy", "Fetched", "Resolver", "fetch", "system_resolver"]

# Fetches that one process runs at once. Each holds a thread and up to `max_bytes`.
MAX_FETCHES = 8
# Name look-ups cannot be stopped, only left behind: these many may be under way, so that a dead name server cannot fill us with threads.
MAX_LOOKUPS = 16
_REDIRECTS = (301, 302, 303, 307, 308)
_MEDIA_TYPE = re.compile(r"\s*([a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60})\s*(?:;|$)", re.IGNORECASE)

Resolver = Callable[[str], Iterable[str]]
"""A host name in, all its IP addresses out, as text. Raises `OSError` if there are none."""

_fetches = threading.BoundedSemaphore(MAX_FETCHES)
_lookups = threading.BoundedSemaphore(MAX_LOOKUPS)


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchPolicy:
    """What may be fetched. The default is nothing; `FetchPolicy(enabled=True)` is https from any public host.

    `hosts`: exact names or `*.suffix` (names below it, not itself), None for any. `private_networks`: the networks, as CIDR, that are
    reached although they are not public; without `hosts`, every client reaches every machine there. `seconds` bounds a whole fetch.
    """

    enabled: bool = False
    hosts: tuple[str, ...] | None = None
    schemes: tuple[str, ...] = ("https",)
    ports: tuple[int, ...] = (80, 443)
    private_networks: tuple[str, ...] = ()
    max_bytes: int = MAX_IMAGE_BYTES
    seconds: float = 15.0
    max_redirects: int = 3

    def __post_init__(self) -> None:
        for name in ("hosts", "schemes", "private_networks"):
            if isinstance(getattr(self, name), str):  # would be read letter by letter
                raise ValueError(f"{name}={getattr(self, name)!r} is one string; give a tuple of them")
        if unknown := set(self.schemes) - set(DEFAULT_PORTS):
            raise ValueError(f"schemes={self.schemes} names {sorted(unknown)}; there are {sorted(DEFAULT_PORTS)}")
        if bad := [port for port in self.ports if not 0 < port < 65536]:
            raise ValueError(f"ports={self.ports} holds {bad}; ports go from 1 to 65535")
        for name, least in [("max_bytes", 1), ("max_redirects", 0)]:
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is below {least}")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds={self.seconds} is not a positive, finite number")
        _networks(self.private_networks)
        _patterns(self.hosts or ())


class Fetched(NamedTuple):
    """`content_type` is what the server claims ("image/png", "" if nothing sensible); the bytes decide. `url` is where they came from."""

    data: bytes
    content_type: str
    url: str


def system_resolver(host: str) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def fetch(url: str, policy: FetchPolicy, *, resolve: Resolver = system_resolver, tls: ssl.SSLContext | None = None) -> Fetched:
    """The bytes at `url`, at most `policy.max_bytes` of them within `policy.seconds`. Blocks: call it in a worker thread.

    Raises `FetchError`, whose `code` says why, and nothing else. `resolve` and `tls` are for tests and for unusual networks.
    """
    if not policy.enabled:
        raise FetchError("this server fetches no addresses; send the bytes as a data: URL, or ask whoever runs it", "fetch_disabled")
    deadline = Deadline(policy.seconds)
    address = parse_url(url)
    _check(address, policy)  # before the wait for a place: most of what is refused is refused here
    if not _fetches.acquire(timeout=policy.seconds):
        raise FetchError(f"{address.host}: {MAX_FETCHES} fetches are under way already; try again in a moment", "busy")
    try:
        return _follow(address, policy, deadline, resolve, tls)
    finally:
        _fetches.release()


def _follow(first: WebAddress, policy: FetchPolicy, deadline: Deadline, resolve: Resolver, tls: ssl.SSLContext | None) -> Fetched:
    address = first
    for hop in range(policy.max_redirects + 1):
        try:
            if hop:
                _check(address, policy)
            answer = _visit(address, policy, deadline, resolve, tls)
            if answer.status not in _REDIRECTS:
                return _fetched(address, answer)
            address = _redirected(address, answer)
        except FetchError as error:
            if hop == 0:
                raise
            raise FetchError(f"after {hop} redirect{'s' * (hop > 1)} from {first.host}: {error}", error.code) from error
    limit = f"more than {policy.max_redirects} times; give the final address"
    raise FetchError(f"{first.host} redirects {limit}", "too_many_redirects")


def _check(address: WebAddress, policy: FetchPolicy) -> None:
    """What can be told before any name is looked up."""
    host = address.host
    if address.scheme not in policy.schemes:
        allowed = " or ".join(f"{scheme}:" for scheme in policy.schemes) or "nothing"
        raise FetchError(f"{host} is named with {address.scheme}:, but this server fetches {allowed} only", "scheme_refused")
    if address.port not in policy.ports:
        allowed = ", ".join(map(str, policy.ports)) or "none"
        raise FetchError(f"{host}: port {address.port} is not among those that are fetched from ({allowed})", "port_refused")
    if policy.hosts is not None and not any(_matches(address, pattern) for pattern in _patterns(policy.hosts)):
        raise FetchError(f"{host} is not among the hosts that this server fetches from; send the bytes as a data: URL", "host_refused")


def _visit(address: WebAddress, policy: FetchPolicy, deadline: Deadline, resolve: Resolver, tls: ssl.SSLContext | None) -> Answer:
    """One hop: look up, check, connect to what was checked, ask."""
    host = address.host
    if address.address is None:
        addresses, leads = _look_up(host, resolve, deadline), "leads to"
    else:
        addresses, leads = [address.address], "is"
    _refuse(addresses, host, leads, policy)
    with closing(connect(host, addresses, address.port, deadline)) as plain:
        own = own_address(plain)
        if own is not None and not any(own in network for network in _networks(policy.private_networks)):
            raise FetchError(f"{host} leads to an address of this server itself, and only public ones are fetched", "address_refused")
        if address.scheme == "http":
            return get(plain, address, policy.max_bytes, deadline)
        with closing(secure(plain, host, tls or default_tls(), deadline)) as secured:
            return get(secured, address, policy.max_bytes, deadline)


def _look_up(host: str, resolve: Resolver, deadline: Deadline) -> list[Address]:
    """All addresses of `host`, from the only look-up of this hop. It has a thread of its own: the system's call cannot be given an end."""
    if not _lookups.acquire(timeout=deadline.left(host)):
        raise FetchError(f"{host}: {MAX_LOOKUPS} names are being looked up already; try again in a moment", "busy")
    found: Future[list[str]] = Future()

    def look_up() -> None:
        try:
            found.set_result(list(resolve(host)))
        except BaseException as error:  # raised below, in the thread that waits
            found.set_exception(error)
        finally:
            _lookups.release()

    try:
        threading.Thread(target=look_up, name="puna-look-up", daemon=True).start()
    except RuntimeError as error:  # no more threads
        _lookups.release()
        raise FetchError(f"{host} cannot be looked up now, the server is at its limit; try again in a moment", "busy") from error
    try:
        texts = found.result(timeout=deadline.left(host))
    except TimeoutError as error:
        raise deadline.passed(host) from error
    except OSError as error:
        raise FetchError(f"{host} cannot be resolved; check the spelling", "unresolvable") from error
    if not texts:
        raise FetchError(f"{host} has no address; check the spelling", "unresolvable")
    addresses = [parse_address(text) for text in texts]
    if None in addresses:
        raise FetchError(f"{host} leads to an address bound to a network interface, and only public ones are fetched", "address_refused")
    return [address for address in dict.fromkeys(addresses) if address is not None]


def _refuse(addresses: Iterable[Address], host: str, leads: str, policy: FetchPolicy) -> None:
    """One address that is not public is enough: whoever mixes them in means no good."""
    allowed = _networks(policy.private_networks)
    for address in addresses:
        if rule := refusal(address, allowed):
            raise FetchError(f"{host} {leads} {rule} address, and only public ones are fetched", "address_refused")


def _redirected(address: WebAddress, answer: Answer) -> WebAddress:
    locations = answer.values(b"location")
    if len(locations) != 1:
        raise FetchError(f"{address.host} answered {answer.status} with {len(locations)} targets instead of one", "redirect_refused")
    # As browsers do: a header should be ASCII, and where it is not, it is UTF-8.
    target = address.join(locations[0].encode("latin-1").decode("utf-8", "replace"))
    if address.scheme == "https" and target.scheme == "http":
        raise FetchError(f"{address.host} redirects from https: to http: at {target.host}; give an https: address", "redirect_refused")
    return target


def _fetched(address: WebAddress, answer: Answer) -> Fetched:
    if answer.status != 200:
        raise FetchError(f"{address.host} answered {answer.status}, and only 200 brings a picture or a video", "bad_status")
    claimed = _MEDIA_TYPE.match(next(iter(answer.values(b"content-type")), ""))
    return Fetched(answer.body, claimed[1].lower() if claimed else "", str(address))


def _matches(address: WebAddress, pattern: str) -> bool:
    if pattern.startswith("*."):  # never an IP address: no pattern ends in a number
        return address.host.endswith(pattern[1:])
    return address.host == pattern


@cache
def _patterns(hosts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_pattern, hosts))


def _pattern(text: str) -> str:
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        host, address = parse_host(f"[{name}]" if ":" in name and not name.startswith("[") else name)
    except FetchError as error:
        raise ValueError(f"hosts holds {text!r}, which is not a host: write example.org, or *.example.org; None allows any") from error
    if star and address is not None:
        raise ValueError(f"hosts holds {text!r}, but an IP address has no names below it; write {name}")
    return star + host


@cache
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(_network, texts))


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"private_networks holds {text!r}: {error}; write a network such as 10.1.2.0/24") from error
    if network.prefixlen == 0:
        raise ValueError(f"private_networks holds {text!r}, which is every address there is; name the networks that you mean")
    return network
