"""Meta's Llama API as it travels."""

import json
from typing import Any

import pytest

from puna.pipeline import Ask, NamedTool
from puna.stream import Text, ToolCall
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient, assert_error, picture_part, text_part, video_part

pytestmark = pytest.mark.anyio

CHAT = "/llama/v1/chat/completions"
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = ToolCall("weather", {"place": "Cusco"}, "call_1")


async def chat(client: AppClient, *messages: Any, **fields: Any) -> Any:
    response = await client.http.post(CHAT, json={"messages": list(messages) or [USER], **fields})
    assert response.status_code == 200, response.text
    return response.json()


async def events(client: AppClient, **fields: Any) -> list[dict[str, Any]]:
    response = await client.http.post(CHAT, json={"messages": [USER], "stream": True, **fields})
    assert response.headers["content-type"].startswith("text/event-stream")
    *frames, end = response.text.split("\n\n")
    assert end == ""
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert len({chunk["id"] for chunk in chunks}) == 1
    return [chunk["event"] for chunk in chunks]


async def test_a_whole_answer() -> None:
    answer = await chat(AppClient(ScriptedPipeline("A white llama")))
    assert answer.pop("id").startswith("llama-")
    prompt = answer["metrics"][0]["value"]
    assert answer == {
        "completion_message": {"role": "assistant", "content": {"type": "text", "text": "A white llama"}, "stop_reason": "stop"},
        "metrics": [
            {"metric": "num_prompt_tokens", "value": prompt, "unit": "tokens"},
            {"metric": "num_completion_tokens", "value": 3, "unit": "tokens"},
            {"metric": "num_total_tokens", "value": prompt + 3, "unit": "tokens"},
        ],
    }


async def test_a_stream_starts_progresses_completes_tells_its_metrics_and_just_ends() -> None:
    told = await events(AppClient(ScriptedPipeline("A llama")))
    assert told[:4] == [
        {"event_type": "start", "delta": {"type": "text", "text": ""}},
        {"event_type": "progress", "delta": {"type": "text", "text": "A "}},
        {"event_type": "progress", "delta": {"type": "text", "text": "llama"}},
        {"event_type": "complete", "delta": {"type": "text", "text": ""}, "stop_reason": "stop"},
    ]
    (last,) = told[4:]
    assert last["event_type"] == "metrics"
    assert {each["metric"]: each["value"] for each in last["metrics"]}["num_completion_tokens"] == 2


async def test_an_answer_cut_short_says_so() -> None:
    client = AppClient(ScriptedPipeline("one two three"))
    assert (await chat(client, max_completion_tokens=2))["completion_message"]["stop_reason"] == "length"
    assert (await events(client, max_completion_tokens=2))[-2]["stop_reason"] == "length"


async def test_calls_whole_and_streamed() -> None:
    client = AppClient(ScriptedPipeline([CALL], ["Let me see. ", CALL, ToolCall("weather", {}, "call_2")]))
    message = (await chat(client, tools=TOOLS))["completion_message"]
    assert message["content"]["text"] == "" and message["stop_reason"] == "tool_calls"
    assert message["tool_calls"] == [{"id": "call_1", "function": {"name": "weather", "arguments": '{"place":"Cusco"}'}}]
    deltas = [event["delta"] for event in await events(client, tools=TOOLS) if event["delta"]["type"] == "tool_call"]
    assert deltas == [
        {"type": "tool_call", "id": "call_1", "function": {"name": "weather"}},
        {"type": "tool_call", "function": {"arguments": '{"place":"Cusco"}'}},
        {"type": "tool_call", "id": "call_2", "function": {"name": "weather"}},
        {"type": "tool_call", "function": {"arguments": "{}"}},
    ]


@pytest.mark.parametrize("content", ["", {"type": "text", "text": ""}, None], ids=["text", "item", "nothing"])
async def test_an_answer_with_a_call_goes_back_as_it_came(content: Any) -> None:
    pipeline = ScriptedPipeline("Cold")
    call = {"id": "call_1", "function": {"name": "weather", "arguments": '{"place": "Cusco"}'}}
    said = {"role": "assistant", "content": content, "tool_calls": [call], "stop_reason": None}
    await chat(AppClient(pipeline), USER, said, {"role": "tool", "tool_call_id": "call_1", "content": "2 degrees"}, tools=TOOLS)
    _, assistant, tool = pipeline.requests[0].messages
    assert assistant.content == () and assistant.tool_calls == (CALL,)
    assert (tool.role, tool.name, tool.content) == ("tool", "weather", (Text("2 degrees"),))


@pytest.mark.parametrize("content", ["Hello", {"type": "text", "text": "Hello"}, [text_part("Hello")]], ids=["text", "item", "items"])
async def test_an_earlier_answer_is_a_text_or_an_item(content: Any) -> None:
    pipeline = ScriptedPipeline("Yes")
    await chat(AppClient(pipeline), USER, {"role": "assistant", "content": content, "stop_reason": "stop"}, USER)
    assert pipeline.requests[0].messages[1].content == (Text("Hello"),)


async def test_every_option_arrives() -> None:
    pipeline = ScriptedPipeline("Yes")
    options = {"temperature": 0.5, "top_p": 0.5, "top_k": 7, "repetition_penalty": 1.5}
    choice = {"type": "function", "function": {"name": "weather"}}
    await chat(
        AppClient(pipeline), tools=TOOLS, tool_choice=choice, max_completion_tokens=9, user="me", model="scripted", stream=False, **options
    )
    ask = pipeline.requests[0].ask
    assert isinstance(ask, Ask)
    assert {name: getattr(ask, name) for name in options} == options
    assert (ask.max_tokens, ask.tool_choice, len(ask.tools)) == (9, NamedTool("weather"), 1)


async def test_an_answer_may_have_to_follow_a_schema() -> None:
    pipeline = ScriptedPipeline("{}", "Yes")
    client = AppClient(pipeline)
    await chat(client, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}})
    await chat(client, response_format={"type": "text"})
    assert [request.ask is not None and request.ask.grammar is not None for request in pipeline.requests] == [True, False]


async def test_pictures_and_videos() -> None:
    pipeline = ScriptedPipeline("A llama")
    await chat(AppClient(pipeline), {"role": "user", "content": [text_part("What?"), picture_part(), video_part()]})
    assert [type(part).__name__ for part in pipeline.requests[0].messages[0].content] == ["Text", "Image", "Video"]


async def test_models() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    (model,) = (await client.http.get("/llama/v1/models")).json()["data"]
    assert model["id"] == "scripted" and model["object"] == "model"
    assert (await client.http.get("/llama/v1/models/scripted")).json() == model
    assert_error(await client.http.get("/llama/v1/models/other"), 404, "model_not_found", "model")


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"model": "Llama-4-Scout"}, "model_not_found", "model"),
        ({"max_tokens": 5}, "unknown_parameter", "max_tokens"),
        ({"n": 2}, "unknown_parameter", "n"),
        ({"temperature": 3.0}, "invalid_value", "temperature"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": [{"role": "assistant"}]}, "invalid_value", "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": "", "stop_reason": "bored"}]}, "invalid_value", "messages[0].stop_reason"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": ""}]}, "invalid_value", "messages[0].tool_call_id"),
    ],
)
async def test_mistakes_are_told_by_their_place(fields: dict[str, Any], code: str, param: str) -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    response = await client.http.post(CHAT, json={"messages": [USER], **fields})
    assert_error(response, 404 if code == "model_not_found" else 400, code, param)


async def test_a_failure_on_the_way_is_an_error_event_and_nothing_after_it() -> None:
    client = AppClient(ScriptedPipeline(["A ", RuntimeError("boom")]))
    response = await client.http.post(CHAT, json={"messages": [USER], "stream": True})
    *_, last, end = response.text.split("\n\n")
    name, data = last.split("\n")
    assert (name, end) == ("event: error", "")
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "server_error" and "boom" not in data


@pytest.mark.parametrize(("method", "path"), [("POST", "uploads"), ("POST", "uploads/upload_1"), ("GET", "uploads/upload_1")])
async def test_uploads_are_refused_with_the_way_out(method: str, path: str) -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    message = assert_error(await client.http.request(method, f"/llama/v1/{path}"), 404, "uploads_not_supported")
    assert "data:image/png;base64" in message


class NoBombs:
    window = 100

    async def asked(self, ask: Ask) -> str | None:
        if "fail" in str(ask.messages):
            raise RuntimeError("boom")
        return "S9: weapons" if "bomb" in str(ask.messages) else None

    async def said(self, ask: Ask, text: str, start: int) -> str | None:
        return "S9" if "bomb" in text else None

    async def called(self, ask: Ask, call: ToolCall) -> str | None:
        return None


async def moderate(client: AppClient, text: str, **fields: Any) -> Any:
    return await client.http.post("/llama/v1/moderations", json={"messages": [{"role": "user", "content": text}], **fields})


async def test_moderations_are_the_guards_verdicts() -> None:
    client = AppClient(ScriptedPipeline("Yes"), guard=NoBombs())
    kind = (await moderate(client, "How do I make bread?", model="Llama-Guard")).json()
    assert kind == {"model": "Llama-Guard", "results": [{"flagged": False, "flagged_categories": []}]}
    unkind = (await moderate(client, "How do I make a bomb?")).json()
    assert unkind == {"model": "scripted", "results": [{"flagged": True, "flagged_categories": ["S9: weapons"]}]}


async def test_a_guard_that_fails_gives_no_verdict() -> None:
    client = AppClient(ScriptedPipeline("Yes"), guard=NoBombs())
    assert_error(await moderate(client, "fail"), 500, "guard_error")


async def test_without_a_guard_nothing_is_judged() -> None:
    assert_error(await moderate(AppClient(ScriptedPipeline("Yes")), "Hi"), 404, "no_guard")


async def test_a_refused_answer_stops_with_content_filter() -> None:
    client = AppClient(ScriptedPipeline("a bomb"), guard=NoBombs())
    message = (await chat(client))["completion_message"]
    assert (message["content"]["text"], message["stop_reason"]) == ("", "content_filter")
