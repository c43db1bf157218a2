"""The clients' page names what is there: routes, commands, and the clients that are tried. tests/clients runs its snippets."""

import re
from pathlib import Path

from starlette.routing import Route

from puna.cli.main import VERBS
from puna.serve.app import create_app
from puna.testing.scripted import ScriptedPipeline

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")


def test_every_address_leads_to_routes() -> None:
    paths = [route.path.replace("{name}", "scout-nano") for route in create_app(ScriptedPipeline("Yes")).routes if isinstance(route, Route)]
    bases = set(re.findall(r"http://(?:localhost|host\.docker\.internal):8000([\w/.-]*)", PAGE)) - {""}
    assert len(bases) >= 5
    assert not [base for base in bases if not any(path.startswith(base) for path in paths)]


def test_the_commands_in_it_are_commands() -> None:
    named = set(re.findall(r"\bpuna ([a-z]+)", PAGE))
    assert {"serve", "convert"} <= named <= VERBS.keys()


def test_every_client_of_its_snippets_is_pinned() -> None:
    pinned = {line.partition("==")[0].replace("-", "_") for line in (ROOT / "requirements-clients.txt").read_text().splitlines()}
    imported = set(re.findall(r"^(?:from|import) (\w+)", "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), re.MULTILINE))
    assert {"openai", "anthropic", "groq", "llama_api_client", "langchain_openai", "instructor"} <= imported & pinned
