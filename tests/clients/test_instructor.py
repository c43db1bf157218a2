"""`instructor` around the `openai` client, against the shipped nano."""

from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

instructor = pytest.importorskip("instructor")
openai = pytest.importorskip("openai")


class Place(BaseModel):
    # Else a schema allows further keys, and a nano may think of many.
    model_config = ConfigDict(extra="forbid")

    place: Literal["Cusco", "Lima"]


@pytest.fixture(params=["TOOLS", "JSON_SCHEMA"])
def client(request: pytest.FixtureRequest, server: Any) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.key, max_retries=0) as plain:
        yield instructor.from_openai(plain, mode=instructor.Mode[request.param])


def test_an_answer_is_an_object(client: Any, model: str, question: dict) -> None:
    options = {"model": model, "messages": [question], "max_tokens": 60, "max_retries": 0}
    assert client.chat.completions.create(response_model=Place, **options).place in ("Cusco", "Lima")


def test_a_streamed_object(client: Any, model: str, question: dict) -> None:
    options = {"model": model, "messages": [question], "max_tokens": 60, "max_retries": 0}
    *_, last = client.chat.completions.create_partial(response_model=Place, **options)
    assert last.place in ("Cusco", "Lima")


def test_an_object_of_a_picture(client: Any, model: str, shown: dict) -> None:
    options = {"model": model, "messages": [shown], "max_tokens": 60, "max_retries": 0}
    assert client.chat.completions.create(response_model=Place, **options).place in ("Cusco", "Lima")


def test_chat(client: Any, model: str, question: dict) -> None:
    answer = client.chat.completions.create(response_model=None, model=model, messages=[question], max_tokens=16)
    assert answer.choices[0].message.content
