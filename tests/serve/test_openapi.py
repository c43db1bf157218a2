"""The description at /openapi.json: whole, and true of what the server takes and gives."""

from collections.abc import Iterator
from typing import Any

import pytest

from puna.serve.errors import described
from puna.serve.openai.wire import ChatRequest, CompletionRequest
from puna.testing.scripted import ScriptedPipeline
from puna.testing.serving import AppClient

pytestmark = pytest.mark.anyio


async def description() -> tuple[AppClient, dict[str, Any]]:
    client = AppClient(ScriptedPipeline("Yes"))
    response = await client.http.get("/openapi.json")
    assert response.status_code == 200
    return client, response.json()


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_every_reference_leads_to_a_schema() -> None:
    _, document = await description()
    found = set(references(document))
    assert len(found) > 20
    assert found == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} & found
    assert not any("." in reference for reference in found)


async def test_every_route_of_the_api_is_described() -> None:
    client, document = await description()
    listed = {f"{method.upper()} {path}" for path, operations in document["paths"].items() for method in operations}
    assert {route.replace(":path", "") for route in described(client.app)} == listed
    assert {"POST /v1/chat/completions", "POST /v1/completions", "POST /tokenize", "GET /v1/models/{name}", "GET /health/ready"} <= listed


@pytest.mark.parametrize(("path", "model"), [("/v1/chat/completions", ChatRequest), ("/v1/completions", CompletionRequest)])
async def test_a_body_is_described_by_the_model_that_reads_it(path: str, model: type[ChatRequest]) -> None:
    _, document = await description()
    operation = document["paths"][path]["post"]
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert document["components"]["schemas"][name]["properties"].keys() == model.model_fields.keys()
    assert {"400", "404", "413", "429", "500", "503"} <= operation["responses"].keys() and "422" not in operation["responses"]
    assert "text/event-stream" in operation["responses"]["200"]["content"]


async def test_contents_and_stops_may_be_plain_texts() -> None:
    _, document = await description()
    schemas = document["components"]["schemas"]
    assert {"type": "string"} in schemas["UserMessage"]["properties"]["content"]["anyOf"]
    assert {"type": "string", "minLength": 1} in schemas["ChatRequest"]["properties"]["stop"]["anyOf"]
