"""How large and how deep a schema may be: in every API, of a form and of a tool, where something is held to it and where nothing is."""

import json
from typing import Any

import pytest

from puna.serve.limits import Limits
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient, assert_error

pytestmark = pytest.mark.anyio
LIMITS = Limits(schema_bytes=200, schema_depth=4)
FINE = {"type": "object", "properties": {"a": {"enum": ["b"]}}}  # four levels
LARGE = FINE | {"description": "é" * 100}  # its letters are below 200, its bytes are not


def in_chat(schema: Any, choice: str = "auto") -> dict[str, Any]:
    function = {"name": "f", "parameters": schema}
    return {"messages": [USER], "tools": [{"type": "function", "function": function}], "tool_choice": choice}


def form(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


PLACES: dict[str, tuple[str, Any, str]] = {
    "a form": ("/v1/chat/completions", lambda s: {"messages": [USER], "response_format": form(s)}, "response_format.json_schema.schema"),
    "a tool": ("/v1/chat/completions", in_chat, "tools[0].function.parameters"),
    "a tool that nobody may call": ("/v1/chat/completions", lambda s: in_chat(s, "none"), "tools[0].function.parameters"),
    "a tool that must be called": ("/v1/chat/completions", lambda s: in_chat(s, "required"), "tools[0].function.parameters"),
    "Meta's form": ("/llama/v1/chat/completions", lambda s: {"messages": [USER], "model": "scripted", "response_format": form(s)},
        "response_format.json_schema.schema"),
    "tokenised tools": ("/tokenize", lambda s: {"messages": [USER], "tools": in_chat(s)["tools"]}, "tools[0].function.parameters"),
    "Responses' form": ("/v1/responses", lambda s: {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": s}}},
        "text.format.schema"),
    "Responses' tool": ("/v1/responses", lambda s: {"input": "Hi", "tools": [{"type": "function", "name": "f", "parameters": s}]},
        "tools[0].parameters"),
    "Anthropic's form": ("/v1/messages", lambda s: {"max_tokens": 9, "messages": [USER], "output_config": {"format":
        {"type": "json_schema", "schema": s}}}, "output_config.format.schema"),
    "Anthropic's tool": ("/v1/messages", lambda s: {"max_tokens": 9, "messages": [USER], "tools": [{"name": "f", "input_schema": s}]},
        "tools[0].input_schema"),
    "a counted tool": ("/v1/messages/count_tokens", lambda s: {"messages": [USER], "tools": [{"name": "f", "input_schema": s}]},
        "tools[0].input_schema"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_a_schema_too_large_or_too_deep_is_refused_with_the_limit_its_value_and_its_setting(place: str) -> None:
    path, body, param = PLACES[place]
    client = AppClient(ScriptedPipeline("Yes"), LIMITS)
    assert (await client.http.post(path, json=body(FINE))).status_code == 200
    deep = FINE["properties"] | {"type": "object", "properties": {"a": {"anyOf": [{"enum": []}]}}}
    for schema, words in (
        (LARGE, f"{param} is a schema of {len(json.dumps(LARGE, ensure_ascii=False).encode())} bytes, more than the 200"),
        (deep, f"{param} is a schema nested deeper than the 4 levels"),
    ):
        refused = await client.http.post(path, json=body(schema))
        assert refused.status_code == 400
        message = refused.json()["error"]["message"]
        assert words in message and ("limits.schema_bytes" in message) == ("bytes" in words)
        assert ("limits.schema_depth" in message) == ("levels" in words)
    assert client.core.in_flight == 0


async def test_the_codes_say_which_limit_it_was() -> None:
    client = AppClient(ScriptedPipeline("Yes"), LIMITS)
    param = "response_format.json_schema.schema"
    assert_error(await client.chat(response_format=form({"description": "x" * 300})), 400, "schema_too_large", param)
    assert_error(await client.chat(response_format=form({"a": {"b": {"c": {"d": {}}}}})), 400, "schema_too_deep", param)
    assert_error(await client.chat(response_format=form({"a": [[[[]]]]})), 400, "schema_too_deep", param)


async def test_the_defaults_are_those_of_the_grammars() -> None:
    client, param = AppClient(ScriptedPipeline("Yes")), "response_format.json_schema.schema"

    def nested(levels: int) -> Any:
        return {"items": nested(levels - 1)} if levels > 1 else {}

    assert (await client.chat(response_format=form(nested(64)))).status_code == 200
    assert_error(await client.chat(response_format=form(nested(65))), 400, "schema_too_deep", param)
    edge = 64 * 1024 - len('{"description": ""}')
    assert (await client.chat(response_format=form({"description": "x" * edge}))).status_code == 200
    assert_error(await client.chat(response_format=form({"description": "x" * (edge + 1)})), 400, "schema_too_large", param)
