"""The same API where Groq's and Azure's clients look for it."""

import json

import pytest

from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import USER, AppClient, assert_error

pytestmark = pytest.mark.anyio
BODY = {"messages": [USER]}


@pytest.fixture
def client() -> AppClient:
    return AppClient(ScriptedPipeline("Yes", name="scout"))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/openai/v1/chat/completions",
        "/openai/deployments/scout/chat/completions?api-version=2024-10-21",
        "/models/chat/completions?api-version=2024-05-01-preview",
    ],
)
async def test_chat_is_answered_at_every_address(client: AppClient, path: str) -> None:
    assert (await client.http.post(path, json=BODY)).json()["choices"][0]["message"]["content"] == "Yes"
    assert (await client.http.post(path, json={**BODY, "stream": True})).text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("path", ["/v1/completions", "/openai/v1/completions", "/openai/deployments/scout/completions"])
async def test_prompts_are_continued_at_every_address(client: AppClient, path: str) -> None:
    assert (await client.http.post(path, json={"prompt": "a"})).json()["choices"][0]["text"] == "Yes"


async def test_models_are_listed_at_every_address(client: AppClient) -> None:
    assert [card["id"] for card in (await client.http.get("/openai/v1/models")).json()["data"]] == ["scout"]
    assert (await client.http.get("/openai/v1/models/scout")).json()["id"] == "scout"
    info = (await client.http.get("/models/info?api-version=2024-05-01-preview")).json()
    assert info == {"model_name": "scout", "model_type": "chat-completion", "model_provider_name": "puna"}


async def test_a_deployment_of_another_name_is_not_found(client: AppClient) -> None:
    for path in ("chat/completions", "completions"):
        body = BODY if path.startswith("chat") else {"prompt": "a"}
        response = await client.http.post(f"/openai/deployments/other/{path}", json=body)
        assert_error(response, 404, "model_not_found", "model")


@pytest.mark.parametrize("wish", [None, "error", "pass-through", "drop"])
async def test_unknown_parameters_are_dropped_only_when_the_client_says_so(client: AppClient, wish: str | None) -> None:
    headers = {} if wish is None else {"extra-parameters": wish}
    response = await client.http.post("/models/chat/completions", json={**BODY, "safe_prompt": True}, headers=headers)
    if wish == "drop":
        assert response.status_code == 200
    else:
        assert_error(response, 400, "unknown_parameter", "safe_prompt")


async def test_a_wish_that_does_not_exist_is_refused(client: AppClient) -> None:
    response = await client.http.post("/models/chat/completions", json=BODY, headers={"extra-parameters": "ignore"})
    assert_error(response, 400, "invalid_value", "extra-parameters")


@pytest.mark.parametrize("body", [b"{", b"[1]", b"[" * 100_000])
async def test_dropping_parameters_of_no_object_is_an_ordinary_mistake(client: AppClient, body: bytes) -> None:
    headers = {"extra-parameters": "drop", "Content-Type": "application/json"}
    response = await client.http.post("/models/chat/completions", content=body, headers=headers)
    assert response.status_code == 400 and json.loads(response.text)["error"]["code"] == "invalid_json"
