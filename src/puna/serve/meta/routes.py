"""The routes of Meta's Llama API. Its client's `base_url` is this server's address with `PREFIX` behind it."""

from fastapi import FastAPI, Request, Response

from puna.serve.core import Core
from puna.serve.errors import ApiError
from puna.serve.meta.chat import read_llama_chat
from puna.serve.meta.moderation import read_moderation
from puna.serve.meta.wire import LlamaChatCompletion, LlamaChatRequest, LlamaModeration, LlamaModerationRequest
from puna.serve.openai.routes import model_card
from puna.serve.openai.wire import ModelCard, ModelList

PREFIX = "/llama/v1"


def mount(app: FastAPI, core: Core) -> None:
    card = model_card(core.pipeline)
    describe = core.described

    @app.post(f"{PREFIX}/chat/completions", **describe.route(LlamaChatRequest, LlamaChatCompletion, streams=True))
    async def llama_chat(request: Request) -> Response:
        """Answer a conversation. In the form of Meta's Llama API, with `video_url` beside it; a stream ends without [DONE]."""
        return await core.respond(request, lambda body: read_llama_chat(core, body))

    @app.post(f"{PREFIX}/moderations", **describe.route(LlamaModerationRequest, LlamaModeration))
    async def llama_moderation(request: Request) -> Response:
        """Judge a conversation without answering it. In the form of Meta's Llama API; only with a guard."""
        return await core.reply(request, lambda body: read_moderation(core, body))

    @app.get(f"{PREFIX}/models", **describe.look_up())
    async def llama_models() -> ModelList:
        """What is served."""
        return ModelList(data=[card])

    @app.get(f"{PREFIX}/models/{{name:path}}", **describe.look_up(404))
    async def llama_model(name: str) -> ModelCard:
        """One model."""
        core.check_model(name)
        return card

    @app.post(f"{PREFIX}/uploads", include_in_schema=False)
    @app.post(f"{PREFIX}/uploads/{{upload_id}}", include_in_schema=False)
    @app.get(f"{PREFIX}/uploads/{{upload_id}}", include_in_schema=False)
    async def uploads() -> Response:
        message = "this server keeps no uploads; send a picture inside its message, as image_url with data:image/png;base64,..."
        raise ApiError(404, message, code="uploads_not_supported")
