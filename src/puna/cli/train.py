"""`puna train RECIPE.py`: runs the recipe in a file. What a recipe does is `puna.train`'s business; this verb finds and starts it.

A recipe file defines `main(out, resume, overrides)`, and `device` as a fourth argument if it can choose one. What it returns, if it is a
`puna.train.Outcome`, is told in one line at the end.
"""

import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Protocol

import typer

from puna.cli.error import UserError

BEGINS_FROM = "start"  # the folder in a run's own that holds the weights it is to begin from
CHANGES = "changes.json"  # what --set said, for --resume


class Main(Protocol):
    """What a recipe file defines: the whole run, from data to weights."""

    def __call__(self, out: Path, resume: bool, overrides: Mapping[str, str], **device: str) -> object: ...


def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.py", help="A recipe file, such as those in recipes/.")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Change one field of the recipe; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where the run is kept (default: runs/RECIPE).", show_default=False)] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda (default: the recipe's choice). The recipe must offer it.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the final line as JSON.")] = False,
) -> None:
    """Run a training recipe. Progress goes to standard error, one final line to standard output. A resumed run keeps what --set said."""
    overrides = read_changes(changes or [])
    directory = out or Path("runs") / recipe.stem
    refuse_confusion(directory, resume)
    main = load_main(recipe)
    chosen = chosen_device(main, recipe, device)
    overrides = remembered(directory, resume, overrides)
    outcome = main(out=directory, resume=resume, overrides=overrides, **chosen)
    print(final_line(outcome, directory, as_json))


def chosen_device(main: Main, recipe: Path, device: str | None) -> dict[str, str]:
    """`--device` as the recipe takes it; nothing if it was not given."""
    if device is None:
        return {}
    if "device" not in inspect.signature(main).parameters:
        raise UserError(f"--device {device}: {recipe} takes no device; give its main a device argument and pass it to Run(device=...)")
    import torch

    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise UserError(f"--device {device}: this machine has no such device; use cpu{' or cuda' if torch.cuda.is_available() else ''}")
    return {"device": device}


def final_line(outcome: object, directory: Path, as_json: bool) -> str:
    """What a run came to, for people or for programs."""
    from puna.train import Outcome

    facts: dict[str, object] = {"out": str(directory)}
    if isinstance(outcome, Outcome):
        position = outcome.position
        facts |= {
            "finished": outcome.finished,
            "steps": position.step,
            "seconds": round(position.seconds, 1),
            "skipped_steps": position.history.skipped,
            "loss": {name: round(loss, 4) for name, loss in outcome.losses.items()},
        }
    if as_json:
        return json.dumps(facts)
    if not isinstance(outcome, Outcome):
        return f"{directory}: the recipe has ended"
    losses = ", ".join(f"{name} {loss:.3f}" for name, loss in outcome.losses.items())
    skipped = f", {outcome.position.history.skipped} steps skipped" if outcome.position.history.skipped else ""
    state = "finished" if outcome.finished else "stopped, --resume continues"
    return f"{directory}: {state} after step {outcome.position.step} and {outcome.position.seconds:,.0f} s; loss {losses or '-'}{skipped}"


def read_changes(changes: Sequence[str]) -> dict[str, str]:
    """`["a.b=c"]` as `{"a.b": "c"}`; whether the fields exist is the recipe's to say."""
    overrides: dict[str, str] = {}
    for change in changes:
        field, equals, value = change.partition("=")
        if not equals or not all(name.isidentifier() for name in field.split(".")):
            raise UserError(f"--set {change!r} is not FIELD=VALUE; write --set optimizer.lr=3e-4")
        if field in overrides:
            raise UserError(f"--set names {field} twice ({overrides[field]!r} and {value!r}); keep one")
        overrides[field] = value
    return overrides


def remembered(directory: Path, resume: bool, changes: Mapping[str, str]) -> dict[str, str]:
    """`changes`, on top of those that a resumed run was given before; kept in the run's folder."""
    kept = directory / CHANGES
    before = json.loads(kept.read_text(encoding="utf-8")) if resume and kept.is_file() else {}
    if unsaid := {name: value for name, value in before.items() if name not in changes}:
        print("as before:", *(f"--set {name}={value}" for name, value in unsaid.items()), file=sys.stderr)
    directory.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({**before, **changes}, indent=1), encoding="utf-8")
    return {**before, **changes}


def refuse_confusion(directory: Path, resume: bool) -> None:
    """No run is overwritten by accident, and none is resumed that is not there. What a run is to begin from is no run yet, nor is what
    `--set` said before the recipe did anything.
    """
    holds_something = directory.is_dir() and any(each.name not in (BEGINS_FROM, CHANGES) for each in directory.iterdir())
    if resume and not holds_something:
        raise UserError(f"{directory} holds no run to resume; leave out --resume, or name the run's directory with --out")
    if holds_something and not resume:
        raise UserError(f"{directory} already holds files; --resume continues the run there, --out DIR starts elsewhere")


def load_main(path: Path) -> Main:
    """The file's `main`. The file's own errors keep their traceback: it is a program."""
    main: Any = getattr(_import_file(path), "main", None)
    if not callable(main):
        raise UserError(f"{path} defines no main(out, resume, overrides); a recipe file has a function of that name which does the run")
    return main


def _import_file(path: Path) -> ModuleType:
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"{path} is not a Python file; name a recipe, such as one in recipes/")
    name = path.stem.replace("-", "_")
    spec = importlib.util.spec_from_file_location(f"puna_recipe_{name}", path)
    assert spec is not None and spec.loader is not None, f"Python has no loader for {path}"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling in the recipe look their module up by name
    sys.path.insert(0, str(path.parent.resolve()))  # as when the file is run itself: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{error.filename}, line {error.lineno}: {error.msg}; the recipe is not valid Python") from error
    return module
