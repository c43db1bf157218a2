"""`run`: from the name of a model to a server that answers, and its clean end.

The port is taken before the model is loaded, so that a taken port is told at once. What a person sees on the terminal is
printed here.
"""

import errno
import ipaddress
import json
import logging
import shlex
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from puna.engine import Engine
from puna.pipeline import load
from puna.serve import logs
from puna.serve.access import check_exposure
from puna.serve.app import create_app
from puna.serve.drain import DrainingServer
from puna.serve.exchange import Answering
from puna.serve.keys import KeyRing
from puna.serve.metrics import Metrics
from puna.serve.operations import install, key_ring
from puna.serve.settings import ServerSettings
from puna.serve.store import Bounds, Store

_log = logging.getLogger(__name__)

# Time that the last bytes get to reach their clients, once all answers have ended or are cut (`Limits.drain_s`).
GRACE_S = 2


class ServeError(ValueError):
    """The server cannot start. The message names the address, the reason and the way out."""


class Loaded(NamedTuple):
    """A pipeline that can answer, its engine, and what fits into its memory in words."""

    pipeline: Answering
    engine: Engine | None = None
    report: str = ""


def run(settings: ServerSettings | None = None, *, open_browser: bool = False, notes: Sequence[str] = ()) -> None:
    """Serves until SIGINT or SIGTERM. Port 0 takes a free one. `notes` go to the log.

    Raises `ServeError` if it cannot listen there, `ExposureError` if strangers could come in without a key, `MemoryPlanError` if not even
    one request fits.
    """
    settings = settings or ServerSettings()
    logs.configure(settings.log.format, settings.log.level)
    for note in notes:
        _log.warning(note)
    console = Console()
    ring = key_ring(settings)
    with bind(settings.host, settings.port) as listener:
        check_exposure(listener.getsockname()[0], ring, settings.allow_anyone)
        kept = store_of(settings)
        with console.status(f"loading {settings.model}"):
            loaded = ready(settings)
        serve(loaded, listener, console, settings, ring, store=kept, open_browser=open_browser)


def ready(settings: ServerSettings) -> Loaded:
    """The model, with its memory taken."""
    pipeline = load(settings.model, settings=settings.to_engine())
    return Loaded(pipeline, pipeline.engine, pipeline.engine.plan.report())


def serve(
    loaded: Loaded,
    listener: socket.socket,
    console: Console,
    settings: ServerSettings,
    ring: KeyRing,
    *,
    store: Store | None = None,
    open_browser: bool = False,
) -> None:
    """Serves a loaded pipeline on a bound socket, and closes `store`. Returns when a signal has ended it."""
    host, port = listener.getsockname()[:2]
    app = around(loaded, settings, ring, is_local=is_loopback(host), store=store)
    address = f"http://{_in_url(host)}:{port}"
    _greet(console, loaded.pipeline, address, needs_key=ring.is_required and not settings.allow_anyone)
    if loaded.report:
        console.print(loaded.report, highlight=False, soft_wrap=True)
    for warning in _warnings(host, port, settings, ring):
        console.print(f"warning: {warning}", style="bold yellow", soft_wrap=True)
    listener.listen(128)
    if open_browser:
        _open_browser(address, console)
    config = uvicorn.Config(
        app,
        log_config=None,  # ours is set up already
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
    )
    with _signals_end_quietly():
        DrainingServer(config, app.state.core).run(sockets=[listener])
    console.print("stopped")


def store_of(settings: ServerSettings) -> Store | None:
    """Where responses are kept. Raises `puna.serve.store.StoreError`."""
    if settings.store is None:
        return None
    limits = settings.to_limits()
    return Store(settings.store, Bounds(count=limits.stored_responses, bytes=limits.stored_bytes, days=limits.stored_days))


def around(loaded: Loaded, settings: ServerSettings, ring: KeyRing, *, is_local: bool, store: Store | None = None) -> FastAPI:
    """The whole application, as `settings` want it. `is_local`: it will listen on loopback alone."""
    metrics = None
    if settings.metrics.enabled:
        metrics = Metrics(loaded.pipeline.name, vllm_names=settings.metrics.vllm_names)
        if loaded.engine is not None:
            metrics.watch(loaded.engine, experts=settings.metrics.experts)
    app = create_app(loaded.pipeline, limits=settings.to_limits(), metrics=metrics, store=store)
    install(app, settings, ring, metrics=metrics, is_local=is_local, say=app.state.core.voices.say)
    return app


def _warnings(host: str, port: int, settings: ServerSettings, ring: KeyRing) -> Iterator[str]:
    if settings.allow_anyone and ring.is_required:
        yield "there are API keys, but nobody is asked for one, since anyone is allowed (allow_anyone)"
    if settings.allow_anyone and not is_loopback(host):
        yield (
            f"listening on {host}, beyond this machine, without asking for a key: whoever reaches port {port} can use the model. "
            "Use --host 127.0.0.1 to keep it to yourself, or keys instead of --allow-anyone."
        )


def bind(host: str, port: int) -> socket.socket:
    """A socket on `host:port` that does not listen yet. Raises `ServeError` if there can be none."""
    if not 0 <= port <= 65535:
        raise ServeError(f"port={port} is not a port; use 1 to 65535, or 0 for a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ServeError(f"host={host!r} is not an address of this machine ({error}); use 127.0.0.1 or 0.0.0.0") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ServeError(_bind_failure(host, port, error)) from error
    return listener


def _bind_failure(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another program; choose another one with --port, or --port 0 for a free one"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"host={host!r} is not an address of this machine; use 127.0.0.1 or 0.0.0.0"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has; choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _in_url(host: str) -> str:
    """An address that a browser on this machine can open: 0.0.0.0 is none."""
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        return "[::1]" if ":" in host else "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _greet(console: Console, pipeline: Answering, address: str, *, needs_key: bool = False) -> None:
    reads = "text and pictures" if pipeline.config.vision else "text"
    text = Text.assemble(
        ("chat   ", "dim"), (address, "bold cyan"), "\n",
        ("api    ", "dim"), (f"{address}/v1", "cyan"), ("  OpenAI: chat, completions, responses; Anthropic: messages\n", "dim"),
        ("model  ", "dim"), (pipeline.name, "bold"), (f"  reads {reads}, {pipeline.config.max_positions:,} tokens of context\n", "dim"),
        *((("key    ", "dim"), "needed", ("  puna keys add NAME makes one\n", "dim")) if needs_key else ()),
        ("stop   ", "dim"), "Ctrl+C",
    )  # fmt: skip
    console.print(Panel(text, title="Puna", title_align="left", border_style="green", expand=False))
    # Outside the panel and never wrapped, so that it can be copied.
    body = json.dumps({"model": pipeline.name, "messages": [{"role": "user", "content": "Hello!"}]})
    key = ' -H "Authorization: Bearer $PUNA_KEY"' if needs_key else ""
    curl = f"curl {address}/v1/chat/completions -H 'Content-Type: application/json'{key} -d {shlex.quote(body)}"
    console.print(Text(f"try it:\n  {curl}"), soft_wrap=True)


def _open_browser(address: str, console: Console) -> None:
    def open_it() -> None:
        if not webbrowser.open(address):
            console.print(f"no browser could be opened from here; open {address} yourself")

    # Its own thread: text browsers hold the call until they are closed.
    threading.Thread(target=open_it, daemon=True).start()


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Lets the process end with 0 after SIGINT or SIGTERM: uvicorn, once shut down, raises the signal again."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: None) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
