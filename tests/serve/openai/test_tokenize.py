"""Text and conversations to ids and back, as vLLM's server does it."""

from typing import Any

import pytest

from puna.stream import Message, Text
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient, assert_error

pytestmark = pytest.mark.anyio
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
def pipeline() -> ScriptedPipeline:
    return ScriptedPipeline("Yes", name="scout")


async def tokenized(pipeline: ScriptedPipeline, **fields: Any) -> dict[str, Any]:
    response = await AppClient(pipeline).http.post("/tokenize", json=fields)
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_text_becomes_ids(pipeline: ScriptedPipeline) -> None:
    told = await tokenized(pipeline, prompt="Hé", model="scout", return_token_strs=True)
    bos = pipeline.config.bos_id
    assert told["tokens"] == [bos, *"Hé".encode()] and told["count"] == 4
    assert told["max_model_len"] == pipeline.config.max_positions and len(told["token_strs"]) == 4
    assert (await tokenized(pipeline, prompt="Hé", add_special_tokens=False))["tokens"] == list("Hé".encode())


async def test_a_conversation_becomes_what_the_model_reads(pipeline: ScriptedPipeline) -> None:
    told = await tokenized(pipeline, messages=[USER], tools=[WEATHER])
    messages = [Message("user", (Text("Hi"),))]
    assert told["tokens"] == pipeline.chat_format.encode(messages, [WEATHER]).token_ids.tolist()
    without = await tokenized(pipeline, messages=[USER], add_generation_prompt=False)
    assert without["tokens"] == pipeline.chat_format.encode(messages, (), False).token_ids.tolist()
    counted = (await AppClient(pipeline).chat()).json()["usage"]["prompt_tokens"]
    assert counted == (await tokenized(pipeline, messages=[USER]))["count"]


async def test_ids_become_text_again(pipeline: ScriptedPipeline) -> None:
    client = AppClient(pipeline)
    ids = (await tokenized(pipeline, messages=[USER]))["tokens"]
    response = await client.http.post("/detokenize", json={"tokens": ids})
    assert response.json() == {"prompt": pipeline.tokenizer.decode(ids, keep_special=True)}
    assert (await client.http.post("/detokenize", json={"tokens": []})).json() == {"prompt": ""}


@pytest.mark.parametrize(
    ("path", "fields", "code", "param"),
    [
        ("/tokenize", {}, "invalid_value", "prompt"),
        ("/tokenize", {"prompt": "a", "messages": [USER]}, "invalid_value", "prompt"),
        ("/tokenize", {"prompt": "a", "tools": [WEATHER]}, "invalid_value", "tools"),
        ("/tokenize", {"messages": [USER], "add_special_tokens": True}, "invalid_value", "add_special_tokens"),
        ("/tokenize", {"messages": []}, "invalid_value", "messages"),
        ("/tokenize", {"prompt": 5}, "invalid_type", "prompt"),
        ("/detokenize", {"tokens": [999_999]}, "invalid_value", "tokens"),
        ("/detokenize", {"tokens": [-1]}, "invalid_value", "tokens[0]"),
        ("/detokenize", {}, "missing_required_parameter", "tokens"),
    ],
)
async def test_wrong_requests_are_refused_by_name(
    pipeline: ScriptedPipeline, path: str, fields: dict[str, Any], code: str, param: str
) -> None:
    client = AppClient(pipeline)
    assert_error(await client.http.post(path, json=fields), 400, code, param)
    assert client.core.in_flight == 0


async def test_another_model_is_not_found(pipeline: ScriptedPipeline) -> None:
    assert_error(await AppClient(pipeline).http.post("/tokenize", json={"prompt": "a", "model": "b"}), 404, "model_not_found", "model")
