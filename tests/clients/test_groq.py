"""The `groq` client against the shipped nano. Its base URL has no path: it adds /openai/v1 itself."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

groq = pytest.importorskip("groq")


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    with groq.Groq(base_url=server.url, api_key=server.key, max_retries=0) as client:
        yield client


def test_chat_and_stream(client: Any, model: str, question: dict) -> None:
    options = {"model": model, "messages": [question], "max_completion_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**options).choices[0].message.content
    pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**options, stream=True)]
    assert whole and "".join(pieces) == whole


def test_tools(client: Any, model: str, question: dict, weather: dict, forced: dict) -> None:
    options = {"model": model, "messages": [question], "tools": [weather], "tool_choice": forced, "max_completion_tokens": 60}
    (call,) = client.chat.completions.create(**options).choices[0].message.tool_calls
    assert json.loads(call.function.arguments)["place"] in ("Cusco", "Lima")


def test_picture(client: Any, model: str, shown: dict) -> None:
    answer = client.chat.completions.create(model=model, messages=[shown], max_completion_tokens=24, temperature=0)
    assert "elephant" in answer.choices[0].message.content.lower()


def test_schema(client: Any, model: str, question: dict, place: dict) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": place}}
    answer = client.chat.completions.create(model=model, messages=[question], response_format=form, max_completion_tokens=60)
    assert json.loads(answer.choices[0].message.content)["place"] in ("Cusco", "Lima")


def test_cancel(client: Any, model: str, question: dict, endless: dict, stops: Callable[[], bool]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "numbers", "schema": endless}}
    options = {"model": model, "messages": [question], "response_format": form, "max_completion_tokens": 4000}
    with client.chat.completions.create(**options, stream=True) as stream:
        for _ in range(3):
            next(stream)
    assert stops()
