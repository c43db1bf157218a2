"""docs/clients.md: its snippets run as they stand against a real server, and its addresses are there."""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STARTERS = ROOT / "src" / "puna" / "serve" / "web" / "starters"
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


def of(snippet: str) -> str:
    """The client that it is about."""
    return re.findall(r"^(?:from|import) (\w+)", snippet, re.MULTILINE)[-1] if "instructor" not in snippet else "instructor"


def here(snippet: str, server: Any) -> str:
    assert "http://localhost:8000" in snippet and "pk-..." in snippet
    return snippet.replace("http://localhost:8000", server.url).replace("pk-...", server.key)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[f"{place}-{of(snippet)}" for place, snippet in enumerate(SNIPPETS)])
def test_a_snippet_runs_as_it_stands(
    server: Any, snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in re.findall(r"^(?:from|import) (\w+)", snippet, re.MULTILINE):
        pytest.importorskip(module)
    shutil.copy(STARTERS / "elephant.png", tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(compile(here(snippet, server), "clients.md", "exec"), {"__name__": "snippet"})
    assert capsys.readouterr().out.strip()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_commands_run_as_they_stand(server: Any) -> None:
    assert COMMANDS
    for command in COMMANDS:
        out = subprocess.run(["sh", "-c", here(command, server)], capture_output=True, text=True, check=True, timeout=120).stdout
        assert json.loads(out)["choices"][0]["message"]["content"]


def test_every_client_that_is_tried_has_its_snippet() -> None:
    tried = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")} - {"page", "lm_eval"}
    told = {"llama_api" if name == "llama_api_client" else name.removesuffix("_openai") for name in map(of, SNIPPETS)}
    assert told == tried and len(SNIPPETS) == 8
    assert "\nlm_eval run " in PAGE


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/llama/v1/chat/completions",
    "/openai/v1/chat/completions", "/models/chat/completions", "/openai/deployments/scout-nano/chat/completions"])  # fmt: skip
def test_what_clients_add_to_a_base_url_is_there(server: Any, path: str) -> None:
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(server.url + path, b"{}", headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code == 400 and "missing" in refused.value.read().decode()


def test_what_lm_evaluation_harness_sends_is_scored(server: Any) -> None:
    """As its local-completions model does for a question of likelihood: token ids, echoed and scored, one token more."""
    body = {
        "model": "scout-nano",
        "prompt": [[11, 12, 13], [14, 15]],
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": 1234,
        "echo": True,
    }
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/v1/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120) as response:
        choices = json.loads(response.read())["choices"]
    for choice, length in zip(choices, (3, 2), strict=True):
        scores = choice["logprobs"]
        assert scores["token_logprobs"][0] is None and all(score <= 0 for score in scores["token_logprobs"][1:])
        assert length <= len(scores["token_logprobs"]) <= length + 1 and len(scores["top_logprobs"]) == len(scores["tokens"])
