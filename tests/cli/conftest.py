"""A program to run, a pipeline that says what it is told, and a terminal that is not there."""

import io
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest

from puna.cli.main import app
from puna.config import ModelConfig
from puna.presets import preset
from puna.stream import Message, ToolCall


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Chunk(NamedTuple):
    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass
class ScriptedPipeline:
    """Answers question n with `answers[n]`: its texts one chunk each; an exception among them is raised there."""

    answers: list[Sequence[str | BaseException | ToolCall]]
    name: str = "scripted"
    config: ModelConfig = field(default_factory=lambda: preset("scout-nano"))
    finish_reason: str = "stop"
    asked: list[tuple[list[Message], dict[str, Any]]] = field(default_factory=list)
    closed: int = 0

    def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Chunk]:
        script = self.answers[len(self.asked)]
        self.asked.append((list(messages), options))
        calls = tuple(piece for piece in script if isinstance(piece, ToolCall))
        try:
            for number, piece in enumerate(script):
                if isinstance(piece, BaseException):
                    raise piece
                if isinstance(piece, str):
                    yield Chunk(piece, completion_tokens=number + 1)
            yield Chunk("", self.finish_reason, completion_tokens=len(script), tool_calls=calls)
        finally:
            self.closed += 1


@pytest.fixture
def scripted() -> type[ScriptedPipeline]:
    """`scripted([["first ", "answer"], ["second"]])`. A fixture, because test folders are not packages to import from."""
    return ScriptedPipeline


@pytest.fixture
def puna(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs the program in this process: `puna("show", "scout")`. `stdin` is what is piped in; None is a terminal without anyone."""

    def run(*arguments: str, stdin: bytes | None = b"") -> Outcome:
        piped = io.TextIOWrapper(io.BytesIO(stdin or b""), encoding="utf-8")
        if stdin is None:
            piped.isatty = lambda: True
        monkeypatch.setattr(sys, "stdin", piped)
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        sys.stdout.flush()
        captured = capfd.readouterr()
        return Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, object], None]:
    """Puts a module of the test's own in a room's place, for verbs that only pass their arguments on."""

    def put(name: str, **content: Any) -> None:
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
        package, _, leaf = name.rpartition(".")
        monkeypatch.setattr(sys.modules[package], leaf, module, raising=False)

    return put
