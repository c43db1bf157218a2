"""Moderations in OpenAI's form: what the guard before the model says of a text or a picture.

A guard says yes, or why not, and no more: the categories that OpenAI has are null, which is neither true nor false, and the reason stands
beside them. Without a guard there is no verdict to give.
"""

import uuid
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BeforeValidator, Field

from puna.pipeline import Ask
from puna.serve.core import Core
from puna.serve.errors import ApiError
from puna.serve.guard import Guard, verdict
from puna.serve.openai.options import parsed
from puna.serve.openai.wire import Wire
from puna.stream import Message, Part, Text

# The guard's name on the wire, in place of a model's.
MODEL = "guard"
_CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip


class TextInput(Wire):
    type: Literal["text"]
    text: str


class ImageUrl(Wire):
    url: str


class ImageInput(Wire):
    type: Literal["image_url"]
    image_url: ImageUrl


def _as_inputs(given: Any) -> Any:
    """Texts are judged one by one; parts belong together."""
    texts = [given] if isinstance(given, str) else given
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return [[{"type": "text", "text": text}] for text in texts]
    return [texts]


_Parts = Annotated[list[Annotated[TextInput | ImageInput, Field(discriminator="type")]], Field(min_length=1)]
_Inputs = Annotated[list[_Parts], Field(min_length=1, max_length=64)]


class ModerationRequest(Wire):
    input: Annotated[_Inputs, BeforeValidator(_as_inputs, json_schema_input_type=str | list[str] | _Parts)]
    model: str | None = None


class ModerationResult(Wire):
    flagged: bool
    reason: str | None
    categories: dict[str, bool | None]
    category_scores: dict[str, float | None]
    category_applied_input_types: dict[str, list[str]]


class Moderation(Wire):
    id: str
    model: str
    results: list[ModerationResult]


def mount(app: FastAPI, core: Core) -> None:
    @app.post("/v1/moderations", **core.described.route(ModerationRequest, Moderation))
    async def moderations(request: Request) -> Response:
        """What the guard says of a text, of each of several, or of text and pictures together."""
        return await core.reply(request, lambda body: read_moderation(core, body))


def read_moderation(core: Core, body: bytes) -> Awaitable[Moderation]:
    """Parses and checks a body; the verdicts are to be awaited. Raises 404 where there is no guard."""
    request = parsed(ModerationRequest, body)
    if request.model not in (None, MODEL):
        message = f"model={request.model!r} does not judge here; leave the model out"
        raise ApiError(404, message, code="model_not_found", param="model")
    if core.guard is None:
        raise ApiError(404, "this server has no guard, so that nobody could judge this; moderate elsewhere", code="no_guard")
    asks = [Ask(messages=(Message("user", tuple(_parts(core, parts))),)) for parts in request.input]
    return _judged(core.guard, asks)


def _parts(core: Core, parts: _Parts) -> list[Part]:
    conversation = core.conversation("input")
    conversation.expect(pictures=sum(isinstance(part, ImageInput) for part in parts))
    return [
        Text(part.text) if isinstance(part, TextInput) else conversation.url(part.image_url.url, "image", f"input[{place}].image_url")
        for place, part in enumerate(parts)
    ]


async def _judged(guard: Guard, asks: Sequence[Ask]) -> Moderation:
    return Moderation(id=f"modr_{uuid.uuid4().hex}", model=MODEL, results=[_result(await verdict(guard.asked(ask))) for ask in asks])


def _result(reason: str | None) -> ModerationResult:
    return ModerationResult(
        flagged=reason is not None,
        reason=reason,
        categories=dict.fromkeys(_CATEGORIES),
        category_scores=dict.fromkeys(_CATEGORIES),
        category_applied_input_types={name: [] for name in _CATEGORIES},
    )
