"""OpenAI chat completions in and out: what the pipeline is asked, and what the client gets."""

import json
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from puna.engine import Grammar, Sampling
from puna.media import load_image, load_video
from puna.pipeline import Ask, NamedTool
from puna.presets import preset
from puna.serve.limits import Limits
from puna.serve.openai.wire import ONLY
from puna.stream import Message, Text, ToolCall
from puna.testing.pictures import corners_picture, encoded
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient, assert_error, data_url, picture_part, text_part, video_part
from puna.testing.videos import gif, mp4, sound, webm, webp

pytestmark = pytest.mark.anyio

WEATHER = {"type": "function", "function": {"name": "weather", "description": "Weather of a place", "parameters": {"type": "object"}}}
EMPTY_FIELDS_OF_EARLIER_ANSWERS = {"refusal": None, "annotations": [], "audio": None, "function_call": None}
USAGE = {"prompt_tokens": 25, "completion_tokens": 2, "total_tokens": 27, "prompt_tokens_details": {"cached_tokens": 0}}
CALL = ToolCall("weather", {"place": "Cusco", "days": 2})


async def asked(*messages: Any, **fields: Any) -> tuple[tuple[Message, ...], Ask]:
    """What a pipeline is asked for a request."""
    pipeline = ScriptedPipeline("Yes")
    response = await AppClient(pipeline).chat(*messages, **fields)
    assert response.status_code == 200, response.text
    (request,) = pipeline.requests
    assert request.ask is not None
    return request.messages, request.ask


# --- Answers ---


async def test_an_answer_has_openais_shape() -> None:
    response = await AppClient(ScriptedPipeline("Hello there", name="scout-nano")).chat(model="scout-nano")
    answer = response.json()
    assert answer.pop("id").startswith("chatcmpl-")
    assert isinstance(answer.pop("created"), int)
    assert answer == {
        "object": "chat.completion",
        "model": "scout-nano",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


async def test_an_answer_cut_at_max_tokens_says_length() -> None:
    answer = (await AppClient(ScriptedPipeline("one two three")).chat(max_tokens=2)).json()
    assert answer["choices"][0]["message"]["content"] == "one two "
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 2


async def test_tool_calls_come_out_with_json_arguments_and_null_content() -> None:
    answer = (await AppClient(ScriptedPipeline([CALL])).chat(tools=[WEATHER])).json()
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["type"] == "function"
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"place": "Cusco", "days": 2}


async def test_text_before_a_tool_call_is_kept() -> None:
    answer = (await AppClient(ScriptedPipeline(["Let me see. ", CALL])).chat(tools=[WEATHER])).json()
    assert answer["choices"][0]["message"]["content"] == "Let me see. "
    assert len(answer["choices"][0]["message"]["tool_calls"]) == 1


async def test_several_choices_are_numbered() -> None:
    answer = (await AppClient(ScriptedPipeline("one", "two three")).chat(n=2)).json()
    assert [(choice["index"], choice["message"]["content"]) for choice in answer["choices"]] == [(0, "one"), (1, "two three")]
    assert answer["usage"]["completion_tokens"] == 3


async def test_tokens_read_from_the_cache_are_told() -> None:
    usage = (await AppClient(ScriptedPipeline("Yes", cached_tokens=7)).chat()).json()["usage"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 7}


async def test_logprobs_come_token_by_token_whole_and_streamed() -> None:
    client = AppClient(ScriptedPipeline("Grüß dich"))
    whole = (await client.chat(logprobs=True, top_logprobs=1)).json()["choices"][0]["logprobs"]
    assert whole["refusal"] is None
    first = whole["content"][0]
    assert first == {
        "token": "Grüß ",
        "logprob": -0.5,
        "bytes": list("Grüß ".encode()),
        "top_logprobs": [{"token": "Grüß ", "logprob": -0.5, "bytes": list("Grüß ".encode())}],
    }
    chunks = (await client.events(logprobs=True, top_logprobs=1))[:-1]
    pieces = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [entry for piece in pieces if piece for entry in piece["content"]] == whole["content"]
    assert (await client.chat()).json()["choices"][0]["logprobs"] is None


# --- Streams ---


async def test_a_stream_sends_role_text_reason_and_done() -> None:
    *chunks, done = await AppClient(ScriptedPipeline("Hello there", name="scout-nano")).events()
    assert done == "[DONE]"
    assert len({chunk.pop("id") for chunk in chunks}) == 1
    assert len({chunk.pop("created") for chunk in chunks}) == 1

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {"object": "chat.completion.chunk", "model": "scout-nano", "choices": [choice]}

    texts = [chunk({"content": "Hello "}), chunk({"content": "there"})]
    assert chunks == [chunk({"role": "assistant", "content": ""}), *texts, chunk({}, "stop")]


async def test_usage_comes_last_and_only_when_asked_for() -> None:
    *chunks, done = await AppClient(ScriptedPipeline("Hello there")).events(stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == USAGE


async def test_a_stream_numbers_its_tool_calls_and_tells_their_arguments_piece_by_piece() -> None:
    other = ToolCall("weather", {"place": "Puno"})
    *chunks, _ = await AppClient(ScriptedPipeline(["Wait. ", CALL, other])).events(tools=[WEATHER])
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    pieces = [call for delta in deltas for call in delta.get("tool_calls", ())]
    begun = [piece for piece in pieces if "id" in piece]
    assert [(piece["index"], piece["type"], piece["function"]) for piece in begun] == [
        (index, "function", {"name": "weather", "arguments": ""}) for index in (0, 1)
    ]
    assert len({piece["id"] for piece in begun}) == 2
    said = ["".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == index) for index in (0, 1)]
    assert [json.loads(each)["place"] for each in said] == ["Cusco", "Puno"]
    assert all(
        piece.keys() == {"index", "function"} and piece["function"].keys() == {"arguments"} for piece in pieces if piece not in begun
    )
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_stream_and_a_whole_answer_say_the_same() -> None:
    client = AppClient(ScriptedPipeline("Llamas are 好 and\n\ntall: data: x"))
    whole = (await client.chat()).json()["choices"][0]["message"]["content"]
    chunks = (await client.events())[:-1]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == whole


async def test_a_stream_of_several_choices_opens_and_ends_each() -> None:
    *chunks, done = await AppClient(ScriptedPipeline("one", "two three")).events(n=2, stream_options={"include_usage": True})
    assert done == "[DONE]" and chunks.pop()["usage"]["completion_tokens"] == 3
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [(choice["index"], choice["delta"]["role"]) for choice in choices[:2]] == [(0, "assistant"), (1, "assistant")]
    said = ["".join(choice["delta"].get("content", "") for choice in choices if choice["index"] == index) for index in (0, 1)]
    assert said == ["one", "two three"]
    assert [choice["index"] for choice in choices if choice["finish_reason"]] == [0, 1]


# --- Messages on their way in ---


async def test_roles_and_texts_reach_the_pipeline() -> None:
    messages, _ = await asked(
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [text_part("Hello"), text_part(" you")]},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": ""},
    )
    assert list(messages) == [
        Message("system", (Text("Be short."),)),
        Message("user", (Text("Hello"), Text(" you"))),
        Message("assistant", (Text("Hi"),)),
        Message("user", (Text(""),)),
    ]


async def test_a_tool_round_reaches_the_pipeline() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Cusco"}'}}
    messages, ask = await asked(
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call], **EMPTY_FIELDS_OF_EARLIER_ANSWERS},
        {"role": "tool", "tool_call_id": "call_1", "content": "cold"},
        tools=[WEATHER],
    )
    assert list(messages[1:]) == [
        Message("assistant", (), (ToolCall("weather", {"place": "Cusco"}, "call_1"),)),
        Message("tool", (Text("cold"),), name="weather"),
    ]
    assert ask.tools == (WEATHER,)


async def test_tool_choice_none_hides_the_tools() -> None:
    _, ask = await asked(USER, tools=[WEATHER], tool_choice="none")
    assert ask.offered_tools == ()


OTHER = {"type": "function", "function": {"name": "hotels"}}
NAMED = {"type": "function", "function": {"name": "hotels"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "auto"), ("auto", "auto"), ("none", "none"), ("required", "required"), (NAMED, NamedTool("hotels"))],
)
async def test_a_choice_of_tools_reaches_the_pipeline(given: Any, expected: Any) -> None:
    _, ask = await asked(USER, tools=[WEATHER, OTHER], tool_choice=given, parallel_tool_calls=False)
    assert (ask.tools, ask.tool_choice, ask.parallel_tool_calls) == ((WEATHER, OTHER), expected, False)


async def test_allowed_tools_are_those_that_the_model_hears_of() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}}
    _, ask = await asked(USER, tools=[WEATHER, OTHER], tool_choice=choice)
    assert (ask.tools, ask.tool_choice) == ((OTHER,), "required")


@pytest.mark.parametrize(
    ("form", "grammar"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, Grammar.json_schema({"type": "object"})),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, Grammar.json_schema({})),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "integer"}}},
            Grammar.json_schema({"type": "integer"}),
        ),
    ],
)
async def test_a_form_becomes_a_grammar(form: Any, grammar: Grammar | None) -> None:
    _, ask = await asked(USER, response_format=form)
    assert ask.grammar == grammar


@pytest.mark.parametrize("choice", ["auto", "none", "required", NAMED])
async def test_a_form_and_tools_go_together(choice: Any) -> None:
    _, ask = await asked(USER, response_format={"type": "json_object"}, tools=[WEATHER, OTHER], tool_choice=choice)
    assert ask.grammar == Grammar.json_schema({"type": "object"}) and ask.tools == (WEATHER, OTHER)


async def test_pictures_reach_the_pipeline_as_tiles_in_their_place() -> None:
    data = encoded(corners_picture(40, 50), "JPEG")
    messages, _ = await asked({"role": "user", "content": [text_part("a"), picture_part(data_url(data, "image/jpeg")), text_part("b")]})
    before, picture, after = messages[0].content
    expected = load_image(data, preset("scout-nano").vision)
    assert (before, after) == (Text("a"), Text("b"))
    assert picture.grid == expected.grid
    np.testing.assert_array_equal(picture.tiles, expected.tiles)


@pytest.mark.parametrize(
    ("make", "declared"),
    [(mp4, "video/mp4"), (webm, "video/webm"), (gif, "image/gif"), (webp, "image/webp")],
    ids=["mp4", "webm", "gif", "webp"],
)
@pytest.mark.parametrize("kind", [video_part, picture_part])
async def test_videos_reach_the_pipeline_as_frames_in_their_place(make, declared: str, kind) -> None:
    data = make()
    messages, _ = await asked({"role": "user", "content": [text_part("a"), kind(data_url(data, declared)), text_part("b")]})
    before, video, after = messages[0].content
    expected = load_video(data, preset("scout-nano").vision)
    assert (before.text, after.text) == ("a", "b")
    assert video.timestamps == expected.timestamps == (0.0, 0.5, 1.0, 1.5, 2.0)
    np.testing.assert_array_equal(video.tiles, expected.tiles)


async def test_a_video_takes_at_most_a_quarter_of_the_context() -> None:
    pipeline = ScriptedPipeline("Yes", config=replace(preset("scout-nano"), max_positions=1000))
    assert (await AppClient(pipeline).chat({"role": "user", "content": [video_part(data_url(mp4(40), "video/mp4"))]})).status_code == 200
    (video,) = pipeline.requests[0].messages[0].content
    assert len(video.timestamps) == 1000 // 4 // (16 + 8) and video.timestamps[-1] == 19.5


async def test_sampling_options_reach_the_pipeline() -> None:
    _, ask = await asked(
        USER,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=-1,
        frequency_penalty=0.5,
        logit_bias={"5": -100, "7": 1.5},
        seed=7,
        stop="END",
        n=2,
        max_completion_tokens=12,
        logprobs=True,
        top_logprobs=3,
    )
    sampling = ask.sampling(12)
    assert (ask.stop, ask.n, ask.max_tokens) == (("END",), 2, 12)
    assert sampling == Sampling(
        max_tokens=12,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        min_p=0.1,
        repetition_penalty=1.1,
        presence_penalty=-1,
        frequency_penalty=0.5,
        logit_bias={5: -100, 7: 1.5},
        seed=7,
        logprobs=3,
    )


@pytest.mark.parametrize("top_k", [0, -1])
async def test_a_top_k_of_none_keeps_every_token(top_k: int) -> None:
    _, ask = await asked(USER, top_k=top_k)
    assert ask.top_k is None


async def test_absent_sampling_options_are_left_to_the_pipeline() -> None:
    pipeline = ScriptedPipeline("Yes")
    assert (await AppClient(pipeline).chat(temperature=None, stop=None)).status_code == 200
    (request,) = pipeline.requests
    assert request.ask == Ask(messages=request.messages)
    assert request.options == {"max_tokens": Limits().default_max_tokens}


async def test_without_a_number_an_answer_may_fill_no_more_than_the_context() -> None:
    pipeline = ScriptedPipeline("Yes", config=replace(preset("scout-nano"), max_positions=30))
    assert (await AppClient(pipeline).chat()).status_code == 200
    assert pipeline.requests[0].options["max_tokens"] == 5  # the prompt has 25 tokens


# --- What is refused ---


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"modalities": ["text", "audio"], "audio": {"voice": "x"}}, "audio"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"store": True}, "store"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"verbosity": "low"}, "verbosity"),
    ],
)
async def test_options_that_would_change_the_answer_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    pipeline = ScriptedPipeline("Yes")
    message = assert_error(await AppClient(pipeline).chat(**fields), 400, "unsupported_parameter", param)
    assert param in message and "leave it out" in message
    assert pipeline.requests == []


async def test_the_same_options_pass_with_the_value_that_changes_nothing() -> None:
    neutral = {name: values[0] for name, values in ONLY.items() if values}
    assert len(neutral) > 3
    assert (await AppClient(ScriptedPipeline("Yes")).chat(**neutral)).status_code == 200
    assert (await AppClient(ScriptedPipeline("Yes")).chat(**dict.fromkeys(ONLY))).status_code == 200


async def test_options_without_effect_are_accepted() -> None:
    fields = {"user": "u", "metadata": {"a": "b"}, "store": False, "service_tier": "auto", "safety_identifier": "s"}
    assert (await AppClient(ScriptedPipeline("Yes")).chat(**fields)).status_code == 200


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": "hello"}, "invalid_type", "messages"),
        ({"messages": [5]}, "invalid_type", "messages[0]"),
        ({"messages": [USER, {"role": "wizard", "content": "x"}]}, "invalid_value", "messages[1].role"),
        ({"messages": [{"content": "x"}]}, "missing_required_parameter", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "invalid_type", "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "Ana"}]}, "invalid_value", "messages[0].name"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "invalid_value", "messages[0].content[0].type"),
        ({"messages": [{"role": "system", "content": [picture_part()]}]}, "invalid_value", "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [picture_part(detail="low")]}]},
            "invalid_value",
            "messages[0].content[0].image_url.detail",
        ),
        ({"messages": [{"role": "user", "content": [text_part(1)]}]}, "invalid_type", "messages[0].content[0].text"),
        ({"messages": [{"role": "assistant", "content": None}]}, "invalid_value", "messages[0].content"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, "invalid_value", "messages[0].tool_call_id"),
        ({"temperature": "1"}, "invalid_type", "temperature"),
        ({"temperature": 2.5}, "invalid_value", "temperature"),
        ({"top_p": 0}, "invalid_value", "top_p"),
        ({"max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"max_tokens": 1.5}, "invalid_type", "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "invalid_value", "max_tokens"),
        ({"seed": 2**70}, "invalid_value", "seed"),
        ({"stop": ""}, "invalid_value", "stop[0]"),
        ({"stop": ["x"] * 17}, "invalid_value", "stop"),
        ({"stream": "yes"}, "invalid_type", "stream"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "invalid_value", "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].function"),
        ({"best_of": 5}, "unknown_parameter", "best_of"),
        ({"n": 0}, "invalid_value", "n"),
        ({"n": 129}, "invalid_value", "n"),
        ({"top_k": -2}, "invalid_value", "top_k"),
        ({"min_p": 2}, "invalid_value", "min_p"),
        ({"presence_penalty": 2.5}, "invalid_value", "presence_penalty"),
        ({"logprobs": 1}, "invalid_type", "logprobs"),
        ({"top_logprobs": 3}, "invalid_value", "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "invalid_value", "top_logprobs"),
        ({"logit_bias": {"5": 101}}, "invalid_value", "logit_bias.5"),
        ({"logit_bias": {"x": 1}}, "invalid_type", "logit_bias.x.[key]"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "invalid_value", "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "custom"}}, "invalid_value", "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "other"}}}, "invalid_value", "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "missing_required_parameter", "tool_choice.function"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "missing_required_parameter", "response_format.json_schema"),
        ({"messages": [{**USER, "reasoning": "x"}]}, "unknown_parameter", "messages[0].reasoning"),
    ],
)
async def test_wrong_requests_are_refused_by_name(fields: dict[str, Any], code: str, param: str) -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    response = await client.http.post("/v1/chat/completions", json={"messages": [USER], **fields})
    assert param.split(".")[-1].split("[")[0] in assert_error(response, 400, code, param)
    assert (await client.chat()).status_code == 200


async def test_a_misspelt_option_names_its_neighbour() -> None:
    message = assert_error(await AppClient(ScriptedPipeline("Yes")).chat(temprature=1), 400, "unknown_parameter", "temprature")
    assert "did you mean temperature?" in message


@pytest.mark.parametrize("arguments", ["{", "[1]", "[" * 100_000])
async def test_tool_arguments_that_are_no_json_object_are_refused(arguments: str) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    response = await AppClient(ScriptedPipeline("Yes")).chat(USER, {"role": "assistant", "tool_calls": [call]})
    assert_error(response, 400, "invalid_value", "messages[1].tool_calls[0].function.arguments")


async def test_a_tool_result_under_another_name_is_refused() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c", "content": "x"}
    client = AppClient(ScriptedPipeline("Yes"))
    assert (await client.chat({"role": "assistant", "tool_calls": [call]}, {**result, "name": "f"})).status_code == 200
    response = await client.chat({"role": "assistant", "tool_calls": [call]}, {**result, "name": "g"})
    assert_error(response, 400, "invalid_value", "messages[1].name")


async def test_another_models_name_is_not_found() -> None:
    response = await AppClient(ScriptedPipeline("Yes", name="scout-nano")).chat(model="gpt-4o")
    assert "scout-nano" in assert_error(response, 404, "model_not_found", "model")


async def test_a_prompt_beyond_the_context_is_refused_and_never_cut() -> None:
    pipeline = ScriptedPipeline("Yes", config=replace(preset("scout-nano"), max_positions=25))
    client = AppClient(pipeline)
    message = assert_error(await client.chat(), 400, "context_length_exceeded", "messages")
    assert "25 tokens" in message and "maximum context length is 25 tokens" in message  # the words that clients look for
    assert pipeline.requests == []


async def test_an_answer_that_cannot_fit_is_refused() -> None:
    pipeline = ScriptedPipeline("Yes", config=replace(preset("scout-nano"), max_positions=30))
    assert (await AppClient(pipeline).chat(max_tokens=5)).status_code == 200
    message = assert_error(await AppClient(pipeline).chat(max_tokens=6), 400, "context_length_exceeded", "messages")
    assert "at most 5" in message


async def test_messages_and_pictures_have_a_number() -> None:
    client = AppClient(ScriptedPipeline("Yes"), Limits(messages=2, pictures=2))
    assert (await client.chat(USER, USER)).status_code == 200
    assert_error(await client.chat(USER, USER, USER), 400, "too_many_messages", "messages")
    assert (await client.chat({"role": "user", "content": [picture_part()] * 2})).status_code == 200
    response = await client.chat({"role": "user", "content": [picture_part()]}, {"role": "user", "content": [picture_part()] * 2})
    assert_error(response, 400, "too_many_images", "messages")


@pytest.mark.parametrize("part", [video_part(), picture_part(data_url(gif(), "image/gif"))], ids=["video", "animated picture"])
async def test_videos_have_a_number_whatever_they_come_as(part: dict) -> None:
    client = AppClient(ScriptedPipeline("Yes"), Limits(videos=2))
    assert (await client.chat({"role": "user", "content": [part] * 2})).status_code == 200
    response = await client.chat({"role": "user", "content": [part]}, {"role": "user", "content": [part] * 2})
    assert "3 videos" in assert_error(response, 400, "too_many_videos", "messages")


# --- Pictures that are refused ---


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"")


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        (data_url(encoded(corners_picture(60, 60))[:-60]), "invalid_image", "cut short"),
        (data_url(header_only_png(10_000, 10_000)), "invalid_image", "10,000 x 10,000"),
        (data_url(b"not a picture"), "invalid_image", "not a PNG"),
        ("data:image/png;base64,@@@", "invalid_image", "base64"),
        ("data:text/plain;base64,aGk=", "invalid_image", "text/plain"),
        ("/etc/passwd", "invalid_image", "data:"),
        ("file:///etc/passwd", "image_url_not_supported", "reads none; send the picture as data:image/png"),
        ("https://example.org/cat.png", "image_url_not_supported", "fetches none"),
        ("HTTP://127.0.0.1/cat.png", "image_url_not_supported", "fetches none"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
async def test_pictures_that_cannot_be_read_are_refused_before_the_answer(url: str, code: str, says: str, stream: bool) -> None:
    pipeline = ScriptedPipeline("Yes")
    client = AppClient(pipeline)
    response = await client.chat(USER, {"role": "user", "content": [text_part("What is it?"), picture_part(url)]}, stream=stream)
    assert says in assert_error(response, 400, code, "messages[1].content[1].image_url")
    assert pipeline.requests == []
    assert (await client.chat()).status_code == 200


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        (data_url(mp4()[:-400], "video/mp4"), "invalid_video", "damaged, cut short or no video"),
        (data_url(webm(40)[:900], "video/webm"), "invalid_video", "cut short"),
        (data_url(sound(), "video/mp4"), "invalid_video", "no video stream"),
        (data_url(encoded(corners_picture(60, 60)), "image/png"), "invalid_video", "is no video"),
        (data_url(mp4(), "audio/mp4"), "invalid_video", "declares audio/mp4"),
        ("data:video/mp4;base64,@@@", "invalid_video", "base64"),
        ("/etc/passwd", "invalid_video", "data:"),
        ("https://example.org/llama.mp4", "video_url_not_supported", "fetches none; send the video as data:video/mp4"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_videos_that_cannot_be_read_are_refused_before_the_answer(url: str, code: str, says: str, stream: bool) -> None:
    pipeline = ScriptedPipeline("Yes")
    client = AppClient(pipeline)
    response = await client.chat(USER, {"role": "user", "content": [text_part("What moves?"), video_part(url)]}, stream=stream)
    assert says in assert_error(response, 400, code, "messages[1].content[1].video_url")
    assert pipeline.requests == []
    assert (await client.chat()).status_code == 200


async def test_a_video_beyond_the_body_s_limit_is_too_large() -> None:
    pipeline = ScriptedPipeline("Yes")
    client = AppClient(pipeline, Limits(body_bytes=4_000))
    assert (await client.chat()).status_code == 200
    response = await client.chat({"role": "user", "content": [video_part(data_url(bytes(5_000), "video/mp4"))]})
    assert "pictures and videos" in assert_error(response, 413, "request_too_large")
    assert len(pipeline.requests) == 1


async def test_a_model_without_eyes_refuses_videos() -> None:
    pipeline = ScriptedPipeline("Yes", config=replace(preset("scout-nano"), vision=None))
    response = await AppClient(pipeline).chat({"role": "user", "content": [video_part()]})
    assert "reads no videos" in assert_error(response, 400, "unsupported_content", "messages[0].content[0].video_url")


async def test_a_model_without_eyes_refuses_pictures() -> None:
    pipeline = ScriptedPipeline("Yes", config=replace(preset("scout-nano"), vision=None))
    response = await AppClient(pipeline).chat({"role": "user", "content": [picture_part()]})
    assert_error(response, 400, "unsupported_content", "messages[0].content[0].image_url")
