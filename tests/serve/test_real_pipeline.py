"""The server around a real, if tiny and random, model: the pipeline keeps the promises that the scripted one makes in its name."""

import asyncio

import httpx
import pytest

from puna.engine import Settings
from puna.pipeline import Pipeline
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
def test_a_client_that_leaves_stops_the_model_though_it_has_shown_nothing_yet(tools: list | None, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline("tiny", tiny_model(tiny_config(eos_ids=())), byte_tokenizer())  # never stops by itself
    steps = []
    monkeypatch.setattr(pipeline.model, "forward", lambda *args, forward=pipeline.model.forward: steps.append(1) or forward(*args))
    body = {"messages": [USER], "max_tokens": 3_500, "tools": tools}
    with live_server(pipeline) as address:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/v1/chat/completions", json=body, timeout=0.3)
        assert eventually(lambda: httpx.get(f"{address}/health").json()["requests_in_flight"] == 0)
        assert 0 < len(steps) < 3_500


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
