"""The Responses API over the app: what is asked, what is kept, what is refused. Every event is read by the `openai` client's own types."""

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest
from openai.types import responses as theirs
from pydantic import BaseModel, TypeAdapter

from puna.engine import Grammar
from puna.pipeline import NamedTool
from puna.serve.limits import Limits
from puna.serve.store import Store
from puna.stream import Image, Text, ToolCall, Video
from puna.testing.pictures import corners_picture, encoded
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error, data_url
from puna.testing.videos import mp4

pytestmark = pytest.mark.anyio

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
DEEP: dict[str, Any] = {"type": "object"}
for _ in range(Limits().schema_depth):
    DEEP = {"not": DEEP}
FAR = {"type": "namespace", "name": "far", "description": "", "tools": [{"type": "function", "name": "weather", "parameters": DEEP}]}
CALL = ToolCall("weather", {"place": "Cusco"}, "call_1")
EVENT: TypeAdapter[Any] = TypeAdapter(theirs.ResponseStreamEvent)
# What OpenAI's responses have on the wire, and Open Responses demands, though the client's types leave it out.
UNTYPED = {"store", "presence_penalty", "frequency_penalty"}


class Client(AppClient):
    def __init__(self, tmp_path, *replies: Any, limits: Limits | None = None, **options: Any) -> None:
        self.pipeline = ScriptedPipeline(*(replies or ("A white llama",)), **options)
        super().__init__(self.pipeline, limits, store=Store(tmp_path / "store" / "responses.sqlite3"))

    async def ask(self, input: Any = "Hi", **fields: Any) -> httpx.Response:
        return await self.http.post("/v1/responses", json={"input": input, **fields})

    async def answer(self, input: Any = "Hi", **fields: Any) -> dict[str, Any]:
        response = await self.ask(input, **fields)
        assert response.status_code == 200, response.text
        checked(theirs.Response, response.json())
        return response.json()

    async def told(self, input: Any = "Hi", **fields: Any) -> list[dict[str, Any]]:
        response = await self.ask(input, stream=True, **fields)
        assert response.status_code == 200, response.text
        return events_of(response.text)

    async def get(self, id: str, path: str = "", **query: Any) -> httpx.Response:
        return await self.http.get(f"/v1/responses/{id}{path}", params=query)

    @property
    def seen(self) -> Any:
        """The last messages that the model was asked with, as (role, text, calls)."""
        return [(message.role, message.text, len(message.tool_calls)) for message in self.pipeline.requests[-1].messages]


def checked(kind: type[BaseModel], data: Any) -> Any:
    """Valid for the client's type, with no field that it does not know."""
    model = kind.model_validate(data)
    _assert_known(model)
    return model


def _assert_known(model: Any) -> None:
    if isinstance(model, BaseModel):
        unknown = set(model.model_extra or ()) - UNTYPED
        assert not unknown, (type(model).__name__, unknown)
        for name in type(model).model_fields:
            _assert_known(getattr(model, name))
    elif isinstance(model, list):
        for each in model:
            _assert_known(each)


def events_of(text: str) -> list[dict[str, Any]]:
    *frames, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    events = []
    for frame in frames:
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        _assert_known(EVENT.validate_python(event))
        events.append(event)
    return events


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


@pytest.fixture
def client(tmp_path) -> Client:
    return Client(tmp_path)


async def test_an_answer(client) -> None:
    answer = await client.answer(metadata={"a": "b"}, user="me", temperature=0.5, max_output_tokens=50)
    (item,) = answer["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    assert item["content"] == [{"type": "output_text", "text": "A white llama", "annotations": [], "logprobs": []}]
    assert (answer["status"], answer["store"], answer["temperature"], answer["metadata"]) == ("completed", True, 0.5, {"a": "b"})
    assert answer["usage"]["output_tokens"] == 3
    assert answer["usage"]["total_tokens"] == 3 + answer["usage"]["input_tokens"]
    assert client.pipeline.requests[0].ask.max_tokens == 50
    assert (await client.get(answer["id"])).json() == answer


async def test_a_stream(client) -> None:
    events = await client.told()
    message = ["output_text.delta"] * 3 + ["output_text.done", "content_part.done", "output_item.done"]
    assert types(events) == ["created", "in_progress", "output_item.added", "content_part.added", *message, "completed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "A white llama"
    last = events[-1]["response"]
    assert (await client.get(last["id"])).json() == last
    assert events[0]["response"]["id"] == last["id"] and events[0]["response"]["status"] == "in_progress"


async def test_text_and_calls_in_a_stream_are_items_in_order(tmp_path) -> None:
    client = Client(tmp_path, ["Let me see. ", CALL, "And."])
    events = await client.told(tools=[WEATHER])
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert output[1] | {"id": ""} == {
        "type": "function_call", "id": "", "call_id": "call_1", "name": "weather", "arguments": '{"place":"Cusco"}', "status": "completed",
    }  # fmt: skip
    arguments = [event for event in events if "arguments" in event["type"]]
    assert types(arguments) == ["function_call_arguments.delta", "function_call_arguments.done"]
    assert [event["item"] for event in events if event["type"] == "response.output_item.done"] == output
    assert (await client.answer(tools=[WEATHER]))["output"][1]["arguments"] == '{"place":"Cusco"}'


async def test_functions_of_a_namespace_are_known_by_their_whole_names(tmp_path) -> None:
    far = {"type": "namespace", "name": "mcp__far", "description": "Far away.", "tools": [WEATHER | {"description": "Warm or cold?"}]}
    called = ToolCall("mcp__far.weather", {"place": "Cusco"}, "call_1")
    client = Client(tmp_path, [called], "It is cold", [CALL], [ToolCall("time", {}, "call_2")])
    events = await client.told("Cold?", tools=[WEATHER, far], client_metadata={"session_id": "x"})
    functions = [tool["function"] for tool in client.pipeline.requests[0].ask.tools]
    assert [(function["name"], function.get("description")) for function in functions] == [
        ("weather", None), ("mcp__far.weather", "Far away.\nWarm or cold?"),
    ]  # fmt: skip
    items = [event["item"] for event in events if event["type"].startswith("response.output_item.")]
    assert [(item["namespace"], item["name"]) for item in items] == [("mcp__far", "weather")] * 2
    assert events[-1]["response"]["tools"][1]["tools"][0]["name"] == "weather"
    result = {"type": "function_call_output", "call_id": "call_1", "output": "2 degrees"}
    await client.answer([{"role": "user", "content": "Cold?"}, items[-1], result], tools=[far], store=False)
    assert client.pipeline.requests[-1].messages[1].tool_calls == (called,)
    for name in ("weather", "time"):  # of no namespace; the second was not even offered
        (item,) = (await client.answer(tools=[WEATHER, far]))["output"]
        assert item["name"] == name and "namespace" not in item


async def test_a_function_of_a_namespace_can_be_the_one_to_call(client) -> None:
    far = {"type": "namespace", "name": "far", "description": "", "tools": [WEATHER]}
    await client.answer(tools=[far], tool_choice={"type": "function", "name": "far.weather"})
    assert client.pipeline.requests[-1].ask.tool_choice == NamedTool("far.weather")
    assert_error(await client.ask(tools=[far], tool_choice={"type": "function", "name": "weather"}), 400, "invalid_value", "tool_choice")


async def test_a_conversation_goes_on_from_its_id(tmp_path) -> None:
    client = Client(tmp_path, ["Let me see. ", CALL], "It is cold", "You are welcome")
    first = await client.answer("Cold?", instructions="Be brief.", tools=[WEATHER])
    assert client.seen == [("system", "Be brief.", 0), ("user", "Cold?", 0)]
    result = {"type": "function_call_output", "call_id": "call_1", "output": "2 degrees"}
    second = await client.answer([result], previous_response_id=first["id"])
    turn = [("user", "Cold?", 0), ("assistant", "Let me see. ", 1), ("tool", "2 degrees", 0)]
    assert client.seen == turn  # the instructions were the first answer's alone
    assert client.pipeline.requests[-1].messages[-1].name == "weather"
    await client.answer("Thanks", previous_response_id=second["id"])
    assert client.seen == [*turn, ("assistant", "It is cold", 0), ("user", "Thanks", 0)]


async def test_a_conversation_that_is_sent_whole_reads_the_same(tmp_path) -> None:
    client = Client(tmp_path, ["Let me see. ", CALL], "It is cold")
    first = await client.answer("Cold?", tools=[WEATHER], store=False)
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": []}
    result = {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "2 degrees"}]}
    await client.answer([{"role": "user", "content": "Cold?"}, reasoning, *first["output"], result], store=False)
    assert client.seen == [("user", "Cold?", 0), ("assistant", "Let me see. ", 1), ("tool", "2 degrees", 0)]


async def test_assistant_messages_that_follow_each_other_stay_apart(client) -> None:
    said = [{"role": "assistant", "content": text} for text in ("a", "b")]
    await client.answer([{"role": "developer", "content": "s"}, *said, {"role": "user", "content": "c"}])
    assert client.seen == [("system", "s", 0), ("assistant", "a", 0), ("assistant", "b", 0), ("user", "c", 0)]


async def test_pictures_and_videos(client) -> None:
    picture = {"type": "input_image", "image_url": data_url(encoded(corners_picture(20, 30)))}
    video = {"type": "input_video", "video_url": data_url(mp4(), "video/mp4")}
    answer = await client.answer([{"role": "user", "content": [{"type": "input_text", "text": "What?"}, picture, video]}])
    assert [type(part) for part in client.pipeline.requests[0].messages[0].content] == [Text, Image, Video]
    (item,) = (await client.get(answer["id"], "/input_items")).json()["data"]
    assert item["content"][1]["image_url"] == picture["image_url"]
    await client.answer("And now?", previous_response_id=answer["id"])
    assert [type(part) for part in client.pipeline.requests[1].messages[0].content] == [Text, Image, Video]


async def test_input_items_come_by_the_page(client) -> None:
    messages = [{"role": "user", "content": text} for text in "abc"]
    id = (await client.answer(messages))["id"]
    page = (await client.get(id, "/input_items", limit=2)).json()
    checked(theirs.ResponseItemList, page)
    assert [item["content"][0]["text"] for item in page["data"]] == ["c", "b"] and page["has_more"]
    rest = (await client.get(id, "/input_items", after=page["last_id"])).json()
    assert [item["content"][0]["text"] for item in rest["data"]] == ["a"] and not rest["has_more"]
    forward = (await client.get(id, "/input_items", order="asc")).json()
    assert [item["content"][0]["text"] for item in forward["data"]] == ["a", "b", "c"]
    assert_error(await client.get(id, "/input_items", after="x"), 400, "invalid_value", "after")
    assert_error(await client.get(id, "/input_items", limit=0), 400, "invalid_value", "limit")
    assert_error(await client.get(id, "/input_items", flavour=1), 400, "unknown_parameter", "flavour")


async def test_an_item_can_be_named_by_its_id(client) -> None:
    first = await client.answer("Hello")
    items = [{"type": "item_reference", "id": first["output"][0]["id"]}, {"role": "user", "content": "Why?"}]
    second = await client.answer(items)
    assert client.seen == [("assistant", "A white llama", 0), ("user", "Why?", 0)]
    kept = (await client.get(second["id"], "/input_items", order="asc")).json()["data"]
    assert kept[0]["content"][0]["text"] == "A white llama"
    for id in ("msg_1", first["output"][0]["id"] + "9"):
        assert_error(await client.ask([{"type": "item_reference", "id": id}]), 404, "item_not_found", "input[0].id")


async def test_nothing_is_kept_of_what_shall_not_be(client) -> None:
    answer = await client.answer(store=False)
    assert answer["store"] is False
    assert_error(await client.get(answer["id"]), 404, "response_not_found", "response_id")
    refused = await client.ask(previous_response_id=answer["id"])
    assert_error(refused, 400, "previous_response_not_found", "previous_response_id")
    assert (await client.told(store=False))[-1]["response"]["store"] is False


async def test_deleting(client) -> None:
    first = await client.answer()
    second = await client.answer(previous_response_id=first["id"])
    deleted = (await client.http.delete(f"/v1/responses/{first['id']}")).json()
    assert deleted == {"id": first["id"], "object": "response", "deleted": True}
    assert_error(await client.get(first["id"]), 404, "response_not_found", "response_id")
    assert_error(await client.http.delete(f"/v1/responses/{first['id']}"), 404, "response_not_found", "response_id")
    message = assert_error(await client.ask(previous_response_id=second["id"]), 400, "previous_response_not_found", "previous_response_id")
    assert first["id"] in message


async def test_a_conversation_is_no_longer_than_a_body_may_be(tmp_path) -> None:
    client = Client(tmp_path, limits=Limits(body_bytes=4000))
    first = await client.answer("x" * 3000)
    refused = await client.ask("z", previous_response_id=first["id"])
    assert_error(refused, 400, "conversation_too_long", "previous_response_id")


async def test_options_reach_the_model(client) -> None:
    await client.answer(top_p=0.5, seed=7, top_k=3, presence_penalty=1, top_logprobs=2, parallel_tool_calls=False)
    ask = client.pipeline.requests[-1].ask
    assert (ask.top_p, ask.seed, ask.top_k, ask.presence_penalty, ask.logprobs, ask.parallel_tool_calls) == (0.5, 7, 3, 1, 2, False)
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    await client.answer(text={"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}})
    assert client.pipeline.requests[-1].ask.grammar == Grammar.json_schema(schema)
    await client.answer(text={"format": {"type": "json_object"}})
    assert client.pipeline.requests[-1].ask.grammar == Grammar.json_schema({"type": "object"})
    await client.answer(tools=[WEATHER], text={"format": {"type": "json_object"}})
    assert client.pipeline.requests[-1].ask.has_form_or_calls
    await client.answer(tools=[WEATHER], tool_choice={"type": "function", "name": "weather"})
    assert client.pipeline.requests[-1].ask.tool_choice == NamedTool("weather")
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "weather"}]}
    await client.answer(tools=[WEATHER, WEATHER | {"name": "time"}], tool_choice=allowed)
    ask = client.pipeline.requests[-1].ask
    assert ask.tool_choice == "required" and [tool["function"]["name"] for tool in ask.tools] == ["weather"]


async def test_scores(client) -> None:
    answer = await client.answer(include=["message.output_text.logprobs"], top_logprobs=1)
    logprobs = answer["output"][0]["content"][0]["logprobs"]
    assert "".join(each["token"] for each in logprobs) == "A white llama"
    assert logprobs[0]["top_logprobs"] == [{"token": "A ", "bytes": [65, 32], "logprob": -0.5}]
    deltas = [event for event in await client.told(top_logprobs=0) if event["type"] == "response.output_text.delta"]
    assert deltas[0]["logprobs"][0]["token"] == "A "


async def test_an_answer_cut_short_is_incomplete(tmp_path) -> None:
    client = Client(tmp_path)
    answer = await client.answer(max_output_tokens=2)
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert answer["output"][0]["status"] == "incomplete" and answer["completed_at"] is None
    events = await client.told(max_output_tokens=2)
    assert events[-1]["type"] == "response.incomplete"
    await client.answer("Go on", previous_response_id=answer["id"])
    assert client.seen[1] == ("assistant", "A white ", 0)


async def test_an_empty_answer_is_an_answer(tmp_path) -> None:
    client = Client(tmp_path, "")
    assert (await client.answer())["output"][0]["content"][0]["text"] == ""
    assert "output_text.done" in types(await client.told())


async def test_a_failure_in_a_stream_is_told_and_kept(tmp_path) -> None:
    client = Client(tmp_path, ["A ", CALL, "b", RuntimeError("inside")])
    events = await client.told(tools=[WEATHER])
    assert types(events)[-3:] == ["output_item.done", "error", "failed"]
    failed = events[-1]["response"]
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
    assert "inside" not in json.dumps(events)
    assert (await client.get(failed["id"])).json() == failed
    refused = await client.ask(previous_response_id=failed["id"])
    assert_error(refused, 400, "previous_response_not_usable", "previous_response_id")
    assert_error(await client.ask(), 500, None)


BACKGROUND = {"background": True}
BROKEN = {"type": "input_image", "image_url": "data:x"}


async def ended(client: Client, id: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while (found := (await client.get(id)).json())["status"] in ("queued", "in_progress"):
            await asyncio.sleep(0.005)
    checked(theirs.Response, found)
    return found


async def test_in_the_background(tmp_path) -> None:
    hold = threading.Semaphore(0)
    client = Client(tmp_path, "A white llama", hold=hold)
    begun = await client.answer(**BACKGROUND)
    assert (begun["status"], begun["background"], begun["output"]) == ("queued", True, [])
    hold.release()
    async with asyncio.timeout(5):
        while not (found := (await client.get(begun["id"])).json())["output"]:
            await asyncio.sleep(0.005)
    assert found["status"] == "in_progress" and found["output"][0]["content"][0]["text"] == "A "
    refused = await client.ask(previous_response_id=begun["id"])
    assert_error(refused, 400, "previous_response_not_usable", "previous_response_id")
    hold.release(20)
    assert (await ended(client, begun["id"]))["output"][0]["content"][0]["text"] == "A white llama"
    async with asyncio.timeout(5):
        while client.core.in_flight:
            await asyncio.sleep(0.005)
    assert_error(await client.get(begun["id"], stream=True), 400, "not_streamable", "stream")


async def test_a_background_stream_can_be_taken_up_again(tmp_path) -> None:
    hold = threading.Semaphore(0)
    client = Client(tmp_path, "A white llama", hold=hold)
    following = asyncio.create_task(client.told(**BACKGROUND))
    async with asyncio.timeout(5):
        while not client.pipeline.requests:
            await asyncio.sleep(0.005)
    (id,) = client.app.state.keeper.live
    second = asyncio.create_task(client.get(id, stream=True, starting_after=1))
    hold.release(20)
    events = await following
    assert types(events)[-1] == "completed"
    assert events_of((await second).text) == events[2:]
    await ended(client, id)
    assert events_of((await client.get(id, stream=True)).text) == events
    assert events_of((await client.get(id, stream=True, starting_after=3)).text) == events[4:]


async def test_cancelling(tmp_path) -> None:
    hold = threading.Semaphore(0)
    client = Client(tmp_path, "A white llama", hold=hold)
    id = (await client.answer(**BACKGROUND))["id"]
    hold.release()
    async with asyncio.timeout(5):
        while not (await client.get(id)).json()["output"]:
            await asyncio.sleep(0.005)
    cancelled = (await client.http.post(f"/v1/responses/{id}/cancel")).json()
    checked(theirs.Response, cancelled)
    assert (cancelled["status"], cancelled["output"][0]["status"]) == ("cancelled", "incomplete")
    assert (await client.get(id)).json() == cancelled == (await client.http.post(f"/v1/responses/{id}/cancel")).json()
    assert client.pipeline.running == 0 and client.core.in_flight == 0
    hold.release(20)
    foreground = (await client.answer())["id"]
    assert_error(await client.http.post(f"/v1/responses/{foreground}/cancel"), 400, "not_in_background", "response_id")
    assert_error(await client.http.post("/v1/responses/resp_1/cancel"), 404, "response_not_found", "response_id")


async def test_deleting_what_runs_stops_it(tmp_path) -> None:
    client = Client(tmp_path, "word " * 1000, seconds_per_token=0.001)
    id = (await client.answer(**BACKGROUND))["id"]
    assert (await client.http.delete(f"/v1/responses/{id}")).status_code == 200
    assert client.pipeline.running == 0
    assert_error(await client.get(id), 404, "response_not_found", "response_id")


async def test_a_background_that_fails_says_so(tmp_path) -> None:
    client = Client(tmp_path, ["A ", RuntimeError("inside")])
    failed = await ended(client, (await client.answer(**BACKGROUND))["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")


async def test_the_end_of_the_server_ends_a_background(tmp_path) -> None:
    client = Client(tmp_path, "word " * 1000, seconds_per_token=0.005)
    id = (await client.answer(**BACKGROUND))["id"]
    await client.core.drain(0.01)
    failed = await ended(client, id)
    assert failed["status"] == "failed" and "shutting down" in failed["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"input": []}, "invalid_value", "input"),
        ({"input": 3}, "invalid_type", "input"),
        ({"input": [{"type": "web_search_call"}]}, "invalid_value", "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "invalid_value", "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}]}, "invalid_value", "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [BROKEN]}]}, "invalid_image", "input[0].content[0].image_url"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]}, "invalid_value", "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "x", "name": "f", "arguments": "{"}]}, "invalid_value", "input[0].arguments"),
        ({"tools": [{"type": "web_search"}]}, "invalid_value", "tools[0].type"),
        ({"tools": [{**FAR, "tools": []}]}, "invalid_value", "tools[0].tools"),
        ({"tools": [{**FAR, "tools": [{"type": "custom", "name": "x"}]}]}, "invalid_value", "tools[0].tools[0].type"),
        ({"tools": [FAR]}, "schema_too_deep", "tools[0].tools[0].parameters"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tool_choice": {"type": "mcp"}}, "invalid_value", "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "missing_required_parameter", "text.format.schema"),
        ({"truncation": "auto"}, "unsupported_parameter", "truncation"),
        ({"conversation": "conv_1"}, "unsupported_parameter", "conversation"),
        ({"prompt": {"id": "x"}}, "unsupported_parameter", "prompt"),
        ({"reasoning": {"effort": "high"}}, "invalid_value", "reasoning.effort"),
        ({"include": ["everything"]}, "invalid_value", "include[0]"),
        ({"temperature": 3}, "invalid_value", "temperature"),
        ({"max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
        ({"metadata": {"a": "b" * 513}}, "invalid_value", "metadata.a"),
        ({"stream_options": {}}, "invalid_value", "stream_options"),
        ({"background": True, "store": False}, "invalid_value", "background"),
        ({"messages": []}, "unknown_parameter", "messages"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused_by_name(client, fields, code, param) -> None:
    response = await client.http.post("/v1/responses", json={"input": "Hi", **fields})
    assert_error(response, 400, code, param)
    assert client.pipeline.requests == []


async def test_another_model_is_not_here(client) -> None:
    assert_error(await client.ask(model="gpt-5"), 404, "model_not_found", "model")


async def test_a_refused_request_is_not_kept(client) -> None:
    assert_error(await client.ask("x" * 9000, stream=True), 400, "context_length_exceeded", "messages")
    assert client.app.state.keeper.live == {}


async def test_without_a_store_everything_is_answered_and_nothing_kept() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    answer = (await client.http.post("/v1/responses", json={"input": "Hi"})).json()
    assert (answer["status"], answer["store"]) == ("completed", False)
    for name, value in (("store", True), ("background", True), ("previous_response_id", "resp_1")):
        assert_error(await client.http.post("/v1/responses", json={"input": "Hi", name: value}), 400, "no_store", name)
    assert_error(await client.http.get(f"/v1/responses/{answer['id']}"), 404, "no_store")
