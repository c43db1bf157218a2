"""Reading a JSON object of somebody else's format field by field, so that nothing in it is dropped in silence.

Each getter checks the kind of its value; `finish` refuses every field that nobody asked for. Knows no particular format.
"""

from collections.abc import Collection, Mapping
from typing import Any

from puna.checkpoint.errors import CheckpointError

_REQUIRED = object()


class Fields:
    """The object at `where` inside `file` ("" is the file itself). Fields named in `without_meaning` may stand there unread."""

    def __init__(self, where: str, values: Any, without_meaning: Collection[str] = (), *, file: str = "config.json") -> None:
        self.file = file
        self.where = where
        if not isinstance(values, Mapping):
            raise CheckpointError(f"{file}: {where or 'the file'} is {shown(values)}; it must be an object")
        self.values = values
        self.without_meaning = without_meaning
        self.read: set[str] = set()

    def label(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def error(self, name: str, rule: str) -> CheckpointError:
        return CheckpointError(f"{self.file}: {self.label(name)} is {shown(self.values.get(name))}; {rule}")

    def get(self, name: str, default: Any = _REQUIRED) -> Any:
        self.read.add(name)
        if name not in self.values:
            if default is _REQUIRED:
                raise CheckpointError(f"{self.file}: {self.label(name)} is missing")
            return default
        return self.values[name]

    def whole(self, name: str, default: Any = _REQUIRED, *, least: int = 0) -> int:
        value = self.get(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.error(name, f"it must be a whole number of at least {least}")
        return value

    def number(self, name: str, default: Any = _REQUIRED) -> float:
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.error(name, "it must be a positive number")
        return float(value)

    def claim(self, name: str, default: bool) -> bool:
        """A boolean; hub files also write one as an integer (attn_temperature_tuning: 4). [hf]"""
        value = self.get(name, default)
        if not isinstance(value, int):
            raise self.error(name, "it must be true or false")
        return bool(value)

    def only(self, name: str, allowed: Collection[Any], rule: str) -> None:
        """An absent or null field is fine; a value outside `allowed` is not."""
        value = self.get(name, None)
        if value is not None and value not in allowed:
            raise self.error(name, rule)

    def finish(self) -> None:
        unknown = sorted(k for k in self.values if k not in self.read and k not in self.without_meaning and not k.startswith("_"))
        if unknown:
            raise CheckpointError(
                f"{self.file}: unknown field{'s' * (len(unknown) > 1)} {', '.join(map(self.label, unknown))}: "
                "refused, because a setting that Puna does not know may change what the weights mean"
            )


def shown(value: Any) -> str:
    """A value as it goes into a message: JSON's null for None, and never longer than a line."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def one_or_list(ids: tuple[int, ...]) -> int | list[int]:
    """End ids as Hugging Face writes them: a number if there is one, else a list."""
    return list(ids) if len(ids) != 1 else ids[0]
