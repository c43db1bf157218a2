"""The server as an ASGI application: the APIs' routes around one core, the page, and the headers of every answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from puna import __version__
from puna.serve import errors, health, moderations, page
from puna.serve.anthropic import routes as anthropic
from puna.serve.core import Core
from puna.serve.exchange import Answering
from puna.serve.guard import Guard
from puna.serve.limits import Limits
from puna.serve.meta import routes as meta
from puna.serve.metrics import Metrics
from puna.serve.openai import routes as openai
from puna.serve.responses import routes as responses
from puna.serve.store import Store


def create_app(
    pipeline: Answering,
    *,
    limits: Limits | None = None,
    guard: Guard | None = None,
    metrics: Metrics | None = None,
    store: Store | None = None,
    web: Path = page.WEB,
) -> FastAPI:
    """Everything that `puna serve` serves, around one pipeline. `store`: where responses are kept, closed with the app. `web`: the
    folder of the chat page.

    Who may ask, how often, and what is logged is `puna.serve.operations`' business, around this.
    """
    core = Core(pipeline, limits or Limits(), guard, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await core.aclose()
        if keeper is not None:
            await keeper.aclose()

    # No generated documentation page: it loads its scripts from elsewhere.
    app = FastAPI(
        title="Puna", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan, redirect_slashes=False
    )
    app.state.core = core
    errors.install(app, core.voices)
    for api in (anthropic, openai, moderations, meta, health):  # Anthropic's before OpenAI's: see there
        api.mount(app, core)
    keeper = app.state.keeper = responses.mount(app, core, store)
    core.described.install(app)
    page.mount(app, web)
    return app
