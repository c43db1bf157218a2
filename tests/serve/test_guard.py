"""The seam for a firewall, with toy guards: what it refuses never goes out, and a guard that fails lets nothing through."""

import asyncio
from typing import Any

import pytest

from puna.pipeline import Ask
from puna.stream import ToolCall
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error

pytestmark = pytest.mark.anyio
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


class Toy:
    """Refuses a word, wherever it stands. Remembers what it was shown."""

    def __init__(self, word: str = "secret", window: int = 12, error: Exception | None = None) -> None:
        self.window, self._word, self._error = window, word, error
        self.seen: list[Any] = []

    async def asked(self, ask: Ask) -> str | None:
        return self._judge("asked", " ".join(message.text for message in ask.messages))

    async def said(self, ask: Ask, text: str, start: int) -> str | None:
        return self._judge("said", text, start)

    async def called(self, ask: Ask, call: ToolCall) -> str | None:
        return self._judge("called", str(call.arguments))

    def _judge(self, kind: str, text: str, *more: Any) -> str | None:
        self.seen.append((kind, text, *more))
        if self._error is not None and kind == "said":
            raise self._error
        return f"it holds {self._word!r}" if self._word in text else None


def said(chunks: list[Any]) -> str:
    return "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


async def test_a_refused_question_is_a_400_and_never_asked() -> None:
    pipeline = ScriptedPipeline("Yes")
    client = AppClient(pipeline, guard=Toy())
    for stream in (False, True):
        message = assert_error(await client.chat({"role": "user", "content": "the secret?"}, stream=stream), 400, "content_filter")
        assert "it holds 'secret'" in message
    assert pipeline.requests == [] and client.core.in_flight == 0
    assert (await client.chat()).status_code == 200


async def test_an_answer_ends_before_what_is_refused() -> None:
    pipeline = ScriptedPipeline("All is well here and the secret is out and more and more")
    guard = Toy()
    client = AppClient(pipeline, guard=guard)
    whole = (await client.chat()).json()
    assert whole["choices"][0]["finish_reason"] == "content_filter"
    assert "secret" not in whole["choices"][0]["message"]["content"]
    assert whole["choices"][0]["message"]["content"].startswith("All is well ")
    assert 0 < whole["usage"]["completion_tokens"] < 13
    *chunks, done = await client.events()
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter" and done == "[DONE]"
    assert said(chunks) == whole["choices"][0]["message"]["content"]
    assert [start for kind, _, start in (each for each in guard.seen if each[0] == "said")][:2] == [0, 12]


async def test_what_is_not_refused_goes_out_unchanged() -> None:
    answer = ["Let me see. ", ToolCall("weather", {"place": "Cusco"})]
    free, guarded = (AppClient(ScriptedPipeline(answer), guard=guard) for guard in (None, Toy()))
    expected, got = [(await client.chat(tools=[WEATHER])).json() for client in (free, guarded)]
    assert got["choices"] == expected["choices"] and got["usage"] == expected["usage"]
    assert said((await guarded.events(tools=[WEATHER]))[:-1]) == "Let me see. "


async def test_a_refused_call_never_begins() -> None:
    client = AppClient(ScriptedPipeline(["Let me see. ", ToolCall("weather", {"place": "secret"})]), guard=Toy())
    *chunks, _ = await client.events(tools=[WEATHER])
    assert not any("tool_calls" in choice["delta"] for chunk in chunks for choice in chunk["choices"])
    assert chunks[-1]["choices"][0]["finish_reason"] == "content_filter"


async def test_one_refused_choice_leaves_the_other_alone() -> None:
    client = AppClient(ScriptedPipeline("a secret", "a llama"), guard=Toy())
    choices = (await client.chat(n=2)).json()["choices"]
    assert [(choice["message"]["content"], choice["finish_reason"]) for choice in choices] == [("", "content_filter"), ("a llama", "stop")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_guard_that_fails_lets_nothing_through(stream: bool) -> None:
    client = AppClient(ScriptedPipeline("Yes"), guard=Toy(error=RuntimeError("inside")))
    response = await client.chat(stream=stream)
    assert "inside" not in assert_error(response, 500, "guard_error")
    assert "Yes" not in response.text


async def test_a_refusal_ends_the_model_s_work() -> None:
    pipeline = ScriptedPipeline("secret " + "word " * 1000, seconds_per_token=0.001)
    assert (await AppClient(pipeline, guard=Toy(window=1)).chat()).json()["choices"][0]["finish_reason"] == "content_filter"
    async with asyncio.timeout(5):
        while pipeline.running:
            await asyncio.sleep(0.002)
    assert pipeline.abandoned == 1
