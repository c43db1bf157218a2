"""Tools of a namespace: the model knows a function by its whole name, "namespace.function"; clients call it by both apart."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from puna.serve.responses.wire import FunctionTool, NamespaceTool, Tool


class Named(NamedTuple):
    """A function's name in its namespace."""

    namespace: str | None
    name: str

    @property
    def whole(self) -> str:
        return self.name if self.namespace is None else f"{self.namespace}.{self.name}"


class Offered(NamedTuple):
    """A tool as the model is to know it, and its place in the client's body."""

    named: Named
    tool: FunctionTool
    param: str


def flat(tools: Sequence[Tool]) -> Iterator[Offered]:
    """Every function, those of namespaces too. What a namespace is about stands before what each of its functions does."""
    for index, tool in enumerate(tools):
        if isinstance(tool, FunctionTool):
            yield Offered(Named(None, tool.name), tool, f"tools[{index}]")
            continue
        for place, function in enumerate(tool.tools):
            named = Named(tool.name, function.name)
            said = {"name": named.whole, "description": _described(tool, function)}
            yield Offered(named, function.model_copy(update=said), f"tools[{index}].tools[{place}]")


def names_of(tools: Sequence[Tool]) -> Mapping[str, Named]:
    """By the whole name, how the client calls each function."""
    return {offered.named.whole: offered.named for offered in flat(tools)}


def _described(namespace: NamespaceTool, function: FunctionTool) -> str | None:
    return "\n".join(text for text in (namespace.description, function.description) if text) or None
