"""The log: one line a request, ids in and out, and nothing that a user wrote."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from puna.serve import logs
from puna.serve.logs import RequestLog
from puna.serve.record import Record, record_of
from puna.testing.loggers import loggers_restored


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards loggers are as they were."""
    with loggers_restored():
        yield io.StringIO()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def answer(request: Request) -> Response:
    record = record_of(request.scope)
    record.key, record.prompt_tokens, record.cached_tokens, record.completion_tokens = "laptop", 30, 16, 20
    record.finish_reasons += ["stop", "length", "stop"]
    return PlainTextResponse(record.id)


async def breaks(request: Request) -> Response:
    secret = (await request.body()).decode()
    assert secret
    raise RuntimeError("the engine fell over")


async def breaks_late(request: Request) -> Response:
    async def pieces():
        yield b"half"
        raise RuntimeError("the engine fell over")

    return StreamingResponse(pieces())


def client(**options: object) -> TestClient:
    routes = [
        Route("/v1/things/{name}", answer, methods=["GET", "POST"]),
        Route("/health", answer),
        Route("/breaks", breaks, methods=["POST"]),
        Route("/breaks-late", breaks_late),
    ]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(RequestLog, **options)]))


def test_a_request_is_one_line_of_facts(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    client().post("/v1/things/tea?api_key=pk-secret", headers={"Authorization": "Bearer pk-secret"}, content=b"my prompt")
    (line,) = lines(stream)
    assert isinstance(line.pop("ms"), float)
    assert str(line.pop("timestamp")).endswith("Z")
    assert str(line.pop("request_id")).startswith("req_")
    assert line == {
        "event": "request", "level": "info", "logger": "puna.requests", "method": "POST", "route": "/v1/things/{name}", "status": 200,
        "key": "laptop", "prompt_tokens": 30, "cached_tokens": 16, "completion_tokens": 20, "finish_reason": "stop,length",
    }  # fmt: skip


def test_nothing_that_was_sent_is_logged_even_when_the_request_breaks(stream: io.StringIO) -> None:
    for format in ("json", "console"):
        logs.configure(format, "debug", stream)
        caller = client()
        headers = {"Authorization": "Bearer pk-secret", "x-api-key": "pk-secret"}
        assert caller.post("/breaks?q=pk-secret", content=b"my prompt", headers=headers).status_code == 500
        assert caller.get("/nowhere?q=pk-secret", headers=headers).status_code == 404
    said = stream.getvalue()
    assert "the engine fell over" in said and "Traceback" in said and "/nowhere" in said
    assert "pk-secret" not in said and "my prompt" not in said


def test_what_nothing_has_caught_is_a_500_with_an_id_and_a_traceback_in_the_log(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    response = client().post("/breaks", content=b"x")
    assert response.status_code == 500
    assert "fell over" not in response.text
    assert response.json()["error"]["type"] == "server_error"
    (line,) = lines(stream)
    assert line["request_id"] == response.headers["x-request-id"]
    assert (line["level"], line["status"], line["error"]) == ("error", 500, "RuntimeError")
    assert "in breaks" in line["exception"]


def test_half_an_answer_breaks_the_connection(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    with pytest.raises(RuntimeError, match="fell over"):
        client().get("/breaks-late")
    (line,) = lines(stream)
    assert (line["level"], line["status"], line["error"]) == ("error", 200, "RuntimeError")


@pytest.mark.parametrize("given", ["abc-123", "a.b:c_d", "x" * 128])
def test_a_plain_id_goes_through(given: str) -> None:
    response = client().get("/v1/things/tea", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == response.text == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a","level":"x', "a\x1b[31m", "é"])
def test_any_other_id_is_replaced(given: str) -> None:
    response = client().get("/v1/things/tea", headers={"X-Request-Id": given.encode()})
    assert response.headers["x-request-id"] == response.text
    assert response.text.startswith("req_") and len(response.text) == 28


def test_ids_that_are_made_up_differ() -> None:
    assert client().get("/v1/things/tea").text != client().get("/v1/things/tea").text


def test_a_path_that_is_no_route_cannot_forge_a_line(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    client().get("/a%0A%7B%22event%22:%22forged%22%7D" + "x" * 300)
    (line,) = lines(stream)
    assert line["event"] == "request" and line["route"] is None and line["status"] == 404
    assert len(line["path"]) == 100
    logs.configure("console", stream=stream)
    before = stream.getvalue().count("\n")
    client().get("/a%0Aforged%1B%5B31m")
    assert stream.getvalue().count("\n") == before + 1
    assert "\x1b" not in stream.getvalue()


def test_probes_are_not_worth_a_line(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    client().get("/health")
    assert lines(stream) == []
    logs.configure("json", "debug", stream)
    client().get("/health")
    assert [line["route"] for line in lines(stream) if line["event"] == "request"] == ["/health"]


def test_libraries_log_the_same_way(stream: io.StringIO) -> None:
    logs.configure("json", stream=stream)
    logs.configure("json", stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        logging.getLogger("some.library").warning("a %s thing", "strange")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"], line["request_id"]) == ("a strange thing", "some.library", "warning", "req_1")


def test_the_level_holds(stream: io.StringIO) -> None:
    logs.configure("json", "error", stream)
    client().get("/v1/things/tea")
    logging.getLogger("any").warning("not worth it")
    assert stream.getvalue() == ""


def test_libraries_do_not_tell_addresses(stream: io.StringIO) -> None:
    logs.configure("json", "debug", stream)
    logging.getLogger("httpx").info("HTTP Request: GET https://example.org/cat.png?signature=secret")
    logging.getLogger("puna.anything").debug("said")
    assert [line["event"] for line in lines(stream)] == ["said"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("stream")
def test_people_on_a_terminal_read_colours_and_machines_json() -> None:
    terminal = Terminal()
    logs.configure("auto", stream=terminal)
    client().get("/v1/things/tea")
    assert "\x1b[" in terminal.getvalue() and "/v1/things/{name}" in terminal.getvalue() and "puna.requests" not in terminal.getvalue()
    file = io.StringIO()
    logs.configure("auto", stream=file)
    client().get("/v1/things/tea")
    assert lines(file)[0]["event"] == "request"


def test_observers_see_every_request_when_it_is_done() -> None:
    seen: list[Record] = []
    client(observers=[seen.append]).get("/v1/things/tea")
    with pytest.raises(RuntimeError):
        client(observers=[seen.append]).get("/breaks-late")
    assert [(record.route, record.status, record.error) for record in seen] == [
        ("/v1/things/{name}", 200, None),
        ("/breaks-late", 200, "RuntimeError"),
    ]
    assert all(record.seconds > 0 for record in seen)
