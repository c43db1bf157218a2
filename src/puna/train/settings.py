"""A recipe's settings from the command line: whole numbers by name, with defaults."""

from collections.abc import Mapping


class RecipeError(ValueError):
    """A setting that a recipe does not have, or a value that it cannot take. The message names both and what there is."""


def with_overrides(defaults: Mapping[str, int], overrides: Mapping[str, str]) -> dict[str, int]:
    """`defaults` with the values that `--set NAME=VALUE` gave.

    >>> with_overrides({"steps": 100}, {"steps": "3"})
    {'steps': 3}
    """
    settings = dict(defaults)
    for name, value in overrides.items():
        if name not in defaults:
            raise RecipeError(f"--set {name}: this recipe has no such setting; it has {', '.join(defaults)}")
        if not value.isdecimal() or int(value) < 1:
            raise RecipeError(f"--set {name}={value}: must be a whole number of at least 1 (default {defaults[name]})")
        settings[name] = int(value)
    return settings
