"""Puts the middlewares around an application, in the one order that is right."""

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from puna.serve.access import METRICS, Authentication, ExposureError, LocalNames, Say, in_openai_words
from puna.serve.keys import KeyRing
from puna.serve.logs import RequestLog
from puna.serve.metrics import Metrics
from puna.serve.rates import RateLimiting, RateLimits
from puna.serve.settings import ServerSettings

# What scripts of other origins may read beside the body.
_EXPOSED = (
    "x-request-id",
    "retry-after",
    *(f"x-ratelimit-{part}-{of}" for part in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
)


def key_ring(settings: ServerSettings) -> KeyRing:
    """The keys that `settings` name."""
    return KeyRing(settings.keys_file, settings.api_key.get_secret_value() if settings.api_key else None)


def install(
    app: Starlette,
    settings: ServerSettings,
    ring: KeyRing,
    *,
    metrics: Metrics | None = None,
    is_local: bool = True,
    say: Say = in_openai_words,
) -> None:
    """Adds log, keys, rate limits, CORS and /metrics to `app`. `is_local`: it listens on loopback alone. `say`: how each API says
    an error.

    Raises `ExposureError` for origins that would lend a server without keys to any web page.
    """
    if "*" in settings.cors_origins and not (ring.is_required or settings.allow_anyone):
        raise ExposureError(
            "cors_origins=* lets every web page that somebody opens on this machine use the model, and there is no key: "
            "name the origins, or make a key with puna keys add NAME"
        )
    # From the inside out. Rates know the key; a preflight carries none; every refusal, too, has an id and a line in the log.
    limits = RateLimits(settings.rates.requests_per_minute, settings.rates.tokens_per_minute, most_known=settings.rates.most_known)
    app.add_middleware(RateLimiting, limits=limits, say=say)
    app.add_middleware(Authentication, ring=ring, allow_anyone=settings.allow_anyone, say=say)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **cors(settings.cors_origins))
    if is_local and not settings.allow_anyone:
        app.add_middleware(LocalNames, ring=ring, names=settings.allowed_hosts, say=say)
    app.add_middleware(RequestLog, observers=(metrics.request,) if metrics else (), say=say)
    if metrics is not None:
        app.add_route(METRICS, metrics.endpoint, include_in_schema=False)


def cors(origins: tuple[str, ...]) -> Mapping[str, Any]:
    """Options of starlette's middleware. All request headers: clients send dozens of their own. No cookies: none are used."""
    return {
        "allow_origins": origins,
        "allow_methods": ("GET", "POST", "DELETE"),
        "allow_headers": ("*",),
        "expose_headers": _EXPOSED,
        "allow_credentials": False,
        "max_age": 3600,
    }
