"""Who gets in: a middleware that asks for a key, one that holds a server without keys to this machine, and the rule for starting.

Without a key only this machine is served. That also has to hold against web pages: a stranger's page whose name is made to point at
127.0.0.1 would share our origin (DNS rebinding), so a server without keys answers to names of this machine alone.
"""

import ipaddress
from collections.abc import Callable, Iterable

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from puna.serve.errors import ApiError
from puna.serve.keys import Key, KeyRing
from puna.serve.record import record_of

# What anyone may read: probes, and the page, which is the same for all and holds nothing of theirs.
PUBLIC = frozenset({"/", "/favicon.ico", "/health", "/health/live", "/health/ready", "/health/start", "/version", "/openapi.json"})
PUBLIC_FOLDERS = ("/web/",)
METRICS = "/metrics"

# How an error is said on a route: `puna.serve.errors.Voices.say` knows the APIs that have their own words for it.
Say = Callable[[Scope, ApiError], Response]


def in_openai_words(scope: Scope, error: ApiError) -> Response:
    return error.response()


class ExposureError(ValueError):
    """The server would be open to other machines without a key. The message names the ways out."""


def check_exposure(host: str, ring: KeyRing, allow_anyone: bool) -> None:
    """The rule for starting: beyond loopback only with a key, or with `allow_anyone`, which says so. `host` is a numeric address."""
    if ipaddress.ip_address(host.partition("%")[0]).is_loopback or ring.is_required or allow_anyone:
        return
    raise ExposureError(
        f"host={host} lets other machines in, and there is no key: make one with puna keys add NAME, or set PUNA_API_KEY; "
        "--host 127.0.0.1 keeps to this machine, --allow-anyone serves whoever reaches the port"
    )


class Authentication:
    """Lets a request through with a key whose scope allows its path: 401 without a sound key, 403 without the scope.

    The key comes as `Authorization: Bearer`, `x-api-key` or `api-key`; clients that send several need one that is right. With
    `allow_anyone` nobody is asked.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, *, allow_anyone: bool = False, say: Say = in_openai_words) -> None:
        self._app, self._ring, self._allow_anyone, self._say = app, ring, allow_anyone, say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and self._needs_key:
            await send({"type": "websocket.close", "code": 1008})  # none is served, and none gets past this place
            return
        if scope["type"] != "http" or not self._needs_key or is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            record_of(scope).key = self._admitted(scope).name
        except ApiError as error:
            await self._say(scope, error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    @property
    def _needs_key(self) -> bool:
        return not self._allow_anyone and self._ring.is_required

    def _admitted(self, scope: Scope) -> Key:
        given = list(_presented(Headers(scope=scope)))
        if not given:
            raise _unauthorized("no API key was sent; send it as Authorization: Bearer KEY, x-api-key or api-key")
        found = [key for key in map(self._ring.find, given) if key is not None]
        active = [key for key in found if key.state() == "active"]
        if not active:
            # Only its owner can be told of a key's end: whoever has it once had access.
            reason = f"the API key {found[0].name!r} is {found[0].state()}" if found else "the API key is not one of this server's"
            raise _unauthorized(f"{reason}; whoever runs the server makes keys with puna keys add")
        wanted = "metrics" if scope["path"] == METRICS else "chat"
        for key in active:
            if wanted in key.scopes:
                return key
        message = f"the API key {active[0].name!r} may do {', '.join(active[0].scopes)}, but {scope['path']} needs {wanted}"
        raise ApiError(403, f"{message}; make one with puna keys add NAME --scope {wanted}", code="missing_scope")


def is_public(path: str) -> bool:
    return path in PUBLIC or path.startswith(PUBLIC_FOLDERS)


def _presented(headers: Headers) -> Iterable[str]:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    candidates = [credentials] if scheme.lower() == "bearer" else []
    candidates += [headers.get("x-api-key", ""), headers.get("api-key", "")]
    return dict.fromkeys(candidate.strip() for candidate in candidates if candidate.strip())


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


class LocalNames:
    """For a server on loopback without keys: answers only who calls it by a number, by localhost, or by one of `names`."""

    def __init__(self, app: ASGIApp, ring: KeyRing, names: Iterable[str] = (), *, say: Say = in_openai_words) -> None:
        self._app, self._ring, self._say = app, ring, say
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._ring.is_required:
            host = host_name(Headers(scope=scope).get("host", ""))
            if host and not (is_own_name(host) or host in self._names):  # every browser names one
                message = (
                    f"this server keeps to its own machine and is not called {host[:100]!r}; use its number, "
                    f"or let that name in with --set allowed_hosts={host[:100]}"
                )
                error = ApiError(403, message, code="unknown_host")
                await self._say(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_name(header: str) -> str:
    """The name in a Host header, without its port and a number's brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].rstrip(".").lower()


def is_own_name(host: str) -> bool:
    """Whether no stranger's DNS can have made this name: a number, or localhost."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
