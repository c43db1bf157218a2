"""The `anthropic` client, as people use it, against a real server: with a scripted pipeline, and with a model that is tiny and random."""

import base64
import threading
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import pytest
from pydantic import BaseModel

from puna.pipeline import Pipeline
from puna.serve.limits import Limits
from puna.stream import Image, ToolCall
from puna.testing.engines import assert_nothing_is_left
from puna.testing.models import tiny_config, tiny_model
from puna.testing.pictures import corners_picture, encoded
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, eventually, live_server
from puna.testing.tokenizer import byte_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"place": {"type": "string", "maxLength": 5}},
    "required": ["place"],
    "additionalProperties": False,
}
TOOLS: Any = [{"name": "weather", "description": "Weather of a place", "input_schema": SCHEMA}]
CALL = ToolCall("weather", {"place": "Cusco"}, "call_1")
ASK: Any = {"model": "scout-nano", "max_tokens": 50, "messages": [USER]}


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline("A white llama", name="scout-nano", cached_tokens=4)


@pytest.fixture
def client(pipeline: ScriptedPipeline) -> Iterator[anthropic.Anthropic]:
    with live_server(pipeline) as address, anthropic.Anthropic(base_url=address, api_key="none", max_retries=0) as client:
        yield client


def test_chat(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**ASK, system="Be brief.", stop_sequences=["END"], extra_body={"temperature": 0})
    assert (answer.content[0].type, answer.content[0].text) == ("text", "A white llama")
    assert (answer.stop_reason, answer.usage.output_tokens, answer.usage.cache_read_input_tokens) == ("end_turn", 3, 4)
    assert answer._request_id


def test_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**ASK) as stream:
        assert list(stream.text_stream) == ["A ", "white ", "llama"]
        final = stream.get_final_message()
    assert (final.stop_reason, final.usage.output_tokens, final.usage.cache_read_input_tokens) == ("end_turn", 3, 4)
    assert final.usage.input_tokens == client.messages.count_tokens(model="scout-nano", messages=[USER]).input_tokens - 4


def test_the_beta_client(client: anthropic.Anthropic) -> None:
    edits: Any = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    answer = client.beta.messages.create(**ASK, betas=["context-management-2025-06-27"], context_management=edits)
    assert answer.content[0].type == "text"


@pytest.mark.anyio
async def test_the_client_for_event_loops(pipeline: ScriptedPipeline) -> None:
    with live_server(pipeline) as address:
        async with anthropic.AsyncAnthropic(base_url=address, api_key="none") as client:
            async with client.messages.stream(**ASK) as stream:
                assert [text async for text in stream.text_stream] == ["A ", "white ", "llama"]


def test_picture(client: anthropic.Anthropic, pipeline: ScriptedPipeline) -> None:
    data = base64.b64encode(encoded(corners_picture(20, 30))).decode()
    picture: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    client.messages.create(**{**ASK, "messages": [{"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]}]})
    assert isinstance(pipeline.requests[0].messages[0].content[0], Image)


@pytest.mark.parametrize("pipeline", [ScriptedPipeline(["Let me see.", CALL], "It is cold", name="scout-nano")])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_round_of_tools(client: anthropic.Anthropic, pipeline: ScriptedPipeline, is_streamed: bool) -> None:
    if is_streamed:
        with client.messages.stream(**ASK, tools=TOOLS) as stream:
            first = stream.get_final_message()
    else:
        first = client.messages.create(**ASK, tools=TOOLS)
    assert first.stop_reason == "tool_use"
    text, call = first.content
    assert call.type == "tool_use" and (call.name, call.input) == ("weather", {"place": "Cusco"})
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "2 degrees"}]}
    history = [USER, {"role": "assistant", "content": first.content}, result]
    second = client.messages.create(**{**ASK, "messages": history}, tools=TOOLS)
    assert second.content[0].type == "text" and second.content[0].text == "It is cold"
    told = pipeline.requests[-1].messages
    assert [message.role for message in told] == ["user", "assistant", "tool"]
    assert (told[1].text, told[1].tool_calls[0].arguments, told[2].name) == ("Let me see.", {"place": "Cusco"}, "weather")


def test_models(client: anthropic.Anthropic) -> None:
    (model,) = client.models.list()
    assert (model.id, model.type, model.max_input_tokens) == ("scout-nano", "model", 8192)
    assert client.models.retrieve("scout-nano").created_at == model.created_at
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("other")


def test_mistakes_become_the_clients_own_errors(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**{**ASK, "model": "claude"})
    assert missing.value.type == "not_found_error" and missing.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="thinking.type='enabled'") as refused:
        client.messages.create(**ASK, thinking={"type": "enabled", "budget_tokens": 1024})
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize("pipeline", [ScriptedPipeline(RuntimeError("boom"), ["Hello ", RuntimeError("boom")], name="scout-nano")])
def test_our_failures_become_the_clients_own_errors(client: anthropic.Anthropic, pipeline: ScriptedPipeline) -> None:
    with pytest.raises(anthropic.InternalServerError) as failed:
        client.messages.create(**ASK)
    assert failed.value.type == "api_error"
    with pytest.raises(anthropic.APIStatusError, match="the server failed") as cut, client.messages.stream(**ASK) as stream:
        list(stream)
    assert cut.value.type == "api_error"


def test_a_full_line_is_an_overload_that_the_client_waits_out() -> None:
    hold = threading.Semaphore(0)
    pipeline = ScriptedPipeline("A white llama", name="scout-nano", hold=hold)
    with live_server(pipeline, Limits(answering=1, waiting=0)) as address, anthropic.Anthropic(base_url=address, api_key="x") as client:
        first = threading.Thread(target=lambda: client.messages.create(**ASK))
        first.start()
        assert eventually(lambda: pipeline.running == 1)
        with pytest.raises(anthropic.InternalServerError) as full:
            client.with_options(max_retries=0).messages.create(**ASK)
        assert (full.value.status_code, full.value.type) == (529, "overloaded_error")
        hold.release(100)
        first.join()
        assert client.messages.create(**ASK).stop_reason == "end_turn"


# --- A real model ---


class Trip(BaseModel):
    place: Literal["Cusco", "Puno"]


@pytest.fixture(scope="module")
def endless() -> Iterator[tuple[Pipeline, anthropic.Anthropic]]:
    pipeline = Pipeline("tiny", tiny_model(tiny_config(eos_ids=())), byte_tokenizer())  # never stops by itself
    with live_server(pipeline) as address, anthropic.Anthropic(base_url=address, api_key="none", max_retries=0) as client:
        yield pipeline, client


@pytest.fixture(scope="module")
def tiny() -> Iterator[anthropic.Anthropic]:
    with (
        live_server(Pipeline("tiny", tiny_model(), byte_tokenizer())) as address,
        anthropic.Anthropic(base_url=address, api_key="none", max_retries=0) as client,
    ):
        yield client


def test_a_forced_call_has_the_form_of_its_tool_whole_and_streamed(tiny: anthropic.Anthropic) -> None:
    ask: Any = {"model": "tiny", "max_tokens": 200, "messages": [USER], "tools": TOOLS, "tool_choice": {"type": "tool", "name": "weather"}}
    whole = tiny.messages.create(**ask, extra_body={"temperature": 0})
    with tiny.messages.stream(**ask, extra_body={"temperature": 0}) as stream:
        streamed = stream.get_final_message()
    for answer in (whole, streamed):
        (call,) = answer.content
        assert call.type == "tool_use" and (call.name, call.input.keys()) == ("weather", {"place"})
        assert answer.stop_reason == "tool_use"
    assert whole.content[0].input == streamed.content[0].input
    assert streamed.usage.cache_read_input_tokens > 0 == whole.usage.cache_read_input_tokens


def test_an_answer_is_read_as_the_clients_own_type(tiny: anthropic.Anthropic) -> None:
    answer = tiny.messages.parse(model="tiny", max_tokens=200, messages=[USER], output_format=Trip)
    assert answer.stop_reason == "end_turn" and isinstance(answer.parsed_output, Trip)


def test_a_call_cut_short_is_no_call(tiny: anthropic.Anthropic) -> None:
    ask: Any = {"model": "tiny", "max_tokens": 17, "messages": [USER], "tools": TOOLS, "tool_choice": {"type": "any"}}
    whole = tiny.messages.create(**ask)
    assert whole.stop_reason == "max_tokens" and [block.type for block in whole.content] == ["text"]
    assert whole.content[0].text.startswith("[weather(place=")
    with tiny.messages.stream(**ask) as stream:
        assert stream.get_final_message().stop_reason == "max_tokens"


def test_a_client_that_leaves_a_stream_gives_its_pages_back(endless: tuple[Pipeline, anthropic.Anthropic]) -> None:
    pipeline, client = endless
    with client.messages.stream(model="tiny", max_tokens=3_000, messages=[USER]) as stream:
        next(iter(stream))
        assert pipeline.engine.has_work
    assert eventually(lambda: not pipeline.engine.has_work)
    assert_nothing_is_left(pipeline.engine)
