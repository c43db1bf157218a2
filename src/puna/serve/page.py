"""The chat page: static files of ours, and the starter pictures beside them.

The page talks to the same public API as every other client. Its headers let it load nothing from anywhere else: no script, style, font or
picture of a stranger, whatever a model writes. Knows nothing of models.

`web/starters/starters.json` lists the pictures that a visitor may start with, in order:

    {"starters": [{"file": "llama.png", "kind": "emoji", "title": "a llama", "questions": {"en": ["What is this?"], "es": [...]}}]}

`file` lies beside it; `title` (optional) is what screen readers say; `questions` has "en" and any of the other eleven languages,
and the page falls back to English. Any number of pictures, none included.
"""

from pathlib import Path
from typing import Annotated, Literal

from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WEB = Path(__file__).parent / "web"

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Language = Literal["en", "es", "fr", "de", "pt", "ru", "ar", "hi", "id", "ja", "ko", "zh"]


class PageError(ValueError):
    """A file of the page is missing or wrong. The message names it."""


class Starter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.(png|jpg|jpeg|webp|gif)$")]
    kind: Annotated[str, Field(min_length=1)]
    title: str = ""
    questions: dict[Language, Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]]


class Starters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    starters: list[Starter] = []


def load_starters(directory: Path) -> Starters:
    """What `starters.json` lists; nothing if it is absent. Raises `PageError` for a wrong list or a missing picture."""
    listing = directory / "starters.json"
    if not listing.exists():
        return Starters()
    try:
        starters = Starters.model_validate_json(listing.read_bytes())
    except ValidationError as error:
        raise PageError(f"{listing} does not follow its schema (see puna.serve.page): {error}") from error
    for starter in starters.starters:
        if not (directory / starter.file).is_file():
            raise PageError(f"{listing} names {starter.file!r}, which does not lie beside it; add the picture or remove its entry")
        if "en" not in starter.questions:
            raise PageError(f"{listing}: {starter.file!r} has no questions in 'en', the language that the page falls back to")
    return starters


def mount(app: FastAPI, web: Path) -> None:
    """Adds `/`, `/web/...` and the headers of every answer."""
    starters = load_starters(web / "starters")

    # HEAD, too: Claude Code begins with it, to see whether anybody is there.
    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return FileResponse(web / "index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def favicon() -> Response:
        return FileResponse(web / "icon.svg")

    @app.get("/web/starters.json", include_in_schema=False)
    async def listing() -> Starters:
        return starters

    app.mount("/web", StaticFiles(directory=web))
    app.add_middleware(Headers)


class Headers:
    """Puts the page's protections on every answer, and makes browsers ask again for a page that an upgrade may have changed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
                headers["Referrer-Policy"] = "no-referrer"
                headers.setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers)
