"""`puna serve`: the web chat and the APIs beside it. The server itself is `puna.serve`, what it can be told `puna.serve.settings`."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from puna.cli.error import UserError
from puna.cli.models import is_model, refuse_unknown


class KVPrecision(StrEnum):
    """What keys and values are kept in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


# Options have no defaults of their own: one that is not given leaves the word to the environment, the file, or the setting's default.
def serve(
    model: Annotated[
        str | None, typer.Option(help="A model's name or a Hugging Face directory (default: scout-nano).", show_default=False)
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="The address to listen on; 0.0.0.0 lets other machines in (default: 127.0.0.1).", show_default=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="The port to listen on; 0 takes a free one (default: 8000).", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens of an answer when the client names no number.", show_default=False)
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, help="Requests answered at once; others wait (default: 16).", show_default=False)
    ] = None,
    kv_memory: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="GiB for keys and values (default: what the streams need, at most half of what is free).", show_default=False
        ),
    ] = None,
    kv_dtype: Annotated[
        KVPrecision | None, typer.Option(help="Precision of kept keys and values; auto is the model's.", show_default=False)
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="The API keys that puna keys makes (default: those of this user).", show_default=False)
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="The file in which responses are kept (default: in this user's data).", show_default=False)
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Keep no responses.")] = False,
    allow_anyone: Annotated[bool, typer.Option("--allow-anyone", help="Ask nobody for a key, other machines included.")] = False,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings (default: PUNA_CONFIG).", show_default=False)] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any setting by its name, as limits.pictures=4; may be repeated.", show_default=False
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all settings as TOML, with where each came from, and end.")
    ] = False,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page in a browser (default: when there is a desktop).", show_default=False),
    ] = None,
) -> None:
    """Open a chat in the browser, with an OpenAI API beside it.

    Settings come from options, else from variables (PUNA_PORT, PUNA_LIMITS_PICTURES), else from a file, else they are the defaults.
    """
    from puna.serve.resolve import render, resolve

    if no_store and store is not None:
        raise UserError(f"--store {store} and --no-store cannot both be; give one of them")
    flags = {
        "model": model,
        "host": host,
        "port": port,
        "limits.default_max_tokens": max_tokens,
        "engine.max_streams": streams,
        "engine.kv_bytes": None if kv_memory is None else int(kv_memory * (1 << 30)),
        "engine.kv_dtype": None if kv_dtype is None else kv_dtype.value,
        "keys_file": keys_file,
        "store": "none" if no_store else store,
        "allow_anyone": allow_anyone or None,
    }
    resolved = resolve(flags, dict(map(_change, changes or ())), config)
    if print_config:
        print(render(resolved), end="")
        return
    if not is_model(resolved.settings.model):
        raise refuse_unknown(resolved.settings.model)
    from puna.serve import launch

    wants_browser = has_desktop() if open_browser is None else open_browser
    launch.run(resolved.settings, open_browser=wants_browser, notes=resolved.notes)


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text!r} has no value; write it as KEY=VALUE, such as limits.pictures=4")
    return name.strip(), value.strip()


def has_desktop() -> bool:
    """Whether a browser can be expected to open a window: without a display, Python would start a text browser in the terminal."""
    if not sys.stdout.isatty() or "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
