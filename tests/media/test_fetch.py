"""Fetching: the policy, redirects, names that change their address, and how many fetches run at once."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from puna.media import decode_image, exchange
from puna.media import fetch as room
from puna.media.fetch import FetchPolicy, Resolver, fetch
from puna.testing.pictures import encoded, noise_picture
from puna.testing.web import Answers, Website, answer, redirect

CodeOf = Callable[..., str]
Start = Callable[[Answers], tuple[Website, FetchPolicy]]
PNG = encoded(noise_picture(8, 8))
PUBLIC = FetchPolicy(enabled=True, schemes=("http", "https"))
SECRET = "the-inner-secret"


def test_a_picture_comes_with_its_type_and_address(site: Start, resolve: Resolver) -> None:
    website, policy = site(lambda path: answer(PNG, "Image/PNG; charset=binary"))
    url = f"HTTP://Site.TEST.:{website.port}/a%20b/ü.png?sig=a+b%2F[1]#part"
    fetched = fetch(url, policy, resolve=resolve)
    assert fetched == (PNG, "image/png", f"http://site.test:{website.port}/a%20b/%C3%BC.png?sig=a+b%2F[1]")


def test_a_request_holds_the_name_and_nothing_of_the_machine(site: Start, monkeypatch: pytest.MonkeyPatch, resolve: Resolver) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    website, policy = site(lambda path: answer(PNG, Set_Cookie="a=b") if path == "/end" else redirect("/end", "307 Temporary Redirect"))
    fetch(f"http://site.test:{website.port}", policy, resolve=resolve)
    for head, path in zip(website.requests, ["/", "/end"], strict=True):
        lines = head.split("\r\n")
        assert lines[0] == f"GET {path} HTTP/1.1"
        names = {line.split(":")[0].lower(): line.partition(": ")[2] for line in lines[1:] if line}
        assert names.pop("user-agent").startswith("puna/")
        assert names == {
            "host": f"site.test:{website.port}",
            "accept": "image/*, video/*",
            "accept-encoding": "identity",
            "connection": "close",
        }


@pytest.mark.parametrize("claimed", ["", "nonsense", "image/png\t<script>", "x" * 200 + "/y"])
def test_a_claimed_type_that_is_none_is_empty(site: Start, claimed: str, resolve: Resolver) -> None:
    website, policy = site(lambda path: answer(PNG, claimed))
    assert fetch(f"http://site.test:{website.port}/", policy, resolve=resolve).content_type == ""


def test_bodies_without_a_length_are_read_to_their_end(site: Start, resolve: Resolver) -> None:
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n"
    website, policy = site(lambda path: chunks if path == "/chunks" else b"HTTP/1.0 200 OK\r\n\r\nabcde")
    for path in ("/chunks", "/old"):
        assert fetch(f"http://site.test:{website.port}{path}", policy, resolve=resolve).data == b"abcde"


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.2:{port}/" + SECRET, "address_refused"),
        ("http://inner.test:{port}/", "address_refused"),
        ("//inner.test:{port}/", "address_refused"),
        ("http://2130706434:{port}/", "address_refused"),
        ("http://[::ffff:127.0.0.2]:{port}/", "address_refused"),
        ("http://169.254.169.254/latest/meta-data/", "port_refused"),
        ("http://metadata.test:{port}/", "address_refused"),
        ("http://user:pw@site.test:{port}/", "bad_url"),
        ("http://site.test:{port}\\@inner.test/", "bad_url"),
        ("file:///etc/passwd", "scheme_refused"),
        ("gopher://inner.test/", "scheme_refused"),
        ("data:image/png;base64,AAAA", "scheme_refused"),
        ("http://[::1", "bad_url"),
        ("http:///nothing", "bad_url"),
        ("///inner.test/", "bad_url"),
        ("/a b", "bad_url"),
        ("/\ttab", "bad_url"),
        ("http://nowhere.test:{port}/", "unresolvable"),
    ],
)
def test_a_redirect_is_held_to_the_same_rules(site: Start, connected: list[str], location: str, code: str, code_of: CodeOf) -> None:
    website, policy = site(lambda path: redirect(location.format(port=website.port)))
    assert code_of(f"http://site.test:{website.port}/", policy) == code
    assert connected == ["127.0.0.1"]
    assert len(website.requests) == 1


@pytest.mark.parametrize("location", ["/end", "end?x#y", "//other.test:{port}/a/../end", "http://other.test:{port}/end", "?x", "/%C3%BC/ü"])
@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_redirects_that_keep_the_rules_are_followed(site: Start, location: str, status: str, resolve: Resolver) -> None:
    def answers(path: str) -> bytes:
        return redirect(location.format(port=website.port), status) if path == "/start" else answer(PNG)

    website, policy = site(answers)
    assert fetch(f"http://site.test:{website.port}/start", policy, resolve=resolve).data == PNG
    assert len(website.requests) == 2


def test_redirects_are_counted(site: Start, code_of: CodeOf, resolve: Resolver) -> None:
    website, policy = site(lambda path: redirect(f"/{int(path[1:]) - 1}") if path != "/0" else answer(PNG))
    assert fetch(f"http://site.test:{website.port}/3", policy, resolve=resolve).url.endswith("/0")
    assert code_of(f"http://site.test:{website.port}/4", policy) == "too_many_redirects"
    assert code_of(f"http://site.test:{website.port}/1", replace(policy, max_redirects=0)) == "too_many_redirects"
    asked = len(website.requests)
    assert code_of(f"http://site.test:{website.port}/99", policy) == "too_many_redirects"
    assert len(website.requests) == asked + 4


def test_a_redirect_needs_exactly_one_target(site: Start, code_of: CodeOf) -> None:
    two = b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    none = answer(b"", status="302 Found")
    website, policy = site(lambda path: {"/two": two, "/none": none}.get(path, answer(PNG)))
    for path in ("/two", "/none"):
        assert code_of(f"http://site.test:{website.port}{path}", policy) == "redirect_refused"


def test_an_allow_list_holds_for_the_targets_of_redirects(site: Start, code_of: CodeOf) -> None:
    website, policy = site(lambda path: redirect(f"http://other.test:{website.port}/"))
    assert code_of(f"http://site.test:{website.port}/", replace(policy, hosts=("site.test",))) == "host_refused"


def test_a_name_is_looked_up_once_a_hop(site: Start, connected: list[str], code_of: CodeOf) -> None:
    asked: list[str] = []

    def rebinding(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    website, policy = site(lambda path: answer(PNG))
    assert fetch(f"http://rebind.test:{website.port}/", policy, resolve=rebinding).data == PNG
    assert (asked, connected) == (["rebind.test"], ["127.0.0.1"])
    # A second fetch is a new look-up, and its answer is checked anew.
    assert code_of(f"http://rebind.test:{website.port}/", policy, resolve=rebinding) == "address_refused"
    assert connected == ["127.0.0.1"]


def test_a_redirect_to_the_same_name_is_looked_up_and_checked_anew(site: Start, connected: list[str], code_of: CodeOf) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    website, policy = site(lambda path: redirect("/again"))
    assert code_of(f"http://rebind.test:{website.port}/", policy, resolve=lambda host: next(answers)) == "address_refused"
    assert connected == ["127.0.0.1"]


def test_an_address_of_this_machine_is_refused_though_it_looks_public(
    site: Start, monkeypatch: pytest.MonkeyPatch, code_of: CodeOf
) -> None:
    monkeypatch.setattr(room, "refusal", lambda address, allowed=(): None)
    website, policy = site(lambda path: answer(PNG))
    assert code_of(f"http://site.test:{website.port}/", replace(policy, private_networks=())) == "address_refused"
    assert not website.requests


def test_the_next_address_is_tried_if_one_is_dead(site: Start, connected: list[str]) -> None:
    website, policy = site(lambda path: answer(PNG))
    addresses = ["2606:4700::1", "2606:4700::2", "2606:4700::3", "127.0.0.1"]
    assert fetch(f"http://many.test:{website.port}/", policy, resolve=lambda host: addresses).data == PNG
    assert connected == ["2606:4700::1", "2606:4700::2", "127.0.0.1"]


def test_a_silent_address_costs_its_share_of_the_seconds(monkeypatch: pytest.MonkeyPatch, code_of: CodeOf) -> None:
    waits: list[float] = []

    def silent(address: tuple[str, int], timeout: float) -> None:
        waits.append(timeout)
        raise TimeoutError

    monkeypatch.setattr(exchange.socket, "create_connection", silent)
    addresses = ["2606:4700::1", "2606:4700::2", "8.8.8.8"]
    assert code_of("https://many.test/", replace(PUBLIC, seconds=6), resolve=lambda host: addresses) == "unreachable"
    assert waits == pytest.approx([2, 3, 6], abs=1)


def test_private_networks_are_reached_if_the_policy_names_them(site: Start, connected: list[str], code_of: CodeOf) -> None:
    website, policy = site(lambda path: answer(PNG))
    url = f"http://127.0.0.1:{website.port}/"
    assert code_of(url, replace(policy, private_networks=("10.0.0.0/8",))) == "address_refused"
    assert fetch(url, policy).data == PNG
    assert fetch(f"http://[::ffff:127.0.0.1]:{website.port}/", policy).url == url
    assert code_of(f"http://inner.test:{website.port}/", policy) == "address_refused"


def test_seconds_hold_for_all_hops_together(site: Start, code_of: CodeOf) -> None:
    def slowly(path: str) -> Iterator[bytes]:
        time.sleep(0.15)
        yield redirect(path + "x")

    website, policy = site(slowly)
    assert code_of(f"http://site.test:{website.port}/", replace(policy, seconds=0.4, max_redirects=50)) == "timeout"
    assert len(website.requests) <= 4


def test_a_name_server_that_never_answers_costs_seconds_and_no_more(monkeypatch: pytest.MonkeyPatch, code_of: CodeOf) -> None:
    monkeypatch.setattr(room, "_lookups", threading.BoundedSemaphore(1))
    done = threading.Event()

    def silent(host: str) -> list[str]:
        done.wait(10)
        return ["8.8.8.8"]

    quick = replace(PUBLIC, seconds=0.2)
    assert code_of("https://public.test/", quick, resolve=silent) == "timeout"
    assert code_of("https://public.test/", quick) == "busy"  # the first look-up still holds the only place
    done.set()
    assert code_of("https://rfc1918.test/", replace(PUBLIC, seconds=5)) == "address_refused"


def test_fetches_at_once_are_bounded(site: Start, monkeypatch: pytest.MonkeyPatch, code_of: CodeOf, resolve: Resolver) -> None:
    monkeypatch.setattr(room, "_fetches", threading.BoundedSemaphore(2))
    arrived, go = threading.Semaphore(0), threading.Event()

    def wait(path: str) -> Iterator[bytes]:
        arrived.release()
        go.wait(10)
        yield answer(PNG)

    website, policy = site(wait)
    url = f"http://site.test:{website.port}/"
    results: list[bytes] = []
    patient = replace(policy, seconds=10)
    threads = [threading.Thread(target=lambda: results.append(fetch(url, patient, resolve=resolve).data)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert all(arrived.acquire(timeout=5) for _ in threads)
    assert code_of(url, replace(policy, seconds=0.1)) == "busy"
    go.set()
    for thread in threads:
        thread.join(10)
    assert results == [PNG, PNG]
    assert fetch(url, policy, resolve=resolve).data == PNG  # all places were given back


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schemes": ("ftp",)}, "ftp"),
        ({"schemes": "https"}, "one string"),
        ({"hosts": "example.org"}, "one string"),
        ({"hosts": ("https://example.org",)}, "not a host"),
        ({"hosts": ("*",)}, "not a host"),
        ({"hosts": ("a.*.org",)}, "not a host"),
        ({"hosts": ("example.org/path",)}, "not a host"),
        ({"hosts": ("*.10.0.0.1",)}, "no names below"),
        ({"ports": (0,)}, "ports go from"),
        ({"private_networks": ("10.0.0.1/8",)}, "host bits"),
        ({"private_networks": ("intranet",)}, "intranet"),
        ({"private_networks": ("0.0.0.0/0",)}, "every address"),
        ({"private_networks": ("::/0",)}, "every address"),
        ({"max_bytes": 0}, "max_bytes=0"),
        ({"max_redirects": -1}, "max_redirects=-1"),
        ({"seconds": 0.0}, "seconds=0.0"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": float("inf")}, "seconds=inf"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_when_it_is_made(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FetchPolicy(**options)


def test_the_system_resolver_gives_addresses_as_text(code_of: CodeOf, connected: list[str]) -> None:
    assert set(room.system_resolver("localhost")) & {"127.0.0.1", "::1"}
    assert code_of("https://localhost/", PUBLIC, resolve=room.system_resolver) == "address_refused"
    assert not connected


def test_a_picture_of_a_site_can_be_opened(site: Start, resolve: Resolver) -> None:
    website, policy = site(lambda path: answer(PNG))
    assert decode_image(fetch(f"http://site.test:{website.port}/a.png", policy, resolve=resolve).data).size == (8, 8)
