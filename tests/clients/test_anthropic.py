"""The `anthropic` client against the shipped nano, which is greedy unless a temperature is sent: this client has none any more."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

anthropic = pytest.importorskip("anthropic")


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        yield client


@pytest.fixture
def tool(place: dict) -> dict[str, Any]:
    return {"name": "weather", "description": "The weather somewhere", "input_schema": place}


def test_chat(client: Any, model: str, question: dict) -> None:
    answer = client.messages.create(model=model, messages=[question], max_tokens=16)
    assert answer.content[0].text and answer.usage.output_tokens <= 16


def test_stream(client: Any, model: str, question: dict) -> None:
    options = {"model": model, "messages": [question], "max_tokens": 16}
    whole = client.messages.create(**options).content[0].text
    with client.messages.stream(**options) as stream:
        assert "".join(stream.text_stream) == whole
        assert stream.get_final_message().usage.output_tokens <= 16


def test_tools(client: Any, model: str, question: dict, tool: dict) -> None:
    choice = {"type": "tool", "name": "weather"}
    answer = client.messages.create(model=model, messages=[question], max_tokens=60, tools=[tool], tool_choice=choice)
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert call.input["place"] in ("Cusco", "Lima") and answer.stop_reason == "tool_use"
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "2 degrees"}]}
    turns = [question, {"role": "assistant", "content": answer.content}, result]
    assert client.messages.create(model=model, messages=turns, max_tokens=8, tools=[tool]).stop_reason


def test_streamed_tools(client: Any, model: str, question: dict, tool: dict) -> None:
    choice = {"type": "tool", "name": "weather"}
    with client.messages.stream(model=model, messages=[question], max_tokens=60, tools=[tool], tool_choice=choice) as stream:
        (call,) = [block for block in stream.get_final_message().content if block.type == "tool_use"]
    assert call.input["place"] in ("Cusco", "Lima")


def test_picture(client: Any, model: str, picture: str) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}
    turn = {"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}
    answer = client.messages.create(model=model, messages=[turn], max_tokens=24)
    assert "elephant" in answer.content[0].text.lower()


def test_schema(client: Any, model: str, question: dict, place: dict) -> None:
    form = {"format": {"type": "json_schema", "schema": place}}
    answer = client.messages.create(model=model, messages=[question], max_tokens=60, extra_body={"output_config": form})
    assert answer.content[0].text.replace(" ", "") in ('{"place":"Cusco"}', '{"place":"Lima"}')


def test_cancel(client: Any, model: str, question: dict, endless: dict, stops: Callable[[], bool]) -> None:
    form = {"format": {"type": "json_schema", "schema": endless}}
    options = {"model": model, "messages": [question], "max_tokens": 4000, "extra_body": {"output_config": form}}
    with client.messages.stream(**options) as stream:
        next(iter(stream.text_stream))
    assert stops()


def test_count_tokens(client: Any, model: str, question: dict) -> None:
    counted = client.messages.count_tokens(model=model, messages=[question]).input_tokens
    usage = client.messages.create(model=model, messages=[question], max_tokens=1).usage
    assert counted == usage.input_tokens + usage.cache_read_input_tokens
