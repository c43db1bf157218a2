"""Whether the server lives, and whether it can take a request: for people, load balancers and containers."""

from typing import Literal

from fastapi import FastAPI
from pydantic import BaseModel

from puna import __version__
from puna.serve.core import Core
from puna.serve.line import closing


class Health(BaseModel):
    status: Literal["ok", "draining"]
    model: str
    requests_in_flight: int


class Version(BaseModel):
    version: str


def mount(app: FastAPI, core: Core) -> None:
    async def health() -> Health:
        """The model is loaded before the server listens: whoever gets an answer talks to a server that has started and lives."""
        return Health(status="draining" if core.line.is_closed else "ok", model=core.pipeline.name, requests_in_flight=core.in_flight)

    for path in ("/health", "/health/live", "/health/start"):
        app.get(path)(health)

    @app.get("/health/ready")
    async def ready() -> Health:
        """503 once the server is going down: a load balancer then sends requests elsewhere, and those under way still end."""
        if core.line.is_closed:
            raise closing()
        return await health()

    @app.get("/version")
    async def version() -> Version:
        return Version(version=__version__)
