"""Meta's `llama-api-client` against the shipped nano."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

llama_api_client = pytest.importorskip("llama_api_client")


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    with llama_api_client.LlamaAPIClient(base_url=f"{server.url}/llama/v1", api_key=server.key, max_retries=0) as client:
        yield client


def test_chat_and_stream(client: Any, model: str, question: dict) -> None:
    options = {"model": model, "messages": [question], "max_completion_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**options).completion_message.content.text
    assert whole and "".join(chunk.event.delta.text for chunk in client.chat.completions.create(**options, stream=True)) == whole


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: Any, model: str, question: dict, weather: dict, forced: dict, stream: bool) -> None:
    options = {"model": model, "messages": [question], "tools": [weather], "tool_choice": forced, "max_completion_tokens": 60}
    if stream:
        deltas = [chunk.event.delta for chunk in client.chat.completions.create(**options, stream=True)]
        arguments = "".join(delta.function.arguments or "" for delta in deltas if delta.type == "tool_call")
    else:
        arguments = client.chat.completions.create(**options).completion_message.tool_calls[0].function.arguments
    assert json.loads(arguments)["place"] in ("Cusco", "Lima")


def test_picture(client: Any, model: str, shown: dict) -> None:
    answer = client.chat.completions.create(model=model, messages=[shown], max_completion_tokens=24, temperature=0)
    assert "elephant" in answer.completion_message.content.text.lower()


def test_schema(client: Any, model: str, question: dict, place: dict) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": place}}
    answer = client.chat.completions.create(model=model, messages=[question], response_format=form, max_completion_tokens=60)
    assert json.loads(answer.completion_message.content.text)["place"] in ("Cusco", "Lima")


def test_cancel(client: Any, model: str, question: dict, endless: dict, stops: Callable[[], bool]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "numbers", "schema": endless}}
    options = {"model": model, "messages": [question], "response_format": form, "max_completion_tokens": 4000}
    with client.chat.completions.create(**options, stream=True) as stream:
        for _ in range(3):
            next(stream)
    assert stops()


def test_models(client: Any, model: str) -> None:
    assert [each.id for each in client.models.list()] == [model]
