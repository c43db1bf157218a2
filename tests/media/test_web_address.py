"""What a URL names, in every spelling: tables of attempts to reach inside, none of which may lead to a connection."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from puna.media import MediaError
from puna.media.fetch import FetchError, FetchPolicy
from puna.media.web_address import parse_address, refusal

CodeOf = Callable[..., str]
PUBLIC = FetchPolicy(enabled=True, schemes=("http", "https"))
SECRET = "the-inner-secret"


def test_nothing_is_fetched_unless_switched_on(connected: list[str], code_of: CodeOf) -> None:
    assert code_of("https://public.test/a.png", FetchPolicy()) == "fetch_disabled"
    assert not connected
    assert issubclass(FetchError, MediaError)


ADDRESSES = """
    127.0.0.1 127.1 127.0.1 2130706433 017700000001 0x7f000001 0x7F.1 0177.0.0.1 0x7f.0.0.0x1 127.0.0.1.
    １２７.０.０.１ 127。0。0。1 ①②⑦.0.0.1 0ｘ7f.1 127.0.0.\u00ad1
    0.0.0.0 0 0x0 0.1.2.3 10.0.0.1
    10.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.100.100.200
    169.254.169.254 2852039166 0xA9FEA9FE 0251.0376.0251.0376 192.0.0.192 168.63.129.16 198.18.0.1 192.0.2.1
    198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    [::] [::1] [0:0:0:0:0:0:0:1]
    [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:FFFF:127.0.0.1] [::ffff:169.254.169.254]
    [::127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::a9fe:a9fe] [64:ff9b:1::808:808] [2002:7f00:1::] [2002:808:808::1]
    [2001:0:53aa:64c::1] [2001:db8::1] [3fff::1] [fc00::1]
    [fd00:ec2::254] [fe80::1] [fe80::1%25eth0] [fe80::1%eth0]
    [fec0::1] [ff02::1] [100::1] [5f00::1] [4000::1] [::ffff:0:127.0.0.1]
""".split()


@pytest.mark.parametrize("host", ADDRESSES)
def test_an_address_that_is_not_public_is_refused_in_every_spelling(host: str, connected: list[str], code_of: CodeOf) -> None:
    for url in (f"https://{host}/", f"http://{host}:80/latest/meta-data"):
        assert code_of(url, PUBLIC) == "address_refused"
    assert not connected


NAMES = ["localhost", "LOCALHOST", "LocalHost.", "ⓛocalhost", "ℓocalhost", "rfc1918.test", "inner.test", "INNER.test.", "metadata.test"]


@pytest.mark.parametrize("host", [*NAMES, "mixed.test", "mixed6.test", "mapped.test", "nat64.test", "scoped.test", "ｒｆｃ1918。test"])
def test_a_name_is_refused_if_any_of_its_addresses_is_not_public(host: str, connected: list[str], code_of: CodeOf) -> None:
    assert code_of(f"https://{host}/", PUBLIC) == "address_refused"
    assert not connected


@pytest.mark.parametrize(
    "host", ["8.8.8.8", "134744072", "0x08080808", "[2606:4700:4700::1111]", "[64:ff9b::808:808]", "[::ffff:8.8.8.8]", "bücher.test"]
)
def test_public_addresses_are_connected_to_in_every_spelling(host: str, connected: list[str], code_of: CodeOf) -> None:
    assert code_of(f"https://{host}/", PUBLIC) == "unreachable"
    assert connected in (["8.8.8.8"], ["2606:4700:4700::1111"], ["64:ff9b::808:808"])


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "bad_url"),
        ("cat.png", "bad_url"),
        ("/etc/passwd", "bad_url"),
        ("//public.test/", "bad_url"),
        ("https:", "bad_url"),
        ("https:public.test/", "bad_url"),
        ("https:/public.test/", "bad_url"),
        ("https://", "bad_url"),
        ("https:///etc/passwd", "bad_url"),
        ("https://:443/", "bad_url"),
        ("https://./", "bad_url"),
        ("https://public..test/", "bad_url"),
        ("https://-public.test/", "bad_url"),
        ("https://" + "a" * 64 + ".test/", "bad_url"),
        ("https://" + "a." * 130 + "test/", "bad_url"),
        ("https://" + "ü" * 7000 + "/", "bad_url"),
        ("https://public.test/" + "a" * 9000, "bad_url"),
        ("https://pub%6cic.test/", "bad_url"),
        ("https://%31%32%37.0.0.1/", "bad_url"),
        ("https://1.2.3.4.5/", "bad_url"),
        ("https://256.1.1.1/", "bad_url"),
        ("https://1.1.1.256/", "bad_url"),
        ("https://4294967296/", "bad_url"),
        ("https://089.1.1.1/", "bad_url"),
        ("https://1.0xg.1.1/", "bad_url"),
        ("https://public.0x7f/", "bad_url"),
        ("https://[8.8.8.8]/", "bad_url"),
        ("https://[::1/", "bad_url"),
        ("https://::1/", "bad_url"),
        ("https://[::1]evil/", "bad_url"),
        ("https://[v1.a]/", "bad_url"),
        ("https://public.test:/%", "unreachable"),
        ("https://public.test:0/", "bad_url"),
        ("https://public.test:65536/", "bad_url"),
        ("https://public.test:４４３/", "bad_url"),
        ("https://public.test:80:443/", "bad_url"),
        ("https://public.test:+443/", "bad_url"),
        ("https://user@public.test/", "bad_url"),
        (f"https://user:{SECRET}@public.test/", "bad_url"),
        ("https://@public.test/", "bad_url"),
        ("https://public.test@127.0.0.1/", "bad_url"),
        ("https://public.test＠127.0.0.1/", "bad_url"),
        ("https://public.test#@127.0.0.1/", "unreachable"),
        ("https://public.test?@127.0.0.1/", "unreachable"),
        ("https://public.test\\@127.0.0.1/", "bad_url"),
        ("https://public.test\\.127.0.0.1/", "bad_url"),
        ("https://pub\tlic.test/", "bad_url"),
        ("https://public.test/\r\nX-Injected: 1", "bad_url"),
        ("https://public.test/a b", "bad_url"),
        ("https://public.test/\x00", "bad_url"),
        ("https://public.test/\ud800", "bad_url"),
        (" https://public.test/", "bad_url"),
        ("https://℀.test/", "bad_url"),
        ("https://public.test:22/", "port_refused"),
        ("https://public.test:6379/", "port_refused"),
        ("https://public.test:8443/", "port_refused"),
        ("file:///etc/passwd", "scheme_refused"),
        ("FILE:///etc/passwd", "scheme_refused"),
        ("gopher://public.test:80/_x", "scheme_refused"),
        ("ftp://public.test/a.png", "scheme_refused"),
        ("data:image/png;base64,AAAA", "scheme_refused"),
        ("javascript:alert(1)", "scheme_refused"),
        ("jar:https://public.test/!a", "scheme_refused"),
        ("localhost:80/", "scheme_refused"),
        ("https+unix://x/", "scheme_refused"),
        ("https://١٢٧.0.0.1/", "bad_url"),  # Arabic digits are no digits of an address to browsers either
        ("https://nowhere.test/", "unresolvable"),
        ("https://empty.test/", "unresolvable"),
    ],
)  # fmt: skip
def test_a_table_of_addresses(url: str, code: str, connected: list[str], code_of: CodeOf) -> None:
    assert code_of(url, PUBLIC) == code
    assert connected == (["8.8.8.8"] if code == "unreachable" else [])


def test_an_address_bound_to_an_interface_is_refused_even_in_a_network_that_is_allowed(connected: list[str], code_of: CodeOf) -> None:
    policy = replace(PUBLIC, private_networks=("fe80::/10",))
    for host in ("scoped.test", "[fe80::1%25eth0]"):
        assert code_of(f"https://{host}/", policy) == "address_refused"
    assert not connected


def test_plain_http_is_a_choice(connected: list[str], code_of: CodeOf) -> None:
    assert code_of("http://public.test/", FetchPolicy(enabled=True)) == "scheme_refused"
    assert code_of("http://public.test/", PUBLIC) == "unreachable"


@pytest.mark.parametrize(
    ("hosts", "url", "code"),
    [
        (("public.test",), "https://PUBLIC.test./", "unreachable"),
        (("Public.Test.",), "https://public.test/", "unreachable"),
        (("bücher.test",), "https://xn--bcher-kva.test/", "unreachable"),
        (("*.test",), "https://public.test/", "unreachable"),
        (("8.8.8.8",), "https://134744072/", "unreachable"),
        (("2606:4700::1",), "https://[2606:4700:0::1]/", "unreachable"),
        ((), "https://public.test/", "host_refused"),
        (("site.test",), "https://public.test/", "host_refused"),
        (("*.public.test",), "https://public.test/", "host_refused"),
        (("*.test",), "https://public.testing/", "host_refused"),
        (("*.lic.test",), "https://public.test/", "host_refused"),
        (("public.test",), "https://public.test.evil.example/", "host_refused"),
        (("*.test",), "https://8.8.8.8/", "host_refused"),
        (("rfc1918.test",), "https://rfc1918.test/", "address_refused"),
    ],
)
def test_an_allow_list_of_hosts(hosts: tuple[str, ...], url: str, code: str, connected: list[str], code_of: CodeOf) -> None:
    assert code_of(url, replace(PUBLIC, hosts=hosts)) == code
    assert len(connected) == (code == "unreachable")


def test_any_text_is_an_address_or_one_error_and_never_reaches_inside(connected: list[str], code_of: CodeOf) -> None:

    random_ = random.Random(20261127)
    pieces = [
        *"http https file :// // / \\ @ : ? # [ ] % . 。 ． x 0 1 7 ８ 0x7f 127 0177 169.254 :: ffff 64:ff9b::".split(),
        *"localhost public.test inner.test 80 443 é ％ ％31 xn-- 𝟏𝟐𝟕 .. - _ fe80 %25eth0 2130706433 § ①".split(),
        *("\t", " ", "\x00", "\u200d", "\u00ad", "\ud800"),
    ]
    seen = set()
    for _ in range(20_000):
        start = random_.choice(["", "http://", "https://", "https://[", "https://127."])
        url = start + "".join(random_.choices(pieces, k=random_.randint(1, 7)))
        seen.add(code_of(url, PUBLIC))
    assert {"bad_url", "scheme_refused", "address_refused", "port_refused", "unresolvable", "unreachable"} <= seen
    addresses = {parse_address(text) for text in connected}
    assert addresses and all(address is not None and refusal(address) is None for address in addresses)
