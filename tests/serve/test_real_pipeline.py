"""The server around a real, if tiny and random, model: the pipeline keeps the promises that the scripted one makes in its name."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from puna.engine import Settings, Token
from puna.pipeline import Pipeline
from puna.pipeline.reader import AnswerReader
from puna.serve.limits import Limits
from puna.testing.models import tiny_config, tiny_model
from puna.testing.serving import USER, AppClient, assert_error, eventually, live_server, picture_part, text_part, video_part
from puna.testing.tokenizer import byte_tokenizer

PICTURE = {"role": "user", "content": [text_part("What is it?"), picture_part()]}
VIDEO = {"role": "user", "content": [video_part(), text_part("What moves?")]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline("tiny", tiny_model(), byte_tokenizer())


@pytest.mark.anyio
async def test_text_pictures_and_videos_are_answered_alike_whole_and_streamed(pipeline: Pipeline) -> None:
    client = AppClient(pipeline)
    for message in (USER, PICTURE, VIDEO):
        whole = (await client.chat(message, model="tiny", max_tokens=12)).json()
        *chunks, last, done = await client.events(message, max_tokens=12, stream_options={"include_usage": True})
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        assert text == whole["choices"][0]["message"]["content"]
        assert last["usage"].pop("prompt_tokens_details")["cached_tokens"] > whole["usage"].pop("prompt_tokens_details")["cached_tokens"]
        assert last["usage"] == whole["usage"]
        assert done == "[DONE]"


@pytest.mark.anyio
async def test_a_seed_repeats_an_answer(pipeline: Pipeline) -> None:
    client = AppClient(pipeline)
    fields = {"max_tokens": 12, "temperature": 1.0, "top_p": 0.9, "stop": ["never said"]}
    first, again, other = [(await client.chat(**fields, seed=seed)).json()["choices"] for seed in (1, 1, 2)]
    assert first == again != other


@pytest.mark.anyio
async def test_the_prompt_is_counted_as_the_model_reads_it(pipeline: Pipeline) -> None:
    client = AppClient(pipeline)
    used = (await client.chat(PICTURE, max_tokens=1)).json()["usage"]["prompt_tokens"]
    room = pipeline.config.max_positions - used
    assert_error(await client.chat(PICTURE, max_tokens=room + 1), 400, "context_length_exceeded", "messages")
    assert (await client.chat(PICTURE, max_tokens=room, stop=["�", "\x00", "e"])).status_code == 200


@pytest.mark.parametrize("tools", [None, TOOLS])
def test_a_client_that_leaves_stops_the_model_though_it_has_shown_nothing_yet(tools: list | None) -> None:
    pipeline = Pipeline("tiny", tiny_model(tiny_config(eos_ids=())), byte_tokenizer())  # never stops by itself
    body = {"messages": [USER], "max_tokens": 3_500, "tools": tools}
    with live_server(pipeline) as address:
        httpx.post(f"{address}/v1/chat/completions", json=body | {"max_tokens": 1}).raise_for_status()  # what is made once is made here
        before = pipeline.engine.counters.steps
        for patience in (0.3, 0.6, 1.2):  # a busy machine may not have begun
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{address}/v1/chat/completions", json=body, timeout=patience)
            if pipeline.engine.counters.steps > before:
                break
        assert eventually(lambda: httpx.get(f"{address}/health").json()["requests_in_flight"] == 0)
        assert eventually(lambda: not pipeline.engine.has_work)
        assert 0 < pipeline.engine.counters.steps - before < 3_500


@pytest.mark.anyio
async def test_answers_written_side_by_side_share_the_engines_steps_and_are_those_of_one_alone(pipeline: Pipeline) -> None:
    alone = AppClient(pipeline)
    expected = [(await alone.chat({"role": "user", "content": word}, max_tokens=40)).json()["choices"] for word in "abcd"]
    before = pipeline.engine.counters.steps
    together = AppClient(pipeline, Limits(answering=4))
    answers = await asyncio.gather(*(together.chat({"role": "user", "content": word}, max_tokens=40) for word in "abcd"))
    assert [answer.json()["choices"] for answer in answers] == expected
    assert pipeline.engine.counters.steps - before < before


@pytest.mark.anyio
async def test_a_prompt_beyond_the_engines_memory_is_refused_with_what_would_fit() -> None:
    small = Pipeline("tiny", tiny_model(), byte_tokenizer(), settings=Settings(kv_bytes=60_000, max_streams=1))
    client = AppClient(small)
    refused = await client.chat({"role": "user", "content": "long " * 100})
    assert_error(refused, 400, "context_length_exceeded", "messages")
    assert f"holds {small.engine.plan.tokens_per_stream} of one request" in refused.json()["error"]["message"]
    assert (await client.chat({"role": "user", "content": "x"}, max_tokens=2)).status_code == 200


@pytest.mark.anyio
async def test_an_answer_follows_its_schema_whatever_the_model_would_say(pipeline: Pipeline) -> None:
    schema = {"type": "object", "properties": {"llama": {"enum": ["white", "brown"]}}, "required": ["llama"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "llama", "strict": True, "schema": schema}}
    client = AppClient(pipeline)
    answer = (await client.chat(response_format=form, n=3, temperature=1.0, seed=1)).json()
    for choice in answer["choices"]:
        assert json.loads(choice["message"]["content"])["llama"] in ("white", "brown") and choice["finish_reason"] == "stop"
    impossible = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "minLength": 5, "maxLength": 2}}}
    assert_error(await client.chat(response_format=impossible), 400, "invalid_grammar")


@pytest.mark.anyio
async def test_with_tools_an_answer_follows_its_schema_or_is_calls_alike_whole_and_streamed(pipeline: Pipeline) -> None:
    schema = {"type": "object", "properties": {"llama": {"enum": ["white", "brown"]}}, "required": ["llama"], "additionalProperties": False}
    parameters = {"type": "object", "properties": {"place": {"enum": ["Cusco", "Puno"]}}, "required": ["place"]}
    fields = {
        "response_format": {"type": "json_schema", "json_schema": {"name": "llama", "schema": schema}},
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": parameters}}],
        "parallel_tool_calls": False, "temperature": 1.0, "max_tokens": 500,
    }  # fmt: skip
    client = AppClient(pipeline)
    reasons = set()
    for seed in range(12):
        (choice,) = (await client.chat(**fields, seed=seed)).json()["choices"]
        reasons.add(choice["finish_reason"])
        *chunks, _ = await client.events(**fields, seed=seed)
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        if choice["finish_reason"] == "tool_calls":
            (call,) = choice["message"]["tool_calls"]
            assert json.loads(call["function"]["arguments"])["place"] in ("Cusco", "Puno") and choice["message"]["content"] is None
            pieces = [piece["function"]["arguments"] for delta in deltas for piece in delta.get("tool_calls", ())]
            assert "".join(pieces) == call["function"]["arguments"]
        else:
            assert json.loads(choice["message"]["content"])["llama"] in ("white", "brown") and "tool_calls" not in choice["message"]
            assert "".join(delta.get("content", "") for delta in deltas) == choice["message"]["content"]
    assert reasons == {"stop", "tool_calls"}


@pytest.mark.anyio
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
async def test_a_call_that_must_come_comes_alike_whole_and_streamed(pipeline: Pipeline, choice: Any) -> None:
    parameters = {"type": "object", "properties": {"place": {"enum": ["Cusco", "Puno"]}}, "required": ["place"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
    fields = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": False, "temperature": 1.0, "seed": 4, "max_tokens": 500}
    client = AppClient(pipeline)
    (whole,) = (await client.chat(**fields)).json()["choices"]
    (call,) = whole["message"]["tool_calls"]
    assert (whole["finish_reason"], whole["message"]["content"]) == ("tool_calls", None)
    assert json.loads(call["function"]["arguments"])["place"] in ("Cusco", "Puno")
    *chunks, _ = await client.events(**fields)
    pieces = [piece for chunk in chunks for piece in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert "".join(piece["function"]["arguments"] for piece in pieces) == call["function"]["arguments"]
    assert pieces[0]["function"]["name"] == "weather" and chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.anyio
async def test_one_request_s_failure_is_its_own(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    client = AppClient(pipeline)
    expected = (await client.chat(max_tokens=30)).json()["choices"]
    push = AnswerReader.push

    def breaks(self: AnswerReader, token: Token) -> Any:
        if self._stops == ("BREAK",) and self.num_tokens == 5:
            raise RuntimeError("inside")
        return push(self, token)

    monkeypatch.setattr(AnswerReader, "push", breaks)
    broken, streamed, sound = await asyncio.gather(
        client.chat(stop="BREAK", max_tokens=30), client.events(stop="BREAK", max_tokens=30), client.chat(max_tokens=30)
    )
    assert "inside" not in assert_error(broken, 500, None)
    assert streamed[-2]["error"]["type"] == "server_error" and streamed[-1] == "[DONE]"
    assert sound.json()["choices"] == expected
    assert eventually(lambda: not pipeline.engine.has_work) and client.core.in_flight == 0
