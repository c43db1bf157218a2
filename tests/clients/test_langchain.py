"""`langchain-openai` against the shipped nano."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from pydantic import BaseModel

langchain_openai = pytest.importorskip("langchain_openai")


class Place(BaseModel):
    place: Literal["Cusco", "Lima"]


@pytest.fixture
def chat(server: Any, model: str) -> Any:
    return langchain_openai.ChatOpenAI(
        base_url=f"{server.url}/v1", api_key=server.key, model=model, temperature=0, max_tokens=60, max_retries=0
    )


def test_chat_and_stream(chat: Any, question: dict) -> None:
    whole = chat.invoke([question])
    assert whole.content and whole.usage_metadata["output_tokens"] <= 60
    assert "".join(chunk.content for chunk in chat.stream([question])) == whole.content


def test_tools(chat: Any, question: dict, weather: dict) -> None:
    bound = chat.bind_tools([weather], tool_choice="weather")
    (call,) = bound.invoke([question]).tool_calls
    assert call["name"] == "weather" and call["args"]["place"] in ("Cusco", "Lima")


def test_picture(chat: Any, shown: dict) -> None:
    assert "elephant" in chat.invoke([shown]).content.lower()


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_schema(chat: Any, question: dict, method: str) -> None:
    assert chat.with_structured_output(Place, method=method).invoke([question]).place in ("Cusco", "Lima")


def test_cancel(chat: Any, question: dict, endless: dict, stops: Callable[[], bool]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "numbers", "schema": endless}}
    stream = chat.bind(response_format=form, max_tokens=4000).stream([question])
    for _ in range(3):
        next(stream)
    stream.close()
    assert stops()
