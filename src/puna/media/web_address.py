"""What a URL really names: its host in one canonical form, and whether an IP address is a public one.

One parser for everything: what is checked here is what is connected to, so no second reading can disagree. The host is read as browsers
read it (WHATWG URL, UTS 46): `0x7f.1`, `2130706433`, `0177.0.0.1` and full-width `１２７.０.０.１` are all 127.0.0.1. Opens no connection.
"""

import re
import string
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from urllib.parse import quote, urljoin

import idna

from puna.media.error import FetchError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Signed addresses of object stores reach about 4,000 characters.
MAX_URL_CHARACTERS = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_REST = re.compile(r"//([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?")
# Underscores are no part of a host name by the book, but live in names of buckets.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

# [IANA] Special-purpose address registries, written out because `ipaddress.is_global` differs between Python releases (CVE-2024-4032).
_IPV4_RULES = {
    ip_network(network): rule
    for network, rule in {
        "0.0.0.0/8": "an unspecified",
        "10.0.0.0/8": "a private",
        "100.64.0.0/10": "a carrier's internal",  # also Alibaba's metadata, 100.100.100.200
        "127.0.0.0/8": "a loopback",
        "169.254.0.0/16": "a link-local",  # the metadata of most clouds, 169.254.169.254
        "172.16.0.0/12": "a private",
        "192.0.0.0/24": "a protocol's",  # also Oracle's metadata, 192.0.0.192
        "192.0.2.0/24": "a documentation",
        "192.88.99.0/24": "a 6to4 relay's",
        "192.168.0.0/16": "a private",
        "198.18.0.0/15": "a benchmarking",
        "198.51.100.0/24": "a documentation",
        "203.0.113.0/24": "a documentation",
        "224.0.0.0/4": "a multicast",
        "240.0.0.0/4": "a reserved",
        "168.63.129.16/32": "a cloud host's",  # Azure's: public by number, but it answers from inside the machine
    }.items()
}
_IPV6_RULES = {
    ip_network(network): rule
    for network, rule in {
        "::/128": "an unspecified",
        "::1/128": "a loopback",
        "::/96": "an IPv4-compatible",
        "64:ff9b:1::/48": "a local translation",
        "fc00::/7": "a private",  # also AWS' and Google's metadata, fd00:ec2::254 and fd20:ce::254
        "fe80::/10": "a link-local",
        "fec0::/10": "a site-local",
        "ff00::/8": "a multicast",
        "2001::/23": "a protocol's",  # Teredo, ORCHID and others
        "2001:db8::/32": "a documentation",
        "2002::/16": "a 6to4",  # holds any IPv4 address, and its public relays are gone (RFC 7526)
        "3fff::/20": "a documentation",
    }.items()
}
_IPV6_PUBLIC = IPv6Network("2000::/3")
# RFC 6052: the last 32 bits are an IPv4 address. Networks without IPv4 reach every IPv4 server by it, so it cannot be refused whole.
_NAT64 = IPv6Network("64:ff9b::/96")


class WebAddress(NamedTuple):
    """A parsed http or https URL. `host` is canonical, `address` its IP address if the URL holds one, `target` path and query."""

    scheme: str
    host: str
    address: Address | None
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What goes into the Host header."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    def join(self, location: str) -> "WebAddress":
        """Where a redirect of this address to `location` leads."""
        _refuse_hidden_characters(location)
        if _SCHEME.match(location):  # urljoin would read http:///x as a path of this host
            return parse_url(location)
        if location.startswith("//"):
            return parse_url(f"{self.scheme}:{location}")
        return parse_url(urljoin(str(self), location))


def parse_url(url: str) -> WebAddress:
    """`url` in parts. Raises `FetchError` for anything but a clean http or https address: `bad_url`, `scheme_refused`."""
    if len(url) > MAX_URL_CHARACTERS:
        raise FetchError(f"the address has {len(url):,} characters, but at most {MAX_URL_CHARACTERS:,} are read", "bad_url")
    _refuse_hidden_characters(url)
    head = _SCHEME.match(url)
    if head is None:
        raise FetchError("the address has no scheme; write https://host/path", "bad_url")
    scheme = head[1].lower()
    if scheme not in DEFAULT_PORTS:
        wanted = "give an https: address, or the bytes as a data: URL"
        raise FetchError(f"{scheme[:20]}: is not a scheme that is fetched; {wanted}", "scheme_refused")
    rest = _REST.fullmatch(url, head.end())
    if rest is None:
        raise FetchError(f"the address has no host; write {scheme}://host/path", "bad_url")
    authority, path, query = rest[1], rest[2], rest[3] or ""
    if "@" in authority:  # never repeated in the message: it may be a password
        raise FetchError("the address holds a user name or password, and none is ever sent; remove everything up to the @", "bad_url")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise FetchError(f"{authority[:80]!r} is not a host, or a host and port", "bad_url")
    host, address = parse_host(parts[1])
    port = int(parts[2]) if parts[2] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise FetchError(f"{host}: {port} is not a port; ports go from 1 to 65535", "bad_url")
    # A server must see the bytes that were signed, so ASCII stays as it is.
    return WebAddress(scheme, host, address, port, quote((path or "/") + query, safe=string.punctuation))


def parse_host(text: str) -> tuple[str, Address | None]:
    """A host in canonical form, and its address if it is one: lower case, IDNA, no trailing dot, IPv6 without brackets."""
    if text.startswith("["):
        return _parse_ipv6(text[1:-1])
    host = text.lower()
    if not text.isascii():
        try:
            host = idna.encode(text[:MAX_URL_CHARACTERS], uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise FetchError(f"{text[:80]!r} is not a host name that IDNA allows", "bad_url") from error
    host = host.removesuffix(".")
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise FetchError(f"{text[:80]!r} is not a host name", "bad_url")
    if _NUMBER.fullmatch(labels[-1]):
        address = _parse_ipv4(labels)
        if address is None:
            raise FetchError(f"{text[:80]!r} is not an IPv4 address, and no host name ends in a number", "bad_url")
        return str(address), address
    return host, None


def parse_address(text: str) -> Address | None:
    """An address as a resolver gives it, None if it is none. One bound to a network interface (`fe80::1%eth0`) is none for us."""
    try:
        return plain(ip_address(text)) if "%" not in text else None
    except ValueError:
        return None


def plain(address: Address) -> Address:
    """IPv4 mapped into IPv6 is IPv4: the kernel connects to it as such."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def refusal(address: Address, allowed: Sequence[Network] = ()) -> str | None:
    """Which kind of address forbids a connection ("a private", "a loopback", ...), None if it is public or in `allowed`."""
    if any(address in network for network in allowed):
        return None
    if isinstance(address, IPv4Address):
        return next((rule for network, rule in _IPV4_RULES.items() if address in network), None)
    if address in _NAT64:
        return refusal(IPv4Address(int(address) & 0xFFFFFFFF))
    rule = next((rule for network, rule in _IPV6_RULES.items() if address in network), None)
    return rule or (None if address in _IPV6_PUBLIC else "a reserved")


def _refuse_hidden_characters(url: str) -> None:
    # urllib drops tabs and line ends, browsers read \ as /: both have hidden hosts before. A lone surrogate can be in JSON, not on a wire.
    if found := next((c for c in url if c <= " " or c in "\x7f\\" or "\ud800" <= c <= "\udfff"), None):
        raise FetchError(f"the address holds the character {found!a}, which no URL may; write it as %XX", "bad_url")


def _parse_ipv6(text: str) -> tuple[str, Address]:
    try:
        if "%" in text:
            raise FetchError("the address names a network interface (%...), and only public addresses are fetched", "address_refused")
        address = plain(IPv6Address(text))
    except ValueError as error:
        if isinstance(error, FetchError):
            raise
        raise FetchError(f"[{text[:80]!r}] is not an IPv6 address", "bad_url") from error
    return str(address), address


def _parse_ipv4(labels: Sequence[str]) -> IPv4Address | None:
    """One to four numbers, decimal, octal (0...) or hexadecimal (0x...); the last one fills all bytes that are left."""
    if len(labels) > 4 or not all(_NUMBER.fullmatch(label) for label in labels):
        return None
    try:
        *firsts, last = (_parse_number(label) for label in labels)
    except ValueError:  # an 8 or a 9 in an octal number
        return None
    if any(first > 255 for first in firsts) or last >= 256 ** (4 - len(firsts)):
        return None
    return IPv4Address(sum(first << 8 * (3 - place) for place, first in enumerate(firsts)) + last)


def _parse_number(label: str) -> int:
    if label.startswith("0x"):
        return int(label[2:] or "0", 16)
    return int(label, 8) if label.startswith("0") else int(label)
