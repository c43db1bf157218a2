"""A recipe's settings from the command line: numbers by name, with defaults, or one of a few words."""

import math
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

_Number = TypeVar("_Number", int, float)


class RecipeError(ValueError):
    """A setting that a recipe does not have, or a value that it cannot take. The message names both and what there is."""


def with_overrides(
    defaults: Mapping[str, _Number], overrides: Mapping[str, str], off: Collection[str] = (), others: Collection[str] = ()
) -> dict[str, _Number]:
    """`defaults` with the values that `--set NAME=VALUE` gave: whole numbers of at least 1 where the default is one, else above 0.

    `off` names whole numbers that may be 0, which switches something off; `others` what else the recipe lets one set, for the message
    about a name that it does not have.

    >>> with_overrides({"steps": 100}, {"steps": "3"})
    {'steps': 3}
    >>> with_overrides({"minutes": 30.0}, {"minutes": "1.5"})
    {'minutes': 1.5}
    """
    settings = dict(defaults)
    for name, value in overrides.items():
        if name not in defaults:
            raise RecipeError(f"--set {name}: this recipe has no such setting; it has {', '.join([*others, *defaults])}")
        settings[name] = _read(name, value, defaults[name], 0 if name in off else 1)
    return settings


def _read(name: str, value: str, default: _Number, least: int) -> _Number:
    if isinstance(default, int):
        if not value.isdecimal() or int(value) < least:
            raise RecipeError(f"--set {name}={value}: must be a whole number of at least {least} (default {default})")
        return type(default)(value)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise RecipeError(f"--set {name}={value}: must be a number above 0 (default {default})")
    return number


def choose(name: str, choices: Mapping[str, Any], overrides: dict[str, str], default: str) -> Any:
    """What `--set NAME=WORD` chose, taken out of `overrides`.

    >>> choose("size", {"cpu": 1, "gpu": 2}, {"size": "gpu"}, "cpu")
    2
    """
    word = overrides.pop(name, default)
    if word not in choices:
        raise RecipeError(f"--set {name}={word}: must be one of {', '.join(choices)} (default {default})")
    return choices[word]
