"""Whatever goes wrong, the client gets OpenAI's error object, and the next request is answered."""

import json

import pytest

from puna.engine import NoTokenError
from puna.media import MediaError
from puna.pipeline import Finished, RequestError, ToolError
from puna.serve.limits import Limits
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient, assert_error
from puna.tokens.chat import ChatError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1, 2]", b'"hi"', b"null", b"\xff\xfe", b'{"messages": [}', b"[" * 100_000, b'{"messages": [], "temperature": NaN}'],
)
async def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    response = await client.body(body)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert (await client.chat()).status_code == 200


async def test_half_a_character_in_json_is_refused() -> None:
    response = await AppClient(ScriptedPipeline("Yes")).body(b'{"messages": [{"role": "user", "content": "\\ud83d"}]}')
    assert_error(response, 400, "invalid_json")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/nowhere", "/v1/chat/completions/", "/docs", "/redoc", "/web/../app.py"])
async def test_an_unknown_address_names_the_known_ones(path: str) -> None:
    response = await AppClient(ScriptedPipeline("Yes")).http.get(path)
    assert "POST /v1/chat/completions" in assert_error(response, 404, None)


async def test_a_wrong_method_names_the_right_one() -> None:
    response = await AppClient(ScriptedPipeline("Yes")).http.get("/v1/chat/completions")
    assert "POST" in assert_error(response, 405, None)
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_called_json_is_refused(content_type: str) -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    response = await client.http.post(
        "/v1/chat/completions", content=json.dumps({"messages": [USER]}), headers={"Content-Type": content_type}
    )
    assert_error(response, 415, "unsupported_content_type")


async def test_a_charset_beside_the_content_type_is_fine() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await client.http.post("/v1/chat/completions", content=json.dumps({"messages": [USER]}), headers=headers)).status_code == 200


@pytest.mark.parametrize("size", [1_001, 3_000, 50_000])
async def test_an_oversized_body_is_refused(size: int) -> None:
    pipeline = ScriptedPipeline("Yes")
    client = AppClient(pipeline, Limits(body_bytes=1_000))
    assert_error(await client.body(b" " * size), 413, "request_too_large")
    assert pipeline.requests == []
    assert (await client.chat()).status_code == 200


async def test_a_body_without_a_declared_length_is_bounded_too() -> None:
    async def pieces():
        for _ in range(100):
            yield b" " * 100

    client = AppClient(ScriptedPipeline("Yes"), Limits(body_bytes=1_000))
    response = await client.http.post("/v1/chat/completions", content=pieces(), headers={"Content-Type": "application/json"})
    assert_error(response, 413, "request_too_large")


@pytest.mark.parametrize(
    ("mistake", "code", "param"),
    [
        (ChatError("two system messages"), "invalid_request", "messages"),
        (MediaError("a broken picture"), "invalid_image", "messages"),
        (RequestError("temperature is odd"), "invalid_request", None),
        (ToolError("a tool is odd"), "invalid_tools", "tools"),
        (NoTokenError("options and grammar leave none"), "no_token_left", None),
    ],
)
async def test_the_pipelines_complaints_are_the_clients_mistake(mistake: ValueError, code: str, param: str | None) -> None:
    client = AppClient(ScriptedPipeline(mistake))
    assert assert_error(await client.chat(), 400, code, param) == str(mistake)
    assert assert_error(await client.chat(stream=True), 400, code, param) == str(mistake)


@pytest.mark.parametrize(
    "failure", [RuntimeError("CUDA secret"), ValueError("shape secret"), AssertionError("secret"), MemoryError("secret")]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_our_own_failure_is_a_500_that_tells_no_secrets(failure: Exception, stream: bool) -> None:
    client = AppClient(ScriptedPipeline(failure, "Yes"))
    response = await client.chat(stream=stream)
    assert "secret" not in assert_error(response, 500, None)
    assert response.json()["error"]["type"] == "server_error"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert (await client.chat()).json()["choices"][0]["message"]["content"] == "Yes"


async def test_a_failure_inside_a_stream_is_an_event_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    client = AppClient(ScriptedPipeline(["Hello ", RuntimeError("the cause")], "Yes"))
    *chunks, failure, done = await client.events()
    assert chunks[-1]["choices"][0]["delta"] == {"content": "Hello "}
    assert failure["error"]["type"] == "server_error" and "cause" not in failure["error"]["message"]
    assert done == "[DONE]"
    assert "the cause" in caplog.text
    assert (await client.chat()).status_code == 200


async def test_a_pipeline_that_ends_without_a_reason_is_our_failure() -> None:
    class Silent(ScriptedPipeline):
        async def answer(self, asked):
            async for event in super().answer(asked):
                if not isinstance(event, Finished):
                    yield event

    assert_error(await AppClient(Silent("Yes")).chat(), 500, None)
    *_, failure, done = await AppClient(Silent("Yes")).events()
    assert (failure["error"]["type"], done) == ("server_error", "[DONE]")


async def test_a_model_card_tells_context_and_modalities() -> None:
    client = AppClient(ScriptedPipeline("Yes", name="org/scout-nano"))
    (card,) = (await client.http.get("/v1/models")).json()["data"]
    assert isinstance(card.pop("created"), int)
    assert card == {
        "id": "org/scout-nano",
        "object": "model",
        "owned_by": "puna",
        "context_length": 8192,
        "input_modalities": ["text", "image", "video"],
        "output_modalities": ["text"],
    }
    assert (await client.http.get("/v1/models/org/scout-nano")).json()["id"] == "org/scout-nano"
    assert_error(await client.http.get("/v1/models/other"), 404, "model_not_found", "model")
