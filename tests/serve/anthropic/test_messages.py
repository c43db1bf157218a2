"""Anthropic's messages in and out: what the pipeline is asked, and what the client gets."""

import base64
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from puna.engine import Grammar
from puna.pipeline import Answer, Ask, CallBegun, CallBroken, CallDone, CallPiece, Finished, NamedTool, Usage
from puna.presets import preset
from puna.serve.anthropic.answering import MessageExchange
from puna.serve.anthropic.reading import BILLING
from puna.serve.anthropic.wire import ONLY, MessagesRequest
from puna.serve.limits import Limits
from puna.stream import Image, Message, Text, ToolCall, Video
from puna.testing.pictures import corners_picture, encoded
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient, data_url
from puna.testing.videos import mp4

pytestmark = pytest.mark.anyio

WEATHER = {"name": "weather", "description": "Weather of a place", "input_schema": {"type": "object"}}
CALL = ToolCall("weather", {"place": "Cusco", "days": 2}, "call_abc")
USED = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Cusco"}}
CACHED = {"cache_control": {"type": "ephemeral"}}
PNG = base64.b64encode(encoded(corners_picture(20, 30))).decode()
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
VIDEO = {"type": "video", "source": {"type": "base64", "media_type": "video/mp4", "data": base64.b64encode(mp4()).decode()}}


async def posted(client: AppClient, *messages: Any, **fields: Any) -> httpx.Response:
    body = {"max_tokens": 50, "messages": list(messages) or [USER], **fields}
    return await client.http.post("/v1/messages", json=body)


async def answered(pipeline: ScriptedPipeline, *messages: Any, **fields: Any) -> dict[str, Any]:
    response = await posted(AppClient(pipeline), *messages, **fields)
    assert response.status_code == 200, response.text
    return response.json()


async def asked(*messages: Any, **fields: Any) -> tuple[tuple[Message, ...], Ask]:
    """What a pipeline is asked for a request."""
    pipeline = ScriptedPipeline("Yes")
    await answered(pipeline, *messages, **fields)
    (request,) = pipeline.requests
    assert request.ask is not None
    return request.messages, request.ask


async def streamed(pipeline: ScriptedPipeline, limits: Limits | None = None, **fields: Any) -> list[Any]:
    """The data of each event, whose name is the data's type."""
    response = await posted(AppClient(pipeline, limits), stream=True, **fields)
    assert response.status_code == 200, response.text
    frames = response.text.split("\n\n")
    assert frames.pop() == ""
    events = []
    for each in frames:
        name, data = each.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


async def refused(status: int, kind: str, *messages: Any, **fields: Any) -> str:
    """The message of a refusal, in Anthropic's shape."""
    return said_wrong(await posted(AppClient(ScriptedPipeline("Yes")), *messages, **fields), status, kind)


def said_wrong(response: httpx.Response, status: int, kind: str) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"type", "error", "request_id"} and body["error"].keys() == {"type", "message"}
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] and body["request_id"] == response.headers["request-id"]
    return body["error"]["message"]


# --- Answers ---


async def test_an_answer_has_anthropics_shape() -> None:
    answer = await answered(ScriptedPipeline("Hello there", name="scout-nano"), model="scout-nano")
    assert answer.pop("id").startswith("msg_")
    assert answer == {
        "type": "message",
        "role": "assistant",
        "model": "scout-nano",
        "content": [{"type": "text", "text": "Hello there", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 2},
    }


async def test_every_answer_has_its_requests_id_in_a_header() -> None:
    response = await AppClient(ScriptedPipeline("Yes")).http.post(
        "/v1/messages?beta=true",
        json={"max_tokens": 5, "messages": [USER]},
        headers={"x-request-id": "abc-1", "anthropic-version": "2099-01-01", "anthropic-beta": "of-tomorrow-2099-01-01"},
    )
    assert response.status_code == 200
    assert response.headers["request-id"] == "abc-1"


async def test_cached_tokens_are_told_apart_from_the_others() -> None:
    usage = (await answered(ScriptedPipeline("Yes", cached_tokens=20)))["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (5, 20)


async def test_a_call_is_a_block_after_the_text() -> None:
    answer = await answered(ScriptedPipeline(["Let me see. ", CALL]), tools=[WEATHER])
    text, call = answer["content"]
    assert text["text"] == "Let me see. "
    assert call == {"type": "tool_use", "id": "toolu_abc", "name": "weather", "input": {"place": "Cusco", "days": 2}}
    assert answer["stop_reason"] == "tool_use"


async def test_an_infinite_argument_is_the_greatest_number() -> None:
    call = ToolCall("weather", {"days": float("inf"), "past": [float("-inf")]})
    exchange = MessageExchange(Ask(max_tokens=9), "m", False, "r")
    piece = CallPiece(0, 0, '{"days":1e999,"past":[-1e999,2]}')
    answer = Answer.of([CallBegun(0, 0, "call_1", "weather"), piece, CallDone(0, 0, call), Finished(0, "tool_calls", 3), Usage(5, 3)])
    (block,) = exchange.whole(answer).content
    assert json.loads(json.dumps(block.model_dump(), allow_nan=False))["input"] == {
        "days": 1.7976931348623157e308,
        "past": [-1.7976931348623157e308, 2],
    }


async def test_an_answer_cut_at_max_tokens_says_so() -> None:
    answer = await answered(ScriptedPipeline("one two three"), max_tokens=2)
    assert (answer["content"][0]["text"], answer["stop_reason"]) == ("one two ", "max_tokens")


async def test_more_tokens_than_the_context_has_are_taken_for_what_it_has() -> None:
    config = replace(preset("scout-nano"), max_positions=28, name="small")
    answer = await answered(ScriptedPipeline("one two three four", name="small", config=config), max_tokens=32_000)
    assert (answer["content"][0]["text"], answer["stop_reason"]) == ("one two three ", "model_context_window_exceeded")


async def test_a_prompt_without_room_for_an_answer_is_refused() -> None:
    config = replace(preset("scout-nano"), max_positions=20)
    message = said_wrong(await posted(AppClient(ScriptedPipeline("Yes", config=config))), 400, "invalid_request_error")
    assert message.startswith("prompt is too long: ") and "25 tokens" in message  # the words that clients look for


async def test_a_call_that_never_ended_is_told_as_text() -> None:
    exchange = MessageExchange(Ask(max_tokens=3), "m", False, "r")
    begun, piece = CallBegun(0, 0, "call_1", "weather"), CallPiece(0, 0, '{"place":"Cu')
    broken = CallBroken(0, 0, '[weather(place="Cu')
    answer = Answer.of([begun, piece, broken, Finished(0, "length", 3), Usage(5, 3)])
    told = exchange.whole(answer)
    assert [block.model_dump() for block in told.content] == [{"type": "text", "text": '[weather(place="Cu', "citations": None}]
    assert told.stop_reason == "max_tokens"


async def test_a_stop_sequence_is_named() -> None:
    exchange = MessageExchange(Ask(max_tokens=9), "m", True, "r")
    list(exchange.opening(4))
    for event in (Finished(0, "stop", 2, stop="END"), Usage(4, 2)):
        assert not list(exchange.frames(event))
    delta = json.loads(next(iter(exchange.closing())).split(b"data: ")[1])["delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "END"}


# --- Streams ---


async def test_a_stream_has_the_events_of_anthropics() -> None:
    events = await streamed(ScriptedPipeline("Hello there", cached_tokens=3, name="scout-nano"))
    message = events[0].pop("message")
    assert message.pop("id").startswith("msg_")
    usage = {"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "scout-nano",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    assert events == [
        {"type": "message_start"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", "citations": None}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "there"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {**usage, "input_tokens": 22, "cache_read_input_tokens": 3, "output_tokens": 2},
        },
        {"type": "message_stop"},
    ]


async def test_each_call_and_each_run_of_text_is_a_block_of_a_stream() -> None:
    events = await streamed(ScriptedPipeline(["One ", CALL, CALL, "two"]), tools=[WEATHER])
    starts = [(event["index"], event["content_block"]["type"]) for event in events if event["type"] == "content_block_start"]
    assert starts == [(0, "text"), (1, "tool_use"), (2, "tool_use"), (3, "text")]
    assert [event["index"] for event in events if event["type"] == "content_block_stop"] == [0, 1, 2, 3]
    start = next(event for event in events if event.get("index") == 1)
    assert start["content_block"] == {"type": "tool_use", "id": "toolu_abc", "name": "weather", "input": {}}
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta" and event["index"] == 1]
    assert {delta["type"] for delta in deltas} == {"input_json_delta"}
    assert json.loads("".join(delta["partial_json"] for delta in deltas)) == {"place": "Cusco", "days": 2}
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_silence_brings_pings() -> None:
    events = await streamed(ScriptedPipeline("Hello", seconds_per_token=0.1), Limits(first_chunk_s=0.01, ping_s=0.01))
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["message_start", "ping"] and kinds[-1] == "message_stop"


async def test_a_failure_within_a_stream_is_an_event_and_the_last() -> None:
    events = await streamed(ScriptedPipeline(["Hello ", RuntimeError("secret")]))
    assert [event["type"] for event in events[-2:]] == ["content_block_delta", "error"]
    assert events[-1]["error"]["type"] == "api_error" and "secret" not in events[-1]["error"]["message"]
    assert events[-1]["request_id"]


# --- What is asked ---


async def test_options_reach_the_pipeline() -> None:
    _, ask = await asked(temperature=0.5, top_p=0.9, top_k=7, stop_sequences=["END", "\n\n"], max_tokens=7)
    assert (ask.temperature, ask.top_p, ask.top_k, ask.stop, ask.max_tokens) == (0.5, 0.9, 7, ("END", "\n\n"), 7)
    _, ask = await asked(top_k=0)
    assert ask.top_k is None


async def test_a_system_prompt_may_be_a_text_or_blocks() -> None:
    messages, _ = await asked(system="Be brief.")
    assert messages[0] == Message("system", (Text("Be brief."),))
    messages, _ = await asked(system=[{"type": "text", "text": "Be ", **CACHED}, {"type": "text", "text": "brief."}])
    assert (messages[0].role, messages[0].text) == ("system", "Be brief.")
    messages, _ = await asked(system="")
    assert messages[0].text == ""


async def test_system_messages_keep_their_place() -> None:
    messages, _ = await asked(USER, {"role": "system", "content": "90 tokens left"})
    assert [(message.role, message.text) for message in messages] == [("user", "Hi"), ("system", "90 tokens left")]


@pytest.mark.parametrize(
    "system", [[{"type": "text", "text": f"{BILLING} cch=eb6c6;"}, {"type": "text", "text": "You code."}], f"{BILLING} cch=1;\nYou code."]
)
async def test_the_line_for_billing_is_not_the_models(system: Any) -> None:
    messages, _ = await asked(system=system)
    assert messages[0].text == "You code."
    messages, _ = await asked({"role": "user", "content": f"{BILLING} what is it?"}, system=f"{BILLING} cch=1;")
    assert [message.text for message in messages] == [f"{BILLING} what is it?"]


async def test_a_round_of_tools_becomes_messages_of_their_own() -> None:
    used = [{"type": "text", "text": "Let me see."}, {**USED, "caller": {"type": "direct"}, **CACHED}, {**USED, "id": "toolu_2"}]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "2 degrees"}, PICTURE], **CACHED},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no such place", "is_error": True},
        {"type": "text", "text": "Go on."},
    ]
    messages, _ = await asked(USER, {"role": "assistant", "content": used}, {"role": "user", "content": results}, tools=[WEATHER])
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert messages[1].tool_calls == (
        ToolCall("weather", {"place": "Cusco"}, "toolu_1"),
        ToolCall("weather", {"place": "Cusco"}, "toolu_2"),
    )
    assert messages[2].name == "weather" and isinstance(messages[2].content[1], Image)
    assert messages[3].text == "Error: no such place"
    assert messages[4].text == "Go on."


async def test_a_result_may_be_empty_and_must_answer_a_call() -> None:
    turns = [USER, {"role": "assistant", "content": [USED]}]
    messages, _ = await asked(*turns, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]})
    assert messages[2].content == ()
    stray = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_9", "content": "x"}]}
    message = await refused(400, "invalid_request_error", *turns, stray)
    assert "messages[2].content[0].tool_use_id='toolu_9' answers no tool call" in message


async def test_thoughts_of_another_model_are_left_out() -> None:
    thought = [{"type": "thinking", "thinking": "Hm", "signature": "x"}, {"type": "redacted_thinking", "data": "y"}]
    messages, _ = await asked(USER, {"role": "assistant", "content": [*thought, {"type": "text", "text": "Yes", "citations": None}]}, USER)
    assert messages[1] == Message("assistant", (Text("Yes"),))


async def test_pictures_and_videos() -> None:
    address = {"type": "image", "source": {"type": "url", "url": data_url(encoded(corners_picture(20, 30)))}}
    messages, _ = await asked({"role": "user", "content": [{"type": "text", "text": "See"}, {**PICTURE, **CACHED}, address, VIDEO]})
    assert [type(part) for part in messages[0].content] == [Text, Image, Image, Video]


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        (None, "auto", True),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", False),
        ({"type": "any"}, "required", True),
        ({"type": "tool", "name": "weather", "disable_parallel_tool_use": True}, NamedTool("weather"), False),
        ({"type": "none"}, "none", True),
    ],
)
async def test_the_choice_of_tools(choice: Any, expected: Any, parallel: bool) -> None:
    _, ask = await asked(tools=[WEATHER], tool_choice=choice)
    assert (ask.tool_choice, ask.parallel_tool_calls) == (expected, parallel)


async def test_a_tool_is_offered_as_it_was_described() -> None:
    examples = [{"place": "Puno"}]
    hints = {"eager_input_streaming": True, "defer_loading": False, "allowed_callers": ["direct"], "type": "custom", **CACHED}
    _, ask = await asked(tools=[{**WEATHER, "strict": True, "input_examples": examples, **hints}])
    assert ask.tools == (
        {
            "name": "weather",
            "description": "Weather of a place",
            "parameters": {"type": "object"},
            "input_examples": examples,
            "strict": True,
        },
    )


@pytest.mark.parametrize("place", ["output_config", "output_format"])
async def test_an_answer_may_be_held_to_a_schema(place: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    _, ask = await asked(**{place: {"format": form} if place == "output_config" else form})
    assert ask.grammar == Grammar.json_schema(form["schema"])
    _, ask = await asked(tools=[WEATHER], output_format=form)
    assert ask.grammar == Grammar.json_schema(form["schema"]) and ask.has_form_or_calls


async def test_what_cannot_change_the_answer_is_accepted() -> None:
    await asked(
        metadata={"user_id": "u"},
        service_tier="auto",
        speed="standard",
        thinking={"type": "adaptive", "display": "omitted"},
        output_config={"effort": "medium"},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        cache_control={"type": "ephemeral", "ttl": "1h"},
        diagnostics={"previous_message_id": None},
        mcp_servers=[],
    )
    await asked(thinking={"type": "disabled"})


# --- Refusals ---


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking.type='enabled'"),
        ({"output_config": {"effort": "great"}}, "output_config.effort='great'"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type='web_search_20250305'"),
        ({"tools": [{**WEATHER, "defer_loading": True}]}, "tools[0].defer_loading=True"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "walk"}}, "tool_choice.name='walk'"),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type=any"),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, "context_management.edits[0].type"),
        ({"temperature": 1.5}, "temperature=1.5"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"max_tokens": None}, "max_tokens=None"),
        ({"stop": ["x"]}, "stop is not a parameter of this server"),
        ({"stop_sequence": ["x"]}, "did you mean stop_sequences?"),
        ({"messages": []}, "messages=[]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role='tool'"),
        ({"messages": [USER, {"role": "assistant", "content": "The answer is"}]}, "must not end with role=assistant"),
        ({"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]}, "messages[0].content[0].type='document'"),
        ({"messages": [{"role": "user", "content": [{**PICTURE, "source": {"type": "file", "file_id": "f"}}]}]}, "source.type='file'"),
        (
            {"messages": [{"role": "user", "content": [{**PICTURE, "source": {**PICTURE["source"], "data": "@@"}}]}]},
            "messages[0].content[0].source.data: ",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}]}]},
            "messages[0].content[0].source.url: 'https://x.test/a.png' is a web address",
        ),
        *(({name: "eu"}, f'{name}="eu" is not supported') for name in ONLY),
    ],
)
async def test_what_would_change_the_answer_is_refused_by_name(fields: dict[str, Any], told: str) -> None:
    message = await refused(400, "invalid_request_error", **fields)
    assert told in message, message


async def test_all_errors_have_anthropics_shape() -> None:
    client = AppClient(ScriptedPipeline("Yes", RuntimeError("secret")), Limits(body_bytes=300))
    json_type = {"content-type": "application/json"}
    said_wrong(await posted(client, model="gpt"), 404, "not_found_error")
    said_wrong(await client.http.post("/v1/messages", content=b"{", headers=json_type), 400, "invalid_request_error")
    said_wrong(await client.http.post("/v1/messages", content=b"{}"), 415, "invalid_request_error")
    said_wrong(await client.http.post("/v1/messages", content=b" " * 400, headers=json_type), 413, "request_too_large")
    said_wrong(await client.http.get("/v1/messages"), 405, "invalid_request_error")
    said_wrong(await client.http.post("/v1/messages/batches", json={}), 404, "not_found_error")
    assert (await posted(client)).status_code == 200
    message = said_wrong(await posted(client), 500, "api_error")
    assert "secret" not in message


async def test_a_full_line_is_an_overload() -> None:
    client = AppClient(ScriptedPipeline("Yes"), Limits(answering=1, waiting=0))
    ticket = client.core.line.ticket()
    response = await posted(client)
    said_wrong(response, 529, "overloaded_error")
    assert response.headers["retry-after"] == "2"
    ticket.give_back()
    assert (await posted(client)).status_code == 200


async def test_a_server_that_goes_down_says_so() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    client.core.line.is_closed = True
    said_wrong(await posted(client), 503, "overloaded_error")


class NoLlamas:
    """A guard that refuses what is said of llamas."""

    window = 1

    async def asked(self, ask: Ask) -> str | None:
        return "no llamas" if "llama" in ask.messages[-1].text else None

    async def said(self, ask: Ask, text: str, start: int) -> str | None:
        return "no llamas" if "llama" in text else None

    async def called(self, ask: Ask, call: ToolCall) -> str | None:
        return None


async def test_what_a_guard_refuses() -> None:
    client = AppClient(ScriptedPipeline("A white llama"), guard=NoLlamas())
    response = await posted(client, {"role": "user", "content": "A llama?"})
    assert "no llamas" in said_wrong(response, 400, "invalid_request_error")
    answer = (await posted(client)).json()
    assert (answer["stop_reason"], answer["stop_details"]["type"]) == ("refusal", "refusal")
    assert answer["content"][0]["text"] == "A white "


def test_every_refused_parameter_is_one_of_the_request() -> None:
    assert ONLY.keys() <= MessagesRequest.model_fields.keys()
