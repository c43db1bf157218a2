"""`puna keys add|list|revoke`: the API keys of `puna serve`. Where they are kept and how is `puna.serve.keys`."""

import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from puna.cli.error import UserError

if TYPE_CHECKING:
    from puna.serve.keys import KeyFile

keys = typer.Typer(
    rich_markup_mode=None,
    help="Make, list and revoke API keys of puna serve. A running server takes changes at once. PUNA_KEYS_FILE names another file.",
)
File = Annotated[
    Path | None,
    typer.Option("--file", help="The file of keys (default: PUNA_KEYS_FILE, or keys.json in ~/.config/puna).", show_default=False),
]
_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@keys.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What the key is called in lists and logs.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="chat: ask the model; metrics: read /metrics. May be repeated (default: chat).", show_default=False),
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 12h, 30d, 8w, or a date such as 2027-01-31 (UTC).", show_default=False)
    ] = None,
    file: File = None,
) -> None:
    """Make a key and print it, this once."""
    store = _store(file)
    text, key = store.add(name, scope or ["chat"], None if expires is None else end(expires, datetime.now(UTC)))
    print(text)  # alone on standard output, so that a script can take it
    until = f", until {key.expires:%Y-%m-%d %H:%M} UTC" if key.expires else ""
    print(f"{key.name} may do {', '.join(key.scopes)}{until}. It is shown this once; {store.path} keeps its hash.", file=sys.stderr)


@keys.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False, file: File = None) -> None:
    """Print the keys by name, with what they may do and since when. The keys themselves are kept nowhere."""
    store = _store(file)
    kept = store.read()
    if as_json:
        rows = [key.model_dump(mode="json", exclude={"sha256"}) | {"state": key.state()} for key in kept]
        print(json.dumps({"file": str(store.path), "keys": rows}, indent=1))
        return
    for key in kept:
        until = f"until {key.expires:%Y-%m-%d %H:%M}" if key.expires else "without end"
        print(f"{key.name:<20} {key.hint}...  {key.state():<8} {' '.join(key.scopes):<13} since {key.created:%Y-%m-%d %H:%M}  {until}")
    print(f"{len(kept)} keys in {store.path}; times are UTC")


@keys.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="The key's name.")], file: File = None) -> None:
    """Let a key count no more, from now on."""
    store = _store(file)
    key = store.revoke(name)
    print(f"{key.name} ({key.hint}...) counts no more")


def _store(file: Path | None) -> "KeyFile":
    from puna.serve.keys import KeyFile, default_path

    named = os.environ.get("PUNA_KEYS_FILE")
    path = file or (Path(named) if named else default_path())
    if path is None:
        raise UserError("this user has no home directory to keep keys in; name a file with --file")
    return KeyFile(path)


def end(text: str, now: datetime) -> datetime:
    """The moment that `30d` or `2027-01-31` names."""
    if span := re.fullmatch(r"(\d{1,5})([mhdw])", text):
        return (now + timedelta(**{_SPANS[span[2]]: int(span[1])})).replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"--expires {text!r} is no time; write 12h, 30d, 8w, or a date such as 2027-01-31") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
