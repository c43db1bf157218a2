"""The `openai` client against the shipped nano."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

openai = pytest.importorskip("openai")


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as client:
        yield client


def test_chat(client: Any, model: str, question: dict) -> None:
    answer = client.chat.completions.create(model=model, messages=[question], max_tokens=16, temperature=0)
    assert answer.choices[0].message.content and answer.usage.completion_tokens <= 16


def test_stream(client: Any, model: str, question: dict) -> None:
    options = {"model": model, "messages": [question], "max_tokens": 16, "temperature": 0}
    whole = client.chat.completions.create(**options).choices[0].message.content
    chunks = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage.completion_tokens <= 16


def test_tools(client: Any, model: str, question: dict, weather: dict, forced: dict) -> None:
    options = {"model": model, "tools": [weather], "tool_choice": forced, "max_tokens": 60}
    message = client.chat.completions.create(messages=[question], **options).choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments)["place"] in ("Cusco", "Lima")
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "2 degrees"}
    after = client.chat.completions.create(model=model, messages=[question, message, result], tools=[weather], max_tokens=8)
    assert after.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_streamed_tools(client: Any, model: str, question: dict, weather: dict, forced: dict) -> None:
    options = {"model": model, "messages": [question], "tools": [weather], "tool_choice": forced, "max_tokens": 60}
    with client.chat.completions.stream(**options) as stream:
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert call.function.name == "weather" and json.loads(call.function.arguments)["place"] in ("Cusco", "Lima")


def test_picture(client: Any, model: str, shown: dict) -> None:
    answer = client.chat.completions.create(model=model, messages=[shown], max_tokens=24, temperature=0)
    assert "elephant" in answer.choices[0].message.content.lower()


def test_schema(client: Any, model: str, question: dict, place: dict) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": place, "strict": True}}
    answer = client.chat.completions.create(model=model, messages=[question], response_format=form, max_tokens=60)
    assert json.loads(answer.choices[0].message.content)["place"] in ("Cusco", "Lima")


def test_cancel(client: Any, model: str, question: dict, endless: dict, stops: Callable[[], bool]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "numbers", "schema": endless}}
    options = {"model": model, "messages": [question], "response_format": form, "max_tokens": 4000}
    with client.chat.completions.create(**options, stream=True) as stream:
        for _ in range(3):
            next(stream)
    assert stops()


def test_response(client: Any, model: str, shown: dict) -> None:
    url = shown["content"][0]["image_url"]["url"]
    parts = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "What is this?"}]
    answer = client.responses.create(model=model, input=[{"role": "user", "content": parts}], max_output_tokens=24, temperature=0)
    assert "elephant" in answer.output_text.lower()
    again = client.responses.create(model=model, input="And what colour is it?", previous_response_id=answer.id, max_output_tokens=8)
    assert again.usage.input_tokens > answer.usage.input_tokens


def test_without_the_key_nothing_is_answered(server: Any, model: str, question: dict) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="another", max_retries=0) as client, pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(model=model, messages=[question])
