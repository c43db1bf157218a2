"""`puna serve`: the web chat and the API beside it. The server itself is `puna.serve`."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from puna.cli.models import is_model, refuse_unknown


class KVPrecision(StrEnum):
    """What keys and values are kept in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


def serve(
    model: Annotated[str, typer.Option(help="A model's name or a Hugging Face directory.")] = "scout-nano",
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8000,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of an answer when the client names no number.")] = None,
    streams: Annotated[int, typer.Option(min=1, help="Requests answered at once; others wait.")] = 16,
    kv_memory: Annotated[
        float | None, typer.Option(min=0.0, help="GiB for keys and values (default: what the streams need, at most half of what is free).")
    ] = None,
    kv_dtype: Annotated[KVPrecision, typer.Option(help="Precision of kept keys and values; auto is the model's.")] = KVPrecision.auto,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page in a browser (default: when there is a desktop).", show_default=False),
    ] = None,
) -> None:
    """Open a chat in the browser, with an OpenAI API beside it."""
    if not is_model(model):
        raise refuse_unknown(model)
    import puna.serve
    from puna.engine import Settings

    kv_bytes = None if kv_memory is None else int(kv_memory * (1 << 30))
    settings = Settings(max_streams=streams, step_tokens=max(512, streams), kv_bytes=kv_bytes, kv_dtype=kv_dtype.value)
    wants_browser = has_desktop() if open_browser is None else open_browser
    puna.serve.run(model=model, host=host, port=port, open_browser=wants_browser, max_tokens=max_tokens, settings=settings)


def has_desktop() -> bool:
    """Whether a browser can be expected to open a window: without a display, Python would start a text browser in the terminal."""
    if not sys.stdout.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
