"""`azure-ai-inference` against the shipped nano, at both addresses that it may be given."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

inference = pytest.importorskip("azure.ai.inference")
from azure.ai.inference.models import JsonSchemaFormat  # noqa: E402
from azure.core.credentials import AzureKeyCredential  # noqa: E402
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError  # noqa: E402


def client_at(server: Any, path: str = "/models", key: str | None = None) -> Any:
    return inference.ChatCompletionsClient(endpoint=server.url + path, credential=AzureKeyCredential(key or server.key), retry_total=0)


@pytest.fixture(params=["/models", "/openai/deployments/scout-nano"])
def client(server: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    with client_at(server, request.param) as client:
        yield client


def test_chat(client: Any, question: dict) -> None:
    answer = client.complete(messages=[question], max_tokens=16, temperature=0)
    assert answer.choices[0].message.content and answer.usage.completion_tokens <= 16
    assert answer.model == "scout-nano" and answer.created.year > 2000


def test_stream(client: Any, question: dict) -> None:
    options = {"messages": [question], "max_tokens": 16, "temperature": 0}
    whole = client.complete(**options).choices[0].message.content
    chunks = client.complete(**options, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole


def test_tools(client: Any, question: dict, weather: dict, forced: dict) -> None:
    function = {name: weather["function"][name] for name in ("name", "description", "parameters")}
    tool = inference.models.ChatCompletionsToolDefinition(function=inference.models.FunctionDefinition(**function))
    options = {"tools": [tool], "tool_choice": inference.models.ChatCompletionsNamedToolChoice(forced), "max_tokens": 60}
    (call,) = client.complete(messages=[question], **options).choices[0].message.tool_calls
    assert call.function.name == "weather" and json.loads(call.function.arguments)["place"] in ("Cusco", "Lima")
    turns = [question, inference.models.AssistantMessage(tool_calls=[call])]
    turns.append(inference.models.ToolMessage("2 degrees", tool_call_id=call.id))
    assert client.complete(messages=turns, tools=[tool], max_tokens=8).choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_streamed_tools(client: Any, question: dict, weather: dict, forced: dict) -> None:
    chunks = client.complete(messages=[question], tools=[weather], tool_choice=forced, max_tokens=60, stream=True)
    pieces = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert pieces[0].function.name == "weather"
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces))["place"] in ("Cusco", "Lima")


def test_picture(client: Any, picture: str) -> None:
    models = inference.models
    url = models.ImageUrl(url=f"data:image/png;base64,{picture}")
    message = models.UserMessage(content=[models.ImageContentItem(image_url=url), models.TextContentItem(text="What is this?")])
    assert "elephant" in client.complete(messages=[message], max_tokens=24, temperature=0).choices[0].message.content.lower()


def test_schema(client: Any, question: dict, place: dict) -> None:
    form = JsonSchemaFormat(name="place", schema=place, strict=True)
    answer = client.complete(messages=[question], response_format=form, max_tokens=60)
    assert json.loads(answer.choices[0].message.content)["place"] in ("Cusco", "Lima")


def test_cancel(client: Any, question: dict, endless: dict, stops: Callable[[], bool]) -> None:
    form = JsonSchemaFormat(name="numbers", schema=endless)
    with client.complete(messages=[question], response_format=form, max_tokens=4000, stream=True) as stream:
        for _ in range(3):
            next(stream)
    assert stops()


def test_model_info(server: Any) -> None:
    with client_at(server) as client:
        info = client.get_model_info()
    assert (info.model_name, info.model_type) == ("scout-nano", "chat-completion")


def test_what_it_passes_through_is_known_or_refused(server: Any, question: dict) -> None:
    with client_at(server) as client:
        assert client.complete(messages=[question], max_tokens=4, model_extras={"top_k": 20}).choices
        with pytest.raises(HttpResponseError, match="safe_prompt is not a parameter") as refused:
            client.complete(messages=[question], model_extras={"safe_prompt": True})
    assert refused.value.status_code == 400


def test_without_the_key_nothing_is_answered(server: Any, question: dict) -> None:
    with client_at(server, key="another") as client, pytest.raises(ClientAuthenticationError):
        client.complete(messages=[question])
