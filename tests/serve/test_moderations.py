from typing import Any

import httpx
import openai
import pytest

from puna.pipeline import Ask
from puna.stream import Image, ToolCall
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, assert_error, picture_part, text_part

pytestmark = pytest.mark.anyio


class Toy:
    """Refuses a word, and pictures without any."""

    window = 100

    async def asked(self, ask: Ask) -> str | None:
        (message,) = ask.messages
        if message.text == "break":
            raise RuntimeError("inside")
        return "it holds 'secret'" if "secret" in message.text or isinstance(message.content[0], Image) else None

    async def said(self, ask: Ask, text: str, start: int) -> str | None:
        return None

    async def called(self, ask: Ask, call: ToolCall) -> str | None:
        return None


async def moderate(input: Any, guard: Any = None, **fields: Any) -> httpx.Response:
    return await AppClient(ScriptedPipeline("Yes"), guard=guard).http.post("/v1/moderations", json={"input": input, **fields})


async def test_the_guard_s_verdicts_and_no_more() -> None:
    answer = (await moderate(["a llama", "a secret"], Toy())).json()
    assert answer["id"].startswith("modr_") and answer["model"] == "guard"
    assert [(result["flagged"], result["reason"]) for result in answer["results"]] == [(False, None), (True, "it holds 'secret'")]
    assert set(answer["results"][1]["categories"].values()) == {None}
    assert (await moderate("a secret", Toy())).json()["results"][0]["flagged"]
    (together,) = (await moderate([picture_part(), text_part("what?")], Toy())).json()["results"]
    assert together["flagged"]


async def test_the_openai_client_reads_them() -> None:
    app = AppClient(ScriptedPipeline("Yes"), guard=Toy())
    client = openai.AsyncOpenAI(base_url="http://puna/v1", api_key="none", http_client=app.http, max_retries=0)
    answer = await client.moderations.create(input="a secret")
    assert answer.results[0].flagged and answer.results[0].categories.violence_graphic is None


async def test_without_a_guard_there_is_no_verdict() -> None:
    assert_error(await moderate("a llama"), 404, "no_guard")


async def test_mistakes() -> None:
    assert_error(await moderate("x", Toy(), model="omni-moderation-latest"), 404, "model_not_found", "model")
    assert (await moderate([], Toy())).status_code == 400
    assert (await moderate(3, Toy())).status_code == 400
    assert_error(await moderate("break", Toy()), 500, "guard_error")
