"""The `llama-api-client`, as Meta's examples use it, against a real server."""

import json
from collections.abc import Iterator

import llama_api_client
import pytest
from llama_api_client import LlamaAPIClient

from puna.stream import Text, ToolCall
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, eventually, live_server, picture_part, text_part

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = ToolCall("weather", {"place": "Cusco"}, "call_1")


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline("A white llama", name="scout-nano")


@pytest.fixture
def client(pipeline: ScriptedPipeline) -> Iterator[LlamaAPIClient]:
    """One that raises where an answer is not what its types say."""
    with live_server(pipeline) as address:
        base = f"{address}/llama/v1"
        with LlamaAPIClient(base_url=base, api_key="none", max_retries=0, _strict_response_validation=True) as client:
            yield client


def test_chat(client: LlamaAPIClient) -> None:
    answer = client.chat.completions.create(model="scout-nano", messages=[USER], max_completion_tokens=50, temperature=0.7)
    assert answer.completion_message.content.text == "A white llama"
    assert answer.completion_message.stop_reason == "stop"
    assert {each.metric: each.value for each in answer.metrics}["num_completion_tokens"] == 3


def test_stream(client: LlamaAPIClient) -> None:
    chunks = list(client.chat.completions.create(model="scout-nano", messages=[USER], stream=True))
    assert "".join(chunk.event.delta.text for chunk in chunks) == "A white llama"
    assert [chunk.event.event_type for chunk in chunks] == ["start", "progress", "progress", "progress", "complete", "metrics"]


@pytest.mark.parametrize("pipeline", [ScriptedPipeline([CALL], "It is cold", name="scout-nano")])
def test_a_round_of_tools(client: LlamaAPIClient, pipeline: ScriptedPipeline) -> None:
    message = client.chat.completions.create(model="scout-nano", messages=[USER], tools=TOOLS).completion_message
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"place": "Cusco"}
    history = [USER, message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": "2 degrees"}]
    answer = client.chat.completions.create(model="scout-nano", messages=history, tools=TOOLS)
    assert answer.completion_message.content.text == "It is cold"
    assert pipeline.requests[1].messages[2].content == (Text("2 degrees"),)


@pytest.mark.parametrize("pipeline", [ScriptedPipeline([CALL], name="scout-nano")])
def test_a_streamed_tool_call(client: LlamaAPIClient) -> None:
    called, arguments = [], ""
    for chunk in client.chat.completions.create(model="scout-nano", messages=[USER], tools=TOOLS, stream=True):
        delta = chunk.event.delta
        if delta.type == "tool_call" and delta.function.name:
            called.append((delta.id, delta.function.name))
        elif delta.type == "tool_call":
            arguments += delta.function.arguments
    assert (called, json.loads(arguments)) == ([("call_1", "weather")], {"place": "Cusco"})


def test_picture(client: LlamaAPIClient, pipeline: ScriptedPipeline) -> None:
    client.chat.completions.create(model="scout-nano", messages=[{"role": "user", "content": [text_part("What?"), picture_part()]}])
    assert len(pipeline.requests[0].messages[0].content) == 2


def test_models(client: LlamaAPIClient) -> None:
    (model,) = client.models.list()
    assert model.id == client.models.retrieve("scout-nano").id == "scout-nano"


@pytest.mark.parametrize("pipeline", [ScriptedPipeline("word " * 500, name="scout-nano", seconds_per_token=0.01)])
def test_who_leaves_the_stream_ends_the_answer(client: LlamaAPIClient, pipeline: ScriptedPipeline) -> None:
    with client.chat.completions.create(model="scout-nano", messages=[USER], stream=True) as stream:
        next(stream)
    assert eventually(lambda: pipeline.abandoned == 1 and pipeline.running == 0)


def test_mistakes_become_the_clients_own_errors(client: LlamaAPIClient) -> None:
    with pytest.raises(llama_api_client.NotFoundError, match="is not served here"):
        client.chat.completions.create(model="Llama-4-Scout", messages=[USER])
    with pytest.raises(llama_api_client.BadRequestError, match="temperature"):
        client.chat.completions.create(model="scout-nano", messages=[USER], temperature=9)
    with pytest.raises(llama_api_client.NotFoundError, match="keeps no uploads"):
        client.uploads.create(bytes=1, filename="x.png", mime_type="image/png", purpose="attachment")
    with pytest.raises(llama_api_client.NotFoundError, match="no guard"):
        client.moderations.create(messages=[USER])


@pytest.mark.parametrize("pipeline", [ScriptedPipeline(RuntimeError("boom"), ["Hello ", RuntimeError("boom")], name="scout-nano")])
def test_our_failures_become_the_clients_own_errors(client: LlamaAPIClient) -> None:
    with pytest.raises(llama_api_client.InternalServerError):
        client.chat.completions.create(model="scout-nano", messages=[USER])
    with pytest.raises(llama_api_client.APIError, match="the server failed"):
        list(client.chat.completions.create(model="scout-nano", messages=[USER], stream=True))
