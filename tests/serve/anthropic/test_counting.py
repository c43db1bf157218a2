"""Token counts and models, in Anthropic's words."""

from dataclasses import replace
from typing import Any

import pytest

from puna.presets import preset
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient

pytestmark = pytest.mark.anyio

TOOL = {"name": "weather", "input_schema": {"type": "object"}}
VERSION = {"anthropic-version": "2023-06-01"}


async def counted(client: AppClient, **fields: Any) -> int:
    response = await client.http.post("/v1/messages/count_tokens", json={"messages": [USER], **fields})
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"input_tokens"}
    assert response.headers["request-id"]
    return response.json()["input_tokens"]


@pytest.mark.parametrize("fields", [{}, {"system": "Be brief."}, {"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": {"type": "none"}}])
async def test_a_count_is_what_the_same_message_uses(fields: dict[str, Any]) -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    answer = (await client.http.post("/v1/messages", json={"messages": [USER], "max_tokens": 9, **fields})).json()
    assert await counted(client, **fields) == answer["usage"]["input_tokens"]


async def test_a_prompt_that_is_too_long_can_be_counted() -> None:
    client = AppClient(ScriptedPipeline("Yes", config=replace(preset("scout-nano"), max_positions=20)))
    assert await counted(client) == 25


async def test_mistakes_are_said_in_anthropics_words() -> None:
    client = AppClient(ScriptedPipeline("Yes"))
    response = await client.http.post("/v1/messages/count_tokens", json={"messages": [USER], "max_tokens": 5})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert "max_tokens is not a parameter" in response.json()["error"]["message"]


async def test_models_are_anthropics_for_who_names_its_version() -> None:
    client = AppClient(ScriptedPipeline("Yes", name="scout-nano"))
    page = (await client.http.get("/v1/models", headers=VERSION)).json()
    (model,) = page["data"]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (False, "scout-nano", "scout-nano")
    assert (model["type"], model["id"], model["max_input_tokens"]) == ("model", "scout-nano", 8192)
    assert (await client.http.get("/v1/models?after_id=scout-nano", headers=VERSION)).json()["data"] == []
    assert (await client.http.get("/v1/models/scout-nano", headers=VERSION)).json() == model
    missing = await client.http.get("/v1/models/other", headers=VERSION)
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")


async def test_models_are_openais_for_everybody_else() -> None:
    client = AppClient(ScriptedPipeline("Yes", name="scout-nano"))
    assert (await client.http.get("/v1/models")).json()["object"] == "list"
    assert (await client.http.get("/v1/models/scout-nano")).json()["object"] == "model"
