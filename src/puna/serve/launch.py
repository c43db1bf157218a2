"""`run`: from the name of a model to a server that answers, and its clean end.

The port is taken before the model is loaded, so that a taken port is told at once. What a person sees on the terminal is
printed here.
"""

import errno
import ipaddress
import json
import shlex
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import uvicorn
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from puna.engine import Settings
from puna.pipeline import load
from puna.serve.app import create_app
from puna.serve.chat_completions import ChatPipeline
from puna.serve.limits import Limits

# Time that answers being written get to end after SIGINT or SIGTERM; a second signal ends them at once.
GRACE_S = 5


class ServeError(ValueError):
    """The server cannot start. The message names the address, the reason and the way out."""


def run(
    model: str = "scout-nano",
    host: str = "127.0.0.1",
    port: int = 8000,
    open_browser: bool = False,
    *,
    max_tokens: int | None = None,
    settings: Settings | None = None,
) -> None:
    """Serves `model` at `http://host:port` until SIGINT or SIGTERM. Port 0 takes a free one.

    `max_tokens` is how long an answer may get when the client names no number, `settings` what the engine may use. Raises `ServeError` if
    it cannot listen there, `MemoryPlanError` if not even one request fits.
    """
    settings = settings or Settings(max_streams=16)
    limits = Limits(answering=settings.max_streams)
    if max_tokens is not None:
        limits = replace(limits, default_max_tokens=max_tokens)
    console = Console()
    with bind(host, port) as listener:
        with console.status(f"loading {model}"):
            pipeline, report = ready(model, settings)
        serve(pipeline, listener, console, limits=limits, open_browser=open_browser, report=report)


def ready(model: str, settings: Settings) -> tuple[ChatPipeline, str]:
    """A pipeline whose memory is taken, and what fits into it in words."""
    pipeline = load(model, settings=settings)
    report = pipeline.engine.plan.report()
    return pipeline, report  # pyright: ignore[reportReturnType]  # the pipeline's options are spelt out


def serve(
    pipeline: ChatPipeline,
    listener: socket.socket,
    console: Console,
    *,
    limits: Limits | None = None,
    open_browser: bool = False,
    report: str = "",
) -> None:
    """Serves a loaded pipeline on a bound socket. Returns when a signal has ended it."""
    app = create_app(pipeline, limits=limits)
    host, port = listener.getsockname()[:2]
    address = f"http://{_in_url(host)}:{port}"
    _greet(console, pipeline, address)
    if report:
        console.print(report, highlight=False, soft_wrap=True)
    if not is_loopback(host):
        console.print(
            f"warning: listening on {host}, beyond this machine, without a password: whoever reaches port {port} can use the model. "
            "Use --host 127.0.0.1 to keep it to yourself.",
            style="bold yellow",
            soft_wrap=True,
        )
    listener.listen(128)
    if open_browser:
        _open_browser(address, console)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S, server_header=False)
    with _signals_end_quietly():
        uvicorn.Server(config).run(sockets=[listener])
    console.print("stopped")


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


def _greet(console: Console, pipeline: ChatPipeline, address: str) -> None:
    reads = "text and pictures" if pipeline.config.vision else "text"
    text = Text.assemble(
        ("chat   ", "dim"), (address, "bold cyan"), "\n",
        ("api    ", "dim"), (f"{address}/v1", "cyan"), ("  OpenAI chat completions\n", "dim"),
        ("model  ", "dim"), (pipeline.name, "bold"), (f"  reads {reads}, {pipeline.config.max_positions:,} tokens of context\n", "dim"),
        ("stop   ", "dim"), "Ctrl+C",
    )  # fmt: skip
    console.print(Panel(text, title="Puna", title_align="left", border_style="green", expand=False))
    # Outside the panel and never wrapped, so that it can be copied.
    body = json.dumps({"model": pipeline.name, "messages": [{"role": "user", "content": "Hello!"}]})
    curl = f"curl {address}/v1/chat/completions -H 'Content-Type: application/json' -d {shlex.quote(body)}"
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
