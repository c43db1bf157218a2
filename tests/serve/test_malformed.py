"""Some hundred malformed requests to every route that reads a body: each gets a 4xx with its API's error object, within the server's
limits, and the next answer is as it always was.

A real, if tiny, model stands behind the routes, since some values are wrong only for an engine. What is wrong already as HTTP is at the
end, over a socket.
"""

import base64
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from puna.pipeline import Pipeline
from puna.serve.limits import Limits
from puna.testing.models import tiny_model
from puna.testing.pictures import encoded, noise_picture
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient, live_server
from puna.testing.tokenizer import byte_tokenizer
from puna.testing.videos import gif, mp4

pytestmark = pytest.mark.anyio

LIMITS = Limits(body_bytes=2**20, body_s=0.5, pictures=2, videos=1, messages=20, tools=8, choices=16, default_max_tokens=2)
JSON = {"Content-Type": "application/json"}


# --- Routes --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Route:
    """`body`: one that is answered. `wrong`: values that are not, by the field's name. `picture` makes a body with one, of its URL."""

    path: str
    body: Mapping[str, Any]
    wrong: Mapping[str, list[Any]]
    picture: Callable[[str], Mapping[str, Any]] | None = None
    is_anthropic: bool = False


WRONG_TYPES = [True, 7, 0.5, "text", [], {}]
USER = {"role": "user", "content": "Hi"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def other(*kinds: type) -> list[Any]:
    """A value of each JSON type but these."""
    return [value for value in WRONG_TYPES if type(value) not in kinds]


def function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **fields}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    return schema


NUMBERS = [*other(int, float), -0.1, 1e300]
SAMPLING: dict[str, list[Any]] = {
    "temperature": [*NUMBERS, 2.1],
    "top_p": [*NUMBERS, 0, 1.1],
    "top_k": [*other(int), -2],
    "repetition_penalty": [*NUMBERS, 0, 11],
}
OPENAI_SAMPLING = {
    **SAMPLING,
    "n": [*other(int), 0, -1, 129, 17, 10**30],
    "seed": [*other(int), 2**63, -(2**63) - 1],
    "stop": [7, True, {}, [""], "", ["x"] * 17, [None], [["x"]]],
    "presence_penalty": [*other(int, float), -2.1, 2.1, 7],
    "frequency_penalty": [*other(int, float), 1e9],
    "logit_bias": [*other(dict), {"x": 1}, {"-1": 1}, {"5": "1"}, {"5": 101}, {"99999999": 1}, {"5": None}],
    "min_p": [*NUMBERS, 1.1],
    "stream": [7, "true", [], {}],
    "stream_options": [*other(dict), {"include_usage": 1}, {"other": True}, {"include_usage": True}],
    "nonsense": [None, 1],
    "": [1],
}
WRONG_MESSAGES: list[Any] = [
    *other(list),
    [],
    [None],
    ["Hi"],
    [[USER]],
    [{}],
    [{"role": "user"}],
    [{"content": "Hi"}],
    [{"role": "wizard", "content": "Hi"}],
    [{"role": "USER", "content": "Hi"}],
    [{"role": 7, "content": "Hi"}],
    [{"role": None, "content": "Hi"}],
    [{"role": "user", "content": 7}],
    [{"role": "user", "content": {}}],
    [{"role": "user", "content": [7]}],
    [{"role": "user", "content": [{}]}],
    [{"role": "user", "content": [{"type": "text"}]}],
    [{"role": "user", "content": [{"type": "text", "text": 7}]}],
    [{"role": "user", "content": [{"type": "text", "text": None}]}],
    [{"role": "user", "content": [{"type": "smell", "smell": "hay"}]}],
    [{"role": "user", "content": [{"type": ["text"], "text": "Hi"}]}],
    [{"role": "user", "content": [{"type": "text", "text": "Hi", "colour": "red"}]}],
    [{"role": "user", "content": "Hi", "colour": "red"}],
    [{"role": "user", "content": "x" * 9000}],  # more than the context holds
    [USER] * 21,
    [{"role": "assistant", "content": 7}],
]
OPENAI_MESSAGES: list[Any] = [
    *WRONG_MESSAGES,
    [{"role": "user", "content": None}],
    [{"role": "assistant"}],
    [{"role": "assistant", "content": None}],
    [USER, {"role": "tool", "content": "x", "tool_call_id": "never called"}],
    [USER, {"role": "tool", "content": "x"}],
    *(
        [USER, {"role": "assistant", "content": None, "tool_calls": calls}]
        for calls in (
            7,
            [7],
            [{}],
            [{**CALL, "id": 7}],
            [{**CALL, "function": 7}],
            [{**CALL, "function": {"name": "f"}}],
            *([{**CALL, "function": {"name": "f", "arguments": text}}] for text in ("{", "[]", "7", "NaN", '"x"', {}, "[" * 9000)),
        )
    ),
]
OPENAI_TOOLS: list[Any] = [
    *other(list),
    [7],
    [{}],
    [{"type": "function"}],
    [{"type": "code_interpreter"}],
    [function(name=7)],
    [function(name="")],
    [function(name="has space")],
    [function(name="x" * 65)],
    [function(name="névé")],
    [function(parameters=7)],
    [function(parameters=[])],
    [function(description=7)],
    [function(colour="red")],
    [TOOL] * 9,
]
OPENAI_CHOICES: list[Any] = [True, 7, [], {}, "", "f", {"type": "function"}, {"type": "function", "function": {"name": "g"}}, {"type": "x"}]
WRONG_SCHEMAS: list[Any] = [
    {"type": "nonsense"},
    {"type": 7},
    {"type": "object", "properties": 7},
    {"type": "object", "required": "a"},
    {"$ref": "#/$defs/missing"},
    {"$ref": "https://example.com/schema.json"},
    {"type": "string", "pattern": "("},
    {"type": "integer", "minimum": "x"},
    {"type": "array", "items": 7},
    {"enum": []},
    {"anyOf": []},
]
FORMATS: list[Any] = [
    *other(dict),
    {"type": "xml"},
    {"type": "json_schema"},
    {"type": "json_schema", "json_schema": {}},
    {"type": "json_schema", "json_schema": {"name": "has space", "schema": {}}},
    {"type": "json_schema", "json_schema": {"name": "x", "schema": 7}},
    {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": "yes"}},
    *({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}} for schema in WRONG_SCHEMAS),
]
MODELS = [True, 7, [], {}, "", "gpt-4o", "x" * 100_000, "tiny\0", "../tiny"]


def chat_picture(url: str) -> Mapping[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


def anthropic_picture(url: str) -> Mapping[str, Any]:
    source: dict[str, Any] = {"type": "url", "url": url}
    head, comma, data = url.partition(";base64,")
    if comma and head.startswith("data:"):
        source = {"type": "base64", "media_type": head.removeprefix("data:"), "data": data}
    return {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}


def responses_picture(url: str) -> Mapping[str, Any]:
    return {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]}


CHAT = Route(
    "/v1/chat/completions",
    {"messages": [USER], "max_tokens": 2, "temperature": 0},
    {
        **OPENAI_SAMPLING,
        "messages": OPENAI_MESSAGES,
        "model": MODELS,
        "tools": OPENAI_TOOLS,
        "tool_choice": [*OPENAI_CHOICES, "required"],
        "response_format": FORMATS,
        "max_tokens": [*other(int), 0, -1, 10**9, 10**400],
        "max_completion_tokens": [*other(int), 0, 3],
        "logprobs": other(bool),
        "top_logprobs": [*other(int), -1, 21, 3],
        "metadata": other(dict),
        "audio": [{}],
        "store": [True],
        "reasoning_effort": ["high"],
        "functions": [[{"name": "f"}]],
        "modalities": [["audio"]],
    },
    chat_picture,
)
COMPLETIONS = Route(
    "/v1/completions",
    {"prompt": "Hi", "max_tokens": 2, "temperature": 0},
    {
        **OPENAI_SAMPLING,
        "prompt": [True, 7, 0.5, {}, [], [[]], [""] * 17, [7, "x"], [-1], [999_999], [2**40], [[1], ["x"]], [None], "x" * 9000, [0.5]],
        "model": MODELS,
        "max_tokens": [*other(int), -1, 10**9],
        "logprobs": [*other(int), -1, 21],
        "echo": other(bool),
        "best_of": [2],
        "suffix": ["x"],
    },
)
MESSAGES = Route(
    "/v1/messages",
    {"messages": [USER], "max_tokens": 2, "temperature": 0},
    {
        "messages": [
            *WRONG_MESSAGES,
            [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "never called", "content": "x"}]}],
            [{"role": "user", "content": [{"type": "tool_result"}]}],
            [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f"}]}],
            [USER, {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": "{}"}]}],
            [{"role": "user", "content": [{"type": "image"}]}],
            [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "x"}}]}],
            [{"role": "user", "content": [{"type": "document", "source": {}}]}],
        ],
        "model": MODELS,
        "max_tokens": [*other(int), None, 0, -1],
        "system": [True, 7, {}, [7], [{"type": "image"}]],
        "tools": [
            *other(list),
            [7],
            [{}],
            [{"name": "f"}],
            [{"name": "has space", "input_schema": {}}],
            [{"name": "f", "input_schema": 7}],
        ],
        "tool_choice": [*other(dict), {"type": "x"}, {"type": "tool"}, {"type": "tool", "name": "g"}, {"type": "any"}],
        "temperature": [*NUMBERS, 1.1],
        "top_p": [*NUMBERS, 0, 1.1],
        "top_k": [*other(int), -1],
        "stop_sequences": [*other(list), [7], [""], ["x"] * 17],
        "stream": other(bool),
        "thinking": [*other(dict), {"type": "enabled", "budget_tokens": 1024}, {}],
        "metadata": other(dict),
        "nonsense": [1],
    },
    anthropic_picture,
    is_anthropic=True,
)
COUNT = Route(
    "/v1/messages/count_tokens",
    {"messages": [USER]},
    {"messages": [each for each in WRONG_MESSAGES if "x" * 9000 not in str(each)], "model": MODELS, "max_tokens": [2]},
    anthropic_picture,
    is_anthropic=True,
)
RESPONSES = Route(
    "/v1/responses",
    {"input": "Hi", "max_output_tokens": 2, "temperature": 0},
    {
        "input": [
            True,
            7,
            {},
            [],
            [7],
            [{}],
            [{"role": "wizard", "content": "Hi"}],
            [{"role": "user", "content": 7}],
            [{"role": "user", "content": [{"type": "input_smell"}]}],
            [{"role": "user", "content": [{"type": "input_text", "text": 7}]}],
            [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}],
            [{"type": "function_call_output", "call_id": "never called", "output": "x"}],
            [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}],
            [{"type": "web_search_call", "id": "x"}],
            [{"type": "item_reference", "id": "x"}],
            "x" * 9000,
        ],
        "model": MODELS,
        "instructions": [True, 7, {}],
        "max_output_tokens": [*other(int), 0, -1, 10**9],
        "temperature": [*NUMBERS, 2.1],
        "top_p": [*NUMBERS, 1.1],
        "tools": [*other(list), [7], [{}], [{"type": "web_search"}], [{"type": "function", "name": "has space"}]],
        "tool_choice": [7, {}, "f", {"type": "function", "name": "g"}, "required"],
        "text": [7, {"format": {"type": "xml"}}, {"format": {"type": "json_schema"}}],
        "previous_response_id": [True, 7, {}, "resp_never"],
        "background": [7, "yes"],
        "truncation": ["auto", 7],
        "top_logprobs": [*other(int), -1, 21],
        "include": [7, ["nonsense"]],
        "stream": [7, "yes"],
        "nonsense": [1],
    },
    responses_picture,
)
TOKENIZE = Route(
    "/tokenize",
    {"prompt": "Hi"},
    {"prompt": [True, 7, {}, []], "messages": [[USER], 7, []], "model": MODELS, "add_special_tokens": [7, "yes"], "tools": [7], "x": [1]},
)
DETOKENIZE = Route(
    "/detokenize",
    {"tokens": [1, 2]},
    {"tokens": [True, 7, "x", {}, None, [True], ["1"], [-1], [0.5], [10**9], [10**400], [None], [[1]]], "model": MODELS, "x": [1]},
)
LLAMA = Route(
    "/llama/v1/chat/completions",
    {"messages": [USER], "max_completion_tokens": 2, "temperature": 0},
    {
        **SAMPLING,
        "messages": OPENAI_MESSAGES,
        "model": MODELS,
        "tools": OPENAI_TOOLS,
        "tool_choice": [*OPENAI_CHOICES, "required"],
        "response_format": FORMATS,
        "max_completion_tokens": [*other(int), 0, -1, 10**9],
        "stream": [7, "yes"],
        "n": [1],
        "max_tokens": [2],
    },
    chat_picture,
)
OPENAI_MODERATIONS = Route(
    "/v1/moderations",
    {"input": "Hi"},
    {
        "input": [True, 7, {}, [], [7], [[]], ["x", 7], ["x"] * 65, [{}], [{"type": "text"}], [{"type": "smell"}], ["x", {"type": "text"}]],
        "model": MODELS,
        "x": [1],
    },
    lambda url: {"input": [{"type": "image_url", "image_url": {"url": url}}]},
)
LLAMA_MODERATIONS = Route(
    "/llama/v1/moderations",
    {"messages": [USER]},
    {"messages": [each for each in OPENAI_MESSAGES if "x" * 9000 not in str(each)], "model": [7, [], {}], "x": [1]},
    chat_picture,
)
ROUTES = [CHAT, COMPLETIONS, MESSAGES, COUNT, RESPONSES, TOKENIZE, DETOKENIZE, LLAMA, LLAMA_MODERATIONS, OPENAI_MODERATIONS]


# --- What is wrong about any body ------------------------------------------------------------------------------------------


def wrong_bodies(body: Mapping[str, Any]) -> Iterator[bytes]:
    good = json.dumps(body).encode()
    yield from (b"", b" ", b"\n", b"\0", b"null", b"true", b"7", b'"text"', b"[]", b"{", b"{}}", b"[" * 100_000, b'{"a":' * 100_000)
    yield from (b"NaN", b"Infinity", b"-", b"{]", b"// Hi", b"undefined", b"a=b&c=d", b"<xml/>", b"--boundary\r\n", b"{'a': 1}", b"{a: 1}")
    yield from (good[:-1], good[: len(good) // 2], good + b"}", good + b"x", good + good, good[:-1] + b",}", b"\xff\xfe" + good)
    yield from (good.decode().encode("utf-16"), zlib.compress(good), good.replace(b"{", b"{/* Hi */", 1))
    for value in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"+1", b".5", b"0x10", b"1_0", b"--1", b"1" * 5000, b"tru", b"nul"):
        yield good[:-1] + b', "temperature": ' + value + b"}"
    for text in (
        b'"\xff"',
        b'"\xc3"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\x41"',
        b'"\\u12"',
        b'"\x01"',
        b'"tab\t"',
        b'"open',
    ):
        yield good[:-1] + b', "model": ' + text + b"}"
    yield good[:-1] + b', "' + b"k" * 100_000 + b'": 1}'
    yield good[:-1] + b', "\xf0\x9f\xa6\x99": 1}'
    # Of two values the last one counts, as in every reader of JSON that clients use.
    yield good[:-1] + b', "model": "tiny", "model": 7}'


TYPES = ["", "text/plain", "text/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "json"]


# --- Pictures that are none -------------------------------------------------------------------------------------------------

PNG = encoded(noise_picture(20, 30))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int, rows: bytes = b"\0" * 2**20) -> bytes:
    """A PNG that claims `side` by `side` pixels, of few bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return PNG[:8] + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def wrong_pictures() -> Iterator[str]:
    yield from ("", " ", "x", "\0", "/etc/passwd", "file:///etc/passwd", "../cat.png", "javascript:alert(1)", "ftp://example.com/x.png")
    yield from ("http://127.0.0.1/x.png", "https://example.com/x.png", "HTTP://[::1]/", "http://", "data:", "data:,", "data:image/png")
    yield from (
        "data:image/png,x",
        "data:image/png;base64,",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,AAA",
        "data:image/png;base64,AAAA",
    )
    yield from ("data:image/png;base64,\u00e9\u00e9\u00e9\u00e9", "data:image/png;base64,=", "data:text/html;base64,PGgxPg==")
    for size in (1, 8, 20, 33, len(PNG) // 2, len(PNG) * 3 // 4):
        yield url(PNG[:size])
    yield url(PNG[:60] + b"\xff" * 60 + PNG[120:])
    yield from (url(bomb(side)) for side in (0, 20_000, 2**31 - 1))
    yield url(bomb(3000, b""))  # claims rows that never come
    for form in ("JPEG", "WEBP", "GIF", "BMP"):
        data = encoded(noise_picture(40, 40), form)
        yield url(data[:12], f"image/{form.lower()}")
        yield url(data[: len(data) // 3], f"image/{form.lower()}")
    yield url(gif()[:200], "image/gif")
    yield from (
        url(data)
        for data in (b"PK\x03\x04" + b"\0" * 100, b"%PDF-1.7", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", b"\x7fELF")
    )
    yield url(zlib.compress(b"\0" * 10**6))


def wrong_videos() -> Iterator[str]:
    whole = mp4()
    yield from ("", "data:video/mp4;base64,", "https://example.com/x.mp4", "file:///etc/passwd")
    yield from (url(data, "video/mp4") for data in (whole[:8], whole[:60], whole[: len(whole) // 2], b"\0" * 1000, b"RIFF" + b"\0" * 99))
    yield url(PNG, "video/mp4")


# --- The corpus -----------------------------------------------------------------------------------------------------------


def requests_to(route: Route) -> Iterator[tuple[bytes, Mapping[str, str]]]:
    for body in wrong_bodies(route.body):
        yield body, JSON
    for kind in TYPES:
        yield json.dumps(route.body).encode(), {"Content-Type": kind}
    for field, values in route.wrong.items():
        for value in values:
            yield written({**route.body, field: value})
    for missing in [name for name in route.body if name in ("messages", "prompt", "input", "tokens")]:
        yield written({name: value for name, value in route.body.items() if name != missing})
    if route.picture is not None:
        for each in wrong_pictures():
            yield written({**route.body, **route.picture(each)})
    if route.path.endswith("chat/completions"):
        for each in wrong_videos():
            part = {"type": "video_url", "video_url": {"url": each}}
            yield written({**route.body, "messages": [{"role": "user", "content": [part]}]})
        many = [{"type": "image_url", "image_url": {"url": url(PNG)}}] * 3
        yield written({**route.body, "messages": [{"role": "user", "content": many}]})


def written(body: Any) -> tuple[bytes, Mapping[str, str]]:
    return json.dumps(body).encode(), JSON


def assert_refused(response: httpx.Response, is_anthropic: bool = False) -> None:
    assert 400 <= response.status_code < 500, response.text
    said = response.json()
    if is_anthropic:
        assert said.keys() == {"type", "error", "request_id"} and said["type"] == "error"
        assert said["error"].keys() >= {"type", "message"}
    else:
        assert said.keys() == {"error"} and said["error"].keys() == {"message", "type", "param", "code"}
        assert said["error"]["type"] == "invalid_request_error"
    message = said["error"]["message"]
    assert message and len(message) < 2000 and "Traceback" not in message


def same(answer: Any) -> Any:
    """What of an answer does not hang on the moment, nor on what is cached of the prompt."""
    if isinstance(answer, dict):
        kept = (
            "text",
            "content",
            "message",
            "choices",
            "output",
            "completion_message",
            "tokens",
            "prompt",
            "count",
            "input_tokens",
            "results",
        )
        return {name: same(answer[name]) for name in kept if name in answer}
    return [same(each) for each in answer] if isinstance(answer, list) else answer


class Harmless:
    """A guard that lets everything pass: without one there is no moderation."""

    window = 100

    async def asked(self, ask: Any) -> str | None:
        return None

    async def said(self, ask: Any, text: str, start: int) -> str | None:
        return None

    async def called(self, ask: Any, call: Any) -> str | None:
        return None


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
async def test_each_is_refused_and_harms_nobody(route: Route) -> None:
    client = AppClient(Pipeline("tiny", tiny_model(), byte_tokenizer()), LIMITS, guard=Harmless())
    first = await client.http.post(route.path, json=route.body)
    assert first.status_code == 200, first.text
    count = 0
    failures = []
    for body, headers in requests_to(route):
        count += 1
        response = await client.http.post(route.path, content=body, headers=headers)
        try:
            assert_refused(response, route.is_anthropic)
            if count % 10 == 0:
                assert same((await client.http.post(route.path, json=route.body)).json()) == same(first.json())
        except AssertionError as error:
            failures.append((body[:300], response.status_code, response.text[:300], str(error)[:100]))
    assert not failures, "\n".join(map(str, failures))
    assert client.core.in_flight == 0
    assert same((await client.http.post(route.path, json=route.body)).json()) == same(first.json())
    await client.core.aclose()


@pytest.mark.parametrize("schema", [nested(40), nested(300), {"enum": [f"{n:040}" for n in range(4000)]}], ids=["deep", "deeper", "wide"])
async def test_a_huge_schema_is_followed_or_refused(schema: dict[str, Any]) -> None:
    client = AppClient(Pipeline("tiny", tiny_model(), byte_tokenizer()), LIMITS)
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    for fields in ({"response_format": form}, {"tools": [function(parameters=schema)], "tool_choice": "required"}):
        response = await client.chat(**fields)
        if response.status_code != 200:
            assert_refused(response)
    assert (await client.chat()).status_code == 200
    await client.core.aclose()


async def test_the_corpus_is_large() -> None:
    counts = {route.path: sum(1 for _ in requests_to(route)) for route in ROUTES}
    assert sum(counts.values()) >= 1000 and min(counts.values()) >= 60, counts


async def test_a_body_too_large_is_told_so() -> None:
    client = AppClient(ScriptedPipeline("Yes"), LIMITS, guard=Harmless())
    for route in ROUTES:
        response = await client.http.post(route.path, content=b" " * (LIMITS.body_bytes + 1), headers=JSON)
        assert response.status_code == 413
        assert_refused(response, route.is_anthropic)


# --- What is wrong as HTTP -----------------------------------------------------------------------------------------------

GOOD = b'{"messages": [{"role": "user", "content": "Hi"}]}'


def raw(head: str, body: bytes) -> bytes:
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n".encode() + body


REFUSED_AS_HTTP = {
    "a length that is no number": raw("Content-Length: many\r\n", GOOD),
    "a negative length": raw("Content-Length: -1\r\n", GOOD),
    "two lengths": raw("Content-Length: 5\r\nContent-Length: 50\r\n", GOOD),
    "a chunk without a size": raw("Transfer-Encoding: chunked\r\n", b"zz\r\n" + GOOD + b"\r\n0\r\n\r\n"),
    "no HTTP": b"Hello there\r\n\r\n",
    "a header with a line feed": raw("X: a\n b\0c\r\nContent-Length: 0\r\n", b""),
    "a length shorter than the body": raw("Content-Length: 10\r\n", GOOD),
    "a body that does not come": raw("Content-Length: 1000\r\n", GOOD),
    "an empty body in chunks": raw("Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
}
# Nobody is left to be answered.
LEFT = {
    "a body cut short": raw("Content-Length: 1000\r\n", GOOD),
    "chunks cut short": raw("Transfer-Encoding: chunked\r\n", b"31\r\n" + GOOD[:10]),
    "half a head": b"POST /v1/chat/completions HTTP/1.1\r\nHost",
}


async def test_what_is_wrong_as_http_is_refused_or_left() -> None:
    with live_server(ScriptedPipeline("Yes"), LIMITS) as address:
        where = urlsplit(address)
        for name, data in REFUSED_AS_HTTP.items():
            with socket.create_connection((where.hostname, where.port), 10) as connection:
                connection.sendall(data)
                status = connection.makefile("rb").readline().split()
            assert status[1:2] and status[1].startswith(b"4"), (name, status)
        for data in LEFT.values():
            with socket.create_connection((where.hostname, where.port), 10) as connection:
                connection.sendall(data)
        answer = httpx.post(f"{address}/v1/chat/completions", content=GOOD, headers=JSON, trust_env=False)
        assert answer.json()["choices"][0]["message"]["content"] == "Yes"


async def test_a_body_of_many_small_pieces_is_read() -> None:
    async def pieces() -> Any:
        for place in range(len(GOOD)):
            yield GOOD[place : place + 1]

    client = AppClient(ScriptedPipeline("Yes"), LIMITS)
    assert (await client.http.post("/v1/chat/completions", content=pieces(), headers=JSON)).status_code == 200
