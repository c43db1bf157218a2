"""Settings out of flags, environment and file: who wins, who is refused, and a print of the outcome.

    resolved = resolve(flags={"port": 0}, config=Path("puna.toml"))
    resolved.settings.port, resolved.origins["port"]     # 0, "--port"

A secret comes from the environment alone: a file is copied about, and everybody on the machine can read a command line.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr, ValidationError
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from puna.serve.settings import ServerSettings, leaves

CONFIG_VARIABLE = "PUNA_CONFIG"
# Where clouds put a model, if nobody says otherwise: Azure ML's endpoints.
_MODEL_VARIABLES = ("AZUREML_MODEL_DIR",)
_SECRETS = frozenset({"api_key"})
# Variables of other rooms, and those that Kubernetes sets for a Service called puna.
_OF_OTHERS = re.compile(
    r"PUNA_(CONFIG|DEBUG|KERNELS|SANITIZE|NATIVE.*|DATA_.*|SERVICE_HOST|SERVICE_PORT.*|PORT_\d+_(TCP|UDP|SCTP).*)", re.IGNORECASE
)


class SettingsError(ValueError):
    """A setting that cannot be. The message names it, its value, where it came from and the rule."""


class Resolved(NamedTuple):
    """`origins` says for every setting where it came from: a flag, a variable, a file's name or "default". `notes` are worth a log line."""

    settings: ServerSettings
    origins: dict[str, str]
    notes: list[str]


def resolve(
    flags: Mapping[str, Any] | None = None,
    overrides: Mapping[str, str] | None = None,
    config: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Resolved:
    """Settings by name: `flags` and `overrides` (--set) before the environment before the file `config`, else that of PUNA_CONFIG.

    Flags that are None were not given. Raises `SettingsError`.
    """
    notes: list[str] = []
    if config is None and environment.get(CONFIG_VARIABLE):
        config = Path(environment[CONFIG_VARIABLE])
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    layers: list[tuple[dict[str, Any], dict[str, str]]] = []
    for values, origin in (
        (_of_clouds(environment), lambda name: next(each for each in _MODEL_VARIABLES if environment.get(each))),
        (_of_file(config), lambda name: str(config)),
        (_of_environment(environment, notes), _variable),
        (given, _flag),
        (dict(overrides or {}), lambda name: "--set"),
    ):
        layers.append((values, {name: origin(name) for name in values}))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(leaves(), "default")
    for values, places in layers:
        _refuse_unknown(places)
        merged |= values
        origins |= places
    try:
        settings = ServerSettings(**_nested(merged))
    except ValidationError as error:
        raise _wrong(error, origins) from error
    for section, build in (("engine", settings.to_engine), ("fetch", settings.to_fetch_policy), ("limits", settings.to_limits)):
        try:
            build()
        except ValueError as error:  # what a dataclass says of its fields together
            raise SettingsError(f"[{section}] {error}") from error
    return Resolved(settings, origins, notes)


def _of_clouds(environment: Mapping[str, str]) -> dict[str, Any]:
    found = [environment[name] for name in _MODEL_VARIABLES if environment.get(name)]
    return {"model": found[0]} if found else {}


def _of_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    if not path.is_file():
        raise SettingsError(f"the configuration {path} is not a file; --config and {CONFIG_VARIABLE} name a TOML file")
    try:
        content = TomlConfigSettingsSource(ServerSettings, path)()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}; check its rights") from error
    values = _flat(content)
    if secret := next((name for name in values if name in _SECRETS), None):
        raise SettingsError(f"{path}: {secret} does not belong in a file; set {_variable(secret)}, or make hashed keys with puna keys add")
    return values


def _of_environment(environment: Mapping[str, str], notes: list[str]) -> dict[str, Any]:
    known = {_variable(name) for name in leaves()}
    taken = {}
    for name, value in environment.items():
        upper = name.upper()
        if not upper.startswith("PUNA_") or _OF_OTHERS.fullmatch(name):
            continue
        if upper == "PUNA_PORT" and value.startswith("tcp://"):
            notes.append(f"{name}={value} is set by Kubernetes for a Service called puna and passed over; set the port by --port or a file")
        elif upper in known:
            taken[name] = value
        elif near := get_close_matches(upper.removeprefix("PUNA_"), [each.removeprefix("PUNA_") for each in known], 1, cutoff=0.75):
            raise SettingsError(f"{name} is no setting; did you mean PUNA_{near[0]}?")
        else:
            notes.append(f"{name} is no setting of the server and has no effect here")
    source = EnvSettingsSource(ServerSettings)
    source.env_vars = {name.lower(): value for name, value in taken.items() if value}
    return _flat(source())


def _variable(name: str) -> str:
    return "PUNA_" + name.replace(".", "_").upper()


# Flags whose name is not that of their setting.
FLAGS = {
    "engine.max_streams": "--streams",
    "engine.kv_bytes": "--kv-memory",
    "engine.kv_dtype": "--kv-dtype",
    "limits.default_max_tokens": "--max-tokens",
    "cors_origins": "--cors-origin",
}


def _flag(name: str) -> str:
    return FLAGS.get(name, "--" + name.replace(".", "-").replace("_", "-"))


def _refuse_unknown(places: Mapping[str, str]) -> None:
    known = leaves()
    for name, place in places.items():
        if name in known:
            if name in _SECRETS and not place.startswith("PUNA_"):
                raise SettingsError(f"{place}: {name} is secret and comes from the environment alone, as {_variable(name)}")
            continue
        inner = [each.rpartition(".")[2] for each in known]
        near = get_close_matches(name, known, 1) or [each for each in known if each.endswith("." + name)]
        near = near or [known[inner.index(each)] for each in get_close_matches(name.rpartition(".")[2], inner, 1)]
        hint = f"did you mean {near[0]}?" if near else "puna serve --print-config lists what there is"
        raise SettingsError(f"{place}: {name} is no setting; {hint}")


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """{"limits": {"pictures": 3}} as {"limits.pictures": 3}; a section that is not a table stays, to be refused by its name."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        elif not isinstance(value, Mapping):
            flat[name] = value
    return flat


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        outer, _, inner = name.partition(".")
        if inner:
            nested.setdefault(outer, {})[inner] = value
        else:
            nested[outer] = value
    return nested


def _wrong(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    first = error.errors(include_url=False)[0]
    steps = [str(step) for step in first["loc"]]
    name = next((".".join(steps[:size]) for size in (2, 1) if ".".join(steps[:size]) in origins), ".".join(steps))
    value = "(secret)" if name in _SECRETS else repr(first["input"])[:100]
    reason = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"{name}={value} ({origins.get(name, 'default')}) cannot be: {reason[:1].lower()}{reason[1:]}")


def render(resolved: Resolved) -> str:
    """The settings as TOML that can be read again, each with where it came from. Of a secret only that it is there."""
    lines: list[str] = []
    section = ""
    for name in leaves():
        outer, _, inner = name.rpartition(".")
        if outer != section:
            lines += ["", f"[{outer}]"]
            section = outer
        value: Any = resolved.settings
        for step in name.split("."):
            value = getattr(value, step)
        origin = resolved.origins[name]
        if isinstance(value, SecretStr):
            lines.append(f"# {inner} is set and not shown  # {origin}")
        elif value is None:
            lines.append(f"# {inner} is not set  # {origin}")
        else:
            lines.append(f"{inner} = {_toml(value)}  # {origin}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(int(value)) if isinstance(value, int) else repr(value)
    return json.dumps(str(value), ensure_ascii=False)
