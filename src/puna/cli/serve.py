"""`puna serve`: the web chat and the API beside it. The server itself is `puna.serve`."""

import os
import sys
from typing import Annotated

import typer

from puna.cli.models import is_model, refuse_unknown


def serve(
    model: Annotated[str, typer.Option(help="A model's name or a Hugging Face directory.")] = "scout-nano",
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one.")] = 8000,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens of an answer when the client names no number.")] = None,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page in a browser (default: when there is a desktop).", show_default=False),
    ] = None,
) -> None:
    """Open a chat in the browser, with an OpenAI API beside it."""
    if not is_model(model):
        raise refuse_unknown(model)
    import puna.serve

    wants_browser = has_desktop() if open_browser is None else open_browser
    puna.serve.run(model=model, host=host, port=port, open_browser=wants_browser, max_tokens=max_tokens)


def has_desktop() -> bool:
    """Whether a browser can be expected to open a window: without a display, Python would start a text browser in the terminal."""
    if not sys.stdout.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
