"""Valid requests, changed at random: whatever comes of it, no failure is the server's, and errors are told as errors.

Seeded, so that a failure comes again. PUNA_FUZZ_CASES makes more of them a route.
"""

import json
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from puna.pipeline import Pipeline
from puna.serve.limits import Limits
from puna.testing.models import tiny_config, tiny_model
from puna.testing.serving import AppClient, picture_part, text_part
from puna.testing.tokenizer import byte_tokenizer

pytestmark = pytest.mark.anyio

CASES = int(os.environ.get("PUNA_FUZZ_CASES", "60"))
LIMITS = Limits(body_bytes=2**20, choices=4, default_max_tokens=2)

FUNCTION = {"name": "f", "description": "Does it", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}
TOOL = {"type": "function", "function": FUNCTION}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": "x"}'}}
TURNS = [
    {"role": "system", "content": "Be kind"},
    {"role": "user", "content": [text_part("What is it?"), picture_part()]},
    {"role": "assistant", "content": "Look", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c", "content": "a llama"},
    {"role": "user", "content": "So?"},
]
DATA = picture_part()["image_url"]["url"].partition(",")[2]
BLOCKS = [
    {
        "role": "user",
        "content": [text_part("What?"), {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}],
    },
    {"role": "assistant", "content": [text_part("Look"), {"type": "tool_use", "id": "c", "name": "f", "input": {"a": "x"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [text_part("a llama")]}]},
]
ITEMS = [
    {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "x"},
]
SAMPLING = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "seed": 1, "stop": ["x"], "n": 2, "presence_penalty": 1, "logit_bias": {"5": 1}}
TOOLS = {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True}

VALID: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": TURNS, "max_tokens": 2, "stream": True, "stream_options": {"include_usage": True}, **TOOLS}),
    ("/v1/chat/completions", {"messages": TURNS[-1:], "max_tokens": 2, "logprobs": True, "top_logprobs": 2, **SAMPLING}),
    ("/v1/chat/completions", {"messages": TURNS[-1:], "max_tokens": 2, "response_format": FORM}),
    ("/v1/completions", {"prompt": ["Hi", "Ho"], "max_tokens": 2, "echo": True, "logprobs": 1, **SAMPLING}),
    ("/v1/completions", {"prompt": [1, 2, 3], "max_tokens": 2, "stream": True}),
    ("/v1/messages", {"messages": BLOCKS, "max_tokens": 2, "system": "Be kind", "tools": [{"name": "f", "input_schema": SCHEMA}]}),
    ("/v1/messages", {"messages": BLOCKS[:1], "max_tokens": 2, "stream": True, "top_k": 3, "stop_sequences": ["x"]}),
    ("/v1/messages/count_tokens", {"messages": BLOCKS, "tools": [{"name": "f", "input_schema": SCHEMA}]}),
    ("/v1/responses", {"input": ITEMS, "max_output_tokens": 2, "instructions": "Be kind", "tools": [{"type": "function", **FUNCTION}]}),
    (
        "/v1/responses",
        {"input": "Hi", "max_output_tokens": 2, "stream": True, "metadata": {"a": "b"}, "text": {"format": {"type": "text"}}},
    ),
    ("/tokenize", {"messages": TURNS, "tools": [TOOL], "add_generation_prompt": True, "return_token_strs": True}),
    ("/detokenize", {"tokens": [1, 2, 300]}),
    ("/llama/v1/chat/completions", {"messages": TURNS, "max_completion_tokens": 2, "stream": True, "tools": [TOOL], "tool_choice": "auto"}),
]

JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**30, 0.5, -0.0, 1e308, "", "x", "\0", "\ud7ff", "🦙" * 50, "x" * 5000, [], {},
    [[]], [None], [{}], {"": None}, {"type": "text"}, {"type": "object"}, {"role": "user"}, "<|eot|>", "<|image|>", "data:,", "../..",
    "[" * 99, "auto", "none", "required", "user", "assistant", "tool", "f", '{"a":', {"$ref": "#"}, {"type": ["string", "null"]},
    {"pattern": "(a+)+$"},
]  # fmt: skip


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every value inside, as its holder and its key."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


def replace(random: random.Random, body: Any) -> None:
    holder, key = random.choice(places(body))
    holder[key] = json.loads(json.dumps(random.choice(JUNK)))


def remove(random: random.Random, body: Any) -> None:
    holder, key = random.choice(places(body))
    del holder[key]


def swap(random: random.Random, body: Any) -> None:
    (one, key), (two, other) = random.choices(places(body), k=2)
    value = json.loads(json.dumps(two[other]))
    one[key] = value


def repeat(random: random.Random, body: Any) -> None:
    lists = [holder[key] for holder, key in places(body) if isinstance(holder[key], list) and holder[key]]
    if lists:
        found = random.choice(lists)
        found += json.loads(json.dumps(found[: random.randrange(1, 4)])) * random.randrange(1, 20)


def add(random: random.Random, body: Any) -> None:
    holder, key = random.choice(places(body))
    inside = holder[key] if isinstance(holder[key], dict) else body
    inside[random.choice(["type", "role", "content", "name", "x", "", "stream", "model", "tools"])] = random.choice(JUNK)


CHANGES: list[Callable[[random.Random, Any], None]] = [replace, replace, replace, remove, swap, repeat, add]


def mutated(random: random.Random, body: Any) -> bytes:
    body = json.loads(json.dumps(body))
    for _ in range(random.choice([1, 1, 1, 2, 3, 6])):
        if places(body):
            random.choice(CHANGES)(random, body)
    written = bytearray(json.dumps(body, ensure_ascii=random.random() < 0.5).encode())
    if random.random() < 0.15:
        for _ in range(random.randrange(1, 4)):
            written[random.randrange(len(written))] = random.randrange(256)
    return bytes(written)


def is_told_as_an_error(answer: Any) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("error"), dict) and bool(answer["error"].get("message"))


@pytest.mark.parametrize("place", range(len(VALID)), ids=lambda place: f"{place}:{VALID[place][0]}")
async def test_a_changed_request_never_makes_the_server_fail(place: int) -> None:
    path, body = VALID[place]
    # A short context: some changed requests are answered to its end.
    client = AppClient(Pipeline("tiny", tiny_model(tiny_config(max_positions=1024)), byte_tokenizer()), LIMITS)
    assert (await client.http.post(path, json=body)).status_code == 200
    statuses = set()
    for case in range(CASES):
        written = mutated(random.Random(f"{place}-{case}"), body)
        response = await client.http.post(path, content=written, headers={"Content-Type": "application/json"})
        told = (case, written[:1000], response.status_code, response.text[:1000])
        statuses.add(response.status_code)
        assert response.status_code < 500, told
        if response.status_code >= 400:
            assert is_told_as_an_error(response.json()), told
        assert "server_error" not in response.text and "api_error" not in response.text, told
    assert {200, 400} <= statuses
    assert client.core.in_flight == 0
    assert (await client.http.post(path, json=body)).status_code == 200
    await client.core.aclose()
