"""The `openai` client, as people use it, against a real server."""

import json
from collections.abc import Iterator

import openai
import pytest

from puna.stream import ToolCall
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, live_server, picture_part, text_part, video_part

TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}}
]
CALL = ToolCall("weather", {"place": "Cusco"})


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline("A white llama", name="scout-nano")


@pytest.fixture
def client(pipeline: ScriptedPipeline) -> Iterator[openai.OpenAI]:
    with live_server(pipeline) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="scout-nano", messages=[USER], temperature=0, max_tokens=50)
    assert answer.choices[0].message.content == "A white llama"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 3


def test_stream(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="scout-nano", messages=[USER], stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "A white llama"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + 3


def test_the_clients_own_accumulating_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="scout-nano", messages=[USER]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "A white llama"


def test_picture(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    message = {"role": "user", "content": [text_part("What is this?"), picture_part()]}
    assert client.chat.completions.create(model="scout-nano", messages=[message]).choices[0].message.content == "A white llama"
    assert len(pipeline.requests[0].messages[0].content) == 2


def test_video(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    message = {"role": "user", "content": [text_part("What moves?"), video_part()]}
    assert client.chat.completions.create(model="scout-nano", messages=[message]).choices[0].message.content == "A white llama"
    assert len(pipeline.requests[0].messages[0].content[1].timestamps) == 5


@pytest.mark.parametrize("pipeline", [ScriptedPipeline([CALL], "It is cold", name="scout-nano")])
def test_a_round_of_tools(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    first = client.chat.completions.create(model="scout-nano", messages=[USER], tools=TOOLS).choices[0]
    assert first.finish_reason == "tool_calls"
    (call,) = first.message.tool_calls
    assert json.loads(call.function.arguments) == {"place": "Cusco"}
    history = [USER, first.message, {"role": "tool", "tool_call_id": call.id, "content": "2 degrees"}]
    second = client.chat.completions.create(model="scout-nano", messages=history, tools=TOOLS)
    assert second.choices[0].message.content == "It is cold"
    assert pipeline.requests[1].messages[2].name == "weather"


@pytest.mark.parametrize("pipeline", [ScriptedPipeline([CALL], name="scout-nano")])
def test_a_streamed_tool_call(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    with client.chat.completions.stream(model="scout-nano", messages=[USER], tools=TOOLS) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"place": "Cusco"})


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "scout-nano"
    assert model.context_length == 8192
    assert client.models.retrieve("scout-nano").id == "scout-nano"


def test_mistakes_become_the_clients_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-4o", messages=[USER])
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="scout-nano", messages=[USER], reasoning_effort="high")
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "reasoning_effort")
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="scout-nano", input="x")


@pytest.mark.parametrize("pipeline", [ScriptedPipeline(RuntimeError("boom"), ["Hello ", RuntimeError("boom")], name="scout-nano")])
def test_our_failures_become_the_clients_own_errors(client: openai.OpenAI, pipeline: ScriptedPipeline) -> None:
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="scout-nano", messages=[USER])
    with pytest.raises(openai.APIError, match="the server failed"):
        list(client.chat.completions.create(model="scout-nano", messages=[USER], stream=True))
