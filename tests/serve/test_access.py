"""Who gets in: keys at the door, and a server without keys that keeps to its machine."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Scope
from starlette.websockets import WebSocketDisconnect

from puna.serve.access import Authentication, ExposureError, LocalNames, check_exposure
from puna.serve.errors import ApiError
from puna.serve.keys import KeyFile, KeyRing
from puna.serve.record import record_of

ROUTES = ("/v1/models", "/v1/chat/completions", "/metrics", "/health", "/health/ready", "/", "/web/app.js", "/nowhere-in-particular")


async def who(request: Request) -> Response:
    return JSONResponse({"key": record_of(request.scope).key})


def app() -> Starlette:
    return Starlette(routes=[Route(path, who, methods=["GET", "POST"]) for path in ROUTES])


@pytest.fixture
def store(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def guarded(store: KeyFile, **options: object) -> TestClient:
    return TestClient(Authentication(app(), KeyRing(store.path), **options))


@pytest.mark.parametrize(
    "header", [("Authorization", "Bearer {}"), ("authorization", "bearer  {} "), ("x-api-key", "{}"), ("api-key", "{}")]
)
def test_a_key_is_taken_from_each_header_that_clients_use(store: KeyFile, header: tuple[str, str]) -> None:
    text, _ = store.add("laptop")
    name, form = header
    response = guarded(store).get("/v1/models", headers={name: form.format(text)})
    assert response.status_code == 200
    assert response.json() == {"key": "laptop"}


def test_of_several_keys_one_must_be_right(store: KeyFile) -> None:
    text, _ = store.add("laptop")
    client = guarded(store)
    assert client.get("/v1/models", headers={"Authorization": "Basic dXNlcjpwYXNz", "x-api-key": text}).status_code == 200
    assert client.get("/v1/models", headers={"Authorization": "Bearer wrong", "api-key": text}).status_code == 200
    assert client.get("/v1/models", headers={"Authorization": "Bearer wrong", "api-key": "wrong"}).status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer wrong"}, {"x-api-key": " "}])
def test_without_a_sound_key_the_answer_is_401_in_openais_words(store: KeyFile, headers: dict[str, str]) -> None:
    store.add("laptop")
    response = guarded(store).post("/v1/chat/completions", headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == "invalid_api_key"
    assert "wrong" not in error["message"], "a mistyped key is nearly a key"


def test_an_ended_key_is_told_why(store: KeyFile) -> None:
    revoked, _ = store.add("old")
    store.revoke("old")
    store.add("other")
    expired, _ = store.add("brief", expires=datetime.now(UTC) + timedelta(seconds=1))
    content = store.path.read_text()
    year = f'"expires": "{datetime.now(UTC).year}'
    assert year in content
    store.path.write_text(content.replace(year, '"expires": "2001'))
    client = guarded(store)
    for text, reason in ((revoked, "'old' is revoked"), (expired, "'brief' is expired")):
        response = client.get("/v1/models", headers={"x-api-key": text})
        assert response.status_code == 401
        assert reason in response.json()["error"]["message"]


def test_a_scope_opens_its_routes_alone(store: KeyFile) -> None:
    chat, _ = store.add("chat")
    metrics, _ = store.add("scraper", ["metrics"])
    both, _ = store.add("both", ["chat", "metrics"])
    client = guarded(store)

    def status(path: str, *keys: str) -> int:
        return client.get(path, headers=dict(zip(("x-api-key", "api-key"), keys, strict=False))).status_code

    assert [status("/v1/models", key) for key in (chat, metrics, both)] == [200, 403, 200]
    assert [status("/metrics", key) for key in (chat, metrics, both)] == [403, 200, 200]
    assert status("/metrics", chat, metrics) == 200
    error = client.get("/metrics", headers={"x-api-key": chat}).json()["error"]
    assert error["code"] == "missing_scope"
    assert "'chat' may do chat, but /metrics needs metrics" in error["message"]


def test_probes_and_the_page_need_no_key_and_everything_else_does(store: KeyFile) -> None:
    store.add("laptop")
    client = guarded(store)
    found = {path: client.get(path).status_code for path in ROUTES}
    assert found == {path: 200 if path in ("/", "/health", "/health/ready", "/web/app.js") else 401 for path in ROUTES}


def test_an_api_may_refuse_in_its_own_words(store: KeyFile) -> None:
    store.add("laptop")

    def say(scope: Scope, error: ApiError) -> Response:
        return JSONResponse({"type": "error", "error": {"type": error.body.code}}, error.status)

    response = guarded(store, say=say).get("/v1/models")
    assert (response.status_code, response.json()["error"]) == (401, {"type": "invalid_api_key"})


def test_nobody_is_asked_without_keys_or_where_anyone_is_allowed(store: KeyFile) -> None:
    assert guarded(store).get("/v1/models").status_code == 200
    store.add("laptop")
    assert guarded(store, allow_anyone=True).get("/v1/models").status_code == 200
    assert guarded(store).get("/v1/models").status_code == 401


def test_no_websocket_gets_past_the_door(store: KeyFile) -> None:
    store.add("laptop")
    with pytest.raises(WebSocketDisconnect) as refused, guarded(store).websocket_connect("/v1/models"):
        pytest.fail("it was let in")
    assert refused.value.code == 1008


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "fe80::1%eth0"])
def test_beyond_loopback_a_key_is_needed_to_start(store: KeyFile, host: str) -> None:
    ring = KeyRing(store.path)
    with pytest.raises(ExposureError, match=rf"host={host} .*puna keys add NAME.*PUNA_API_KEY.*--allow-anyone"):
        check_exposure(host, ring, allow_anyone=False)
    check_exposure(host, ring, allow_anyone=True)
    store.add("laptop")
    check_exposure(host, ring, allow_anyone=False)


def test_on_loopback_no_key_is_needed_to_start(store: KeyFile) -> None:
    for host in ("127.0.0.1", "127.3.3.3", "::1"):
        check_exposure(host, KeyRing(store.path), allow_anyone=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("chat.localhost:1", 200),
        ("[::1]:8000", 200),
        ("192.0.2.7", 200),
        ("puna.example", 200),
        ("evil.example:8000", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example?localhost", 403),
    ],
)
def test_a_server_without_keys_answers_to_names_of_its_machine_alone(store: KeyFile, host: str, status: int) -> None:
    client = TestClient(LocalNames(app(), KeyRing(store.path), ["Puna.example"]))
    response = client.get("/v1/models", headers={"Host": host})
    assert response.status_code == status
    if status == 403:
        assert response.json()["error"]["code"] == "unknown_host"
        assert "allowed_hosts" in response.json()["error"]["message"]


def test_with_keys_the_name_does_not_matter(store: KeyFile) -> None:
    store.add("laptop")
    client = TestClient(LocalNames(app(), KeyRing(store.path)))
    assert client.get("/v1/models", headers={"Host": "evil.example"}).status_code == 200, "that page has no key"
