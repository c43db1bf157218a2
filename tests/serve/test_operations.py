"""The middlewares together: their order, CORS, and what is refused before the start."""

import io
import json
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from puna.serve import logs
from puna.serve.access import ExposureError
from puna.serve.keys import KeyFile
from puna.serve.metrics import Metrics
from puna.serve.operations import install, key_ring
from puna.serve.record import record_of
from puna.serve.settings import ServerSettings
from puna.testing.loggers import loggers_restored

PAGE = "https://chat.example.org"


async def answer(request: Request) -> Response:
    record = record_of(request.scope)
    record.prompt_tokens, record.completion_tokens = 3, 4
    return JSONResponse({"key": record.key})


class Server:
    """A small application with everything around it, and its keys' file."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.keys = KeyFile(folder / "keys.json")
        self.settings = ServerSettings(keys_file=self.keys.path, **settings)

    def start(self, **options: object) -> TestClient:
        app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"]), Route("/health", answer)])
        install(app, self.settings, key_ring(self.settings), **options)
        return TestClient(app, base_url="http://127.0.0.1")


def preflight(client: TestClient, origin: str = PAGE) -> Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,x-stainless-lang",
    }
    return client.options("/v1/chat/completions", headers=headers)


def test_no_other_origin_may_ask_unless_it_is_named(tmp_path: Path) -> None:
    client = Server(tmp_path).start()
    assert preflight(client).status_code >= 400
    assert "access-control-allow-origin" not in client.post("/v1/chat/completions", headers={"Origin": PAGE}).headers


def test_a_named_origin_may_ask_and_read_what_it_needs(tmp_path: Path) -> None:
    server = Server(tmp_path, cors_origins=(PAGE,), rates={"requests_per_minute": 5})
    server.keys.add("laptop")
    client = server.start()
    allowed = preflight(client)
    assert allowed.status_code == 200, "a preflight carries no key"
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert "x-stainless-lang" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    assert preflight(client, "https://evil.example").status_code == 400
    refused = client.post("/v1/chat/completions", headers={"Origin": PAGE})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PAGE, "the page may read why it was refused"
    assert "x-ratelimit-remaining-requests" in refused.headers["access-control-expose-headers"]


def test_every_origin_only_with_keys(tmp_path: Path) -> None:
    server = Server(tmp_path, cors_origins=("*",))
    with pytest.raises(ExposureError, match=r"cors_origins=\* lets every web page"):
        server.start()
    server.keys.add("laptop")
    assert preflight(server.start()).headers["access-control-allow-origin"] == "*"


def test_limits_are_each_keys_own_and_a_wrong_key_costs_nobody_anything(tmp_path: Path) -> None:
    server = Server(tmp_path, rates={"requests_per_minute": 2})
    keys = [server.keys.add(name)[0] for name in ("one", "two")]
    client = server.start()

    def ask(key: str) -> int:
        return client.post("/v1/chat/completions", headers={"x-api-key": key}).status_code

    assert [ask("wrong") for _ in range(5)] == [401] * 5
    assert [ask(keys[0]) for _ in range(3)] == [200, 200, 429]
    assert ask(keys[1]) == 200


def test_every_answer_has_an_id_a_line_and_a_count(tmp_path: Path) -> None:
    server = Server(tmp_path, rates={"requests_per_minute": 1})
    text, _ = server.keys.add("laptop", ["chat", "metrics"])
    client = server.start(metrics=Metrics("tiny"))
    log = io.StringIO()
    with loggers_restored():
        logs.configure("json", stream=log)
        headers = {"Authorization": f"Bearer {text}"}
        answers = [client.post("/v1/chat/completions", headers=each) for each in (headers, headers, {})]
        metrics = client.get("/metrics", headers=headers).text
    assert [answer.status_code for answer in answers] == [200, 429, 401]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["request_id"] for line in lines] == [answer.headers["x-request-id"] for answer in answers]
    assert [(line["status"], line.get("key"), line.get("prompt_tokens")) for line in lines] == [
        (200, "laptop", 3), (429, "laptop", None), (401, None, None),
    ]  # fmt: skip
    for status in (200, 429, 401):
        assert f'status="{status}"}} 1.0' in metrics
    assert text not in log.getvalue() + metrics


def test_metrics_are_there_only_when_they_are_on(tmp_path: Path) -> None:
    assert Server(tmp_path).start().get("/metrics").status_code == 404
    assert Server(tmp_path).start(metrics=Metrics("tiny")).get("/metrics").status_code == 200


def test_a_local_server_without_keys_is_not_lent_to_web_pages(tmp_path: Path) -> None:
    rebound = {"Host": "evil.example"}
    assert Server(tmp_path).start().post("/v1/chat/completions", headers=rebound).status_code == 403
    assert Server(tmp_path, allow_anyone=True).start().post("/v1/chat/completions", headers=rebound).status_code == 200
    assert Server(tmp_path).start(is_local=False).post("/v1/chat/completions", headers=rebound).status_code == 200
    assert Server(tmp_path, allowed_hosts=("evil.example",)).start().post("/v1/chat/completions", headers=rebound).status_code == 200


def test_a_key_from_the_environment_counts(tmp_path: Path) -> None:
    client = Server(tmp_path, api_key="from-the-environment").start()
    assert client.post("/v1/chat/completions").status_code == 401
    assert client.post("/v1/chat/completions", headers={"api-key": "from-the-environment"}).json() == {"key": "environment"}
