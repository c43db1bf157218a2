"""The program `puna`: finds the verb, imports its module alone, and turns a user's mistake into one `error:`.

`puna --help` must stay fast (a test bounds it), so that nothing here imports torch, rich or a verb that was not asked for.
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

# Each verb is the function, or the program of several verbs, of the same name in the module of the same name.
VERBS = {
    "chat": "Talk to a model in the terminal, with pictures and videos.",
    "serve": "Open a chat in the browser, with an OpenAI API beside it.",
    "keys": "Make, list and revoke API keys of puna serve.",
    "show": "Print a model's pattern of layers, its parameters and its memory.",
    "convert": "Write a model as a Hugging Face directory.",
    "quantize": "Write a model with its weights as integers, and say what that costs.",
    "data": "List, fetch, build and inspect training data.",
    "train": "Run a training recipe.",
}
USER_MISTAKE, INTERRUPTED = 2, 130


def app(arguments: Sequence[str] | None = None) -> None:
    """The entry point; always ends by `SystemExit`."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = _command(given)(given, prog_name="puna", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        message = user_message(error)
        if message is None or os.environ.get("PUNA_DEBUG"):
            raise
        sys.stdout.flush()
        print(f"error: {message}", file=sys.stderr)
        code = USER_MISTAKE
    sys.exit(code if isinstance(code, int) else 0)


def user_message(error: Exception) -> str | None:
    """What to tell the user; None for an error that is not theirs, which keeps its traceback."""
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        help_hint = f" ({context.command_path} --help lists what can be given)" if context is not None else ""
        return error.format_message().rstrip(".") + help_hint
    if isinstance(error, ValueError | RuntimeError) and type(error).__module__.partition(".")[0] == "puna":
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return None


def _command(arguments: Sequence[str]) -> Callable[..., Any]:
    """All verbs by name and summary, but only the one in `arguments` for real."""
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    # Plain help texts: rich's boxes would double the time that --help takes.
    program = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
    program.callback(help="Puna: an open Llama 4 system. PUNA_DEBUG=1 shows the traceback of an error.")(_root)
    for verb, summary in VERBS.items():
        function = getattr(importlib.import_module(f"puna.cli.{verb}"), verb) if verb == chosen else _summary_only
        if isinstance(function, typer.Typer):
            program.add_typer(function, name=verb)
        else:
            program.command(verb, help=None if verb == chosen else summary)(function)
    return typer.main.get_command(program)


def _summary_only() -> None:
    raise AssertionError("a verb that was not chosen has been run")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"puna {version('puna')}")
        except PackageNotFoundError:
            print("puna, run from its source without being installed")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass
