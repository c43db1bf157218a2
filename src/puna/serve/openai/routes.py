"""OpenAI's routes, also under the addresses at which other clients look for them.

Groq's client puts /openai before /v1. Azure's puts the model's name into the address; its inference client leaves the model out, and says
in a header what shall become of parameters that the server does not know.
"""

import json
import time
from typing import Any, Literal

from fastapi import FastAPI, Request, Response

from puna.serve.core import Core
from puna.serve.errors import ApiError
from puna.serve.exchange import Answering
from puna.serve.openai.chat import read_chat
from puna.serve.openai.completions import read_completion
from puna.serve.openai.tokenize import detokenize, tokenize
from puna.serve.openai.wire import (
    ChatCompletion,
    ChatRequest,
    Completion,
    CompletionRequest,
    Detokenized,
    DetokenizeRequest,
    ModelCard,
    ModelInfo,
    ModelList,
    Tokenized,
    TokenizeRequest,
)


def mount(app: FastAPI, core: Core) -> None:
    card = model_card(core.pipeline)
    describe = core.described
    chat_route = describe.route(ChatRequest, ChatCompletion, streams=True)
    completion_route = describe.route(CompletionRequest, Completion, streams=True)

    async def chat_completions(request: Request) -> Response:
        """Answer a conversation. In OpenAI's form, with `top_k`, `min_p` and `repetition_penalty` beside it."""
        return await core.respond(request, lambda body: read_chat(core, body))

    async def completions(request: Request) -> Response:
        """Continue a plain text, or token ids. In OpenAI's form."""
        return await core.respond(request, lambda body: read_completion(core, body))

    async def models() -> ModelList:
        """What is served."""
        return ModelList(data=[card])

    async def model(name: str) -> ModelCard:
        """One model."""
        core.check_model(name)
        return card

    for root, shown in (("/v1", True), ("/openai/v1", False)):
        app.post(f"{root}/chat/completions", include_in_schema=shown, **chat_route)(chat_completions)
        app.post(f"{root}/completions", include_in_schema=shown, **completion_route)(completions)
        app.get(f"{root}/models", include_in_schema=shown, **describe.look_up())(models)
        app.get(f"{root}/models/{{name:path}}", include_in_schema=shown, **describe.look_up(404))(model)

    @app.post("/openai/deployments/{name}/chat/completions", include_in_schema=False)
    async def deployed_chat(request: Request, name: str) -> Response:
        return await core.respond(request, lambda body: read_chat(core, body, name))

    @app.post("/openai/deployments/{name}/completions", include_in_schema=False)
    async def deployed_completions(request: Request, name: str) -> Response:
        return await core.respond(request, lambda body: read_completion(core, body, name))

    @app.post("/models/chat/completions", include_in_schema=False)
    async def azure_chat(request: Request) -> Response:
        wish = request.headers.get("extra-parameters", "error")
        return await core.respond(request, lambda body: read_chat(core, _known_only(body, wish)))

    @app.get("/models/info", include_in_schema=False)
    async def info() -> ModelInfo:
        return ModelInfo(model_name=core.pipeline.name)

    @app.post("/tokenize", **describe.route(TokenizeRequest, Tokenized))
    async def to_tokens(request: Request) -> Response:
        """The token ids of a text or a conversation. As vLLM's server has it."""
        return await core.reply(request, lambda body: tokenize(core, body))

    @app.post("/detokenize", **describe.route(DetokenizeRequest, Detokenized))
    async def to_text(request: Request) -> Response:
        """The text of token ids, special ones by their names."""
        return await core.reply(request, lambda body: detokenize(core, body))


def _known_only(body: bytes, wish: str) -> bytes:
    """The body without parameters that no chat completion has, if the client wishes them dropped. Else they are an error further on:
    "pass-through" would hand them to the model, which has no use for any.
    """
    if wish not in ("error", "drop", "pass-through"):
        message = f"the header extra-parameters is {wish[:40]!r}; it must be error, drop or pass-through"
        raise ApiError(400, message, code="invalid_value", param="extra-parameters")
    if wish != "drop":
        return body
    try:
        fields: Any = json.loads(body)
    except (ValueError, RecursionError):
        return body  # told further on what is wrong with it
    if not isinstance(fields, dict):
        return body
    return json.dumps({name: value for name, value in fields.items() if name in ChatRequest.model_fields}).encode()


def model_card(pipeline: Answering) -> ModelCard:
    modalities: list[Literal["text", "image", "video"]] = ["text", "image", "video"] if pipeline.config.vision else ["text"]
    return ModelCard(id=pipeline.name, created=int(time.time()), context_length=pipeline.config.max_positions, input_modalities=modalities)
