"""Coding agents as people start them, a scripted model behind the server: each reads a file, writes another by its own tools and ends well.

`make agents` installs them where PUNA_AGENTS says and runs this; elsewhere it is skipped. None of them needs more than this machine.
"""

import itertools
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from puna.pipeline import Event
from puna.presets import preset
from puna.stream import Image, Text, ToolCall
from puna.testing.pictures import corners_picture, encoded
from puna.testing.scripted import ScriptedAsk, ScriptedPipeline
from puna.testing.serving import live_server

PROGRAMS = Path(os.environ.get("PUNA_AGENTS", "nowhere")).absolute() / "node_modules" / ".bin"
QUESTION = "Read llama.txt, then write out.txt."
SAID, WRITTEN = "All of it is done.", "From the nano.\n"

pytestmark = pytest.mark.skipif(not PROGRAMS.is_dir(), reason="there are no agents in PUNA_AGENTS; run `make agents`")


class Caller(ScriptedPipeline):
    """Calls one after the other, as far as the conversation does not have them yet, then says that it is done."""

    def __init__(self) -> None:
        config = replace(preset("scout-nano"), max_positions=1_000_000)  # an agent's own prompt has tens of thousands of bytes
        super().__init__(SAID, name="scout-nano", config=config)
        self.calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
        self._ids = itertools.count()

    async def answer(self, asked: Sequence[ScriptedAsk]) -> AsyncGenerator[Event, None]:
        ask = asked[0].ask
        done = sum(len(message.tool_calls) for message in ask.messages)
        is_next = bool(ask.offered_tools) and done < len(self.calls)
        # Agents tell calls apart by their ids alone.
        call = [ToolCall(*self.calls[done], f"call_{next(self._ids)}")] if is_next else []
        self._replies = [["Let me see. ", *call] if is_next else [SAID]]
        async for event in super().answer(asked):
            yield event


class Started(NamedTuple):
    """How an agent is started: its command and environment beside what all have; and what its model calls."""

    command: Sequence[str]
    environment: Mapping[str, str]
    calls: Sequence[tuple[str, Mapping[str, Any]]]


def claude(url: str, home: Path, work: Path) -> Started:
    names = ("ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL")
    environment = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_AUTH_TOKEN": "pk-x", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    calls = [
        ("Read", {"file_path": str(work / "llama.txt")}),
        ("Write", {"file_path": str(work / "out.txt"), "content": WRITTEN}),
        ("Read", {"file_path": str(work / "llama.png")}),
        ("WebSearch", {"query": "llamas"}),
        ("Agent", {"description": "Look", "prompt": "Look around", "subagent_type": "Explore"}),  # by the small model
    ]
    return Started(
        ["claude", "-p", QUESTION, "--allowedTools", "Read,Write,WebSearch"], environment | dict.fromkeys(names, "scout-nano"), calls
    )


def codex(url: str, home: Path, work: Path) -> Started:
    provider = f'[model_providers.puna]\nname = "Puna"\nbase_url = "{url}/v1"\nenv_key = "PUNA_API_KEY"\nwire_api = "responses"\n'
    top = 'model = "scout-nano"\nmodel_provider = "puna"\nmodel_context_window = 100000\nweb_search = "disabled"\n'
    (home / "config.toml").write_text(f"{top}\n{provider}")
    calls = [
        ("exec_command", {"cmd": "cat llama.txt; echo From the nano. > out.txt"}),
        ("view_image", {"path": "llama.png"}),
        ("multi_agent_v1.close_agent", {"target": "nobody"}),  # a tool of a namespace
    ]
    command = ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", QUESTION]
    return Started(command, {"CODEX_HOME": str(home), "PUNA_API_KEY": "pk-x"}, calls)


def opencode(url: str, home: Path, work: Path) -> Started:
    model = {"name": "scout-nano", "limit": {"context": 100_000, "output": 4096}}
    options = {"baseURL": f"{url}/v1", "apiKey": "pk-x"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "Puna", "options": options, "models": {"scout-nano": model}}
    (work / "opencode.json").write_text(json.dumps({"autoupdate": False, "permission": {"*": "allow"}, "provider": {"puna": provider}}))
    calls = [("read", {"filePath": str(work / "llama.txt")}), ("write", {"filePath": str(work / "out.txt"), "content": WRITTEN})]
    return Started(["opencode", "run", "-m", "puna/scout-nano", QUESTION], {"OPENCODE_DISABLE_MODELS_FETCH": "1"}, calls)


def qwen(url: str, home: Path, work: Path) -> Started:
    (home / ".qwen").mkdir()
    (home / ".qwen" / "settings.json").write_text('{"privacy": {"usageStatisticsEnabled": false}, "general": {"enableAutoUpdate": false}}')
    environment = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "pk-x", "OPENAI_MODEL": "scout-nano"}
    calls = [
        ("read_file", {"file_path": str(work / "llama.txt")}),
        ("write_file", {"file_path": str(work / "out.txt"), "content": WRITTEN}),
    ]
    return Started(["qwen", "--auth-type", "openai", "-y", "-p", QUESTION], environment, calls)


def cn(url: str, home: Path, work: Path) -> Started:
    model = {"name": "Puna", "provider": "openai", "model": "scout-nano", "apiBase": f"{url}/v1", "apiKey": "pk-x"}
    model |= {"roles": ["chat"], "capabilities": ["tool_use"]}
    (home / "puna.yaml").write_text(json.dumps({"name": "Puna", "version": "0.0.1", "schema": "v1", "models": [model]}))  # JSON is YAML
    calls = [("Read", {"filepath": str(work / "llama.txt")}), ("Write", {"filepath": str(work / "out.txt"), "content": WRITTEN})]
    environment = {"CONTINUE_TELEMETRY_ENABLED": "0", "CONTINUE_CLI_ENABLE_TELEMETRY": "0"}
    return Started(["cn", "--config", str(home / "puna.yaml"), "--auto", "-p", QUESTION], environment, calls)


@pytest.mark.parametrize("agent", [claude, codex, opencode, qwen, cn])
def test_an_agent_uses_its_tools(agent: Callable[[str, Path, Path], Started], tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    for folder in (home, work):
        folder.mkdir()
    (work / "llama.txt").write_text("A llama is white.\n")
    (work / "llama.png").write_bytes(encoded(corners_picture(64, 64)))
    model = Caller()
    with live_server(model) as url:
        started = agent(url, home, work)
        model.calls = started.calls
        program, *options = started.command
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), **started.environment}
        ended = subprocess.run(
            [str(PROGRAMS / program), *options],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=150,
        )
    assert ended.returncode == 0 and SAID in ended.stdout, ended.stdout
    assert (work / "out.txt").read_text() == WRITTEN
    last = model.requests[-1].messages
    assert [(call.name, call.arguments) for message in last for call in message.tool_calls] == started.calls
    pictures = [part for message in last if message.role == "tool" for part in message.content if isinstance(part, Image)]
    assert len(pictures) == ("llama.png" in str(started.calls))
    results = ["".join(part.text for part in message.content if isinstance(part, Text)) for message in last if message.role == "tool"]
    assert len(results) == len(started.calls) and "A llama is white." in results[0]
