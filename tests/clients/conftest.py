"""A real server for real clients: the shipped nano behind `puna serve`, a process of its own, so that the clients need not live where
Puna does. Nothing here imports Puna.

PUNA_SERVE: the command, if it is not this interpreter's. What a nano says is its own affair; what it must call and which form it must
write is forced, so that the tests can know it.
"""

import base64
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

STARTERS = Path(__file__).parents[2] / "src" / "puna" / "serve" / "web" / "starters"
COMMAND = shlex.split(os.environ.get("PUNA_SERVE", f"{shlex.quote(sys.executable)} -m puna serve"))
START_S = 240.0


class Server(NamedTuple):
    """`url` has no path, and ends without a slash."""

    url: str
    key: str

    def running(self) -> float:
        """How many answers the engine is writing."""
        request = urllib.request.Request(f"{self.url}/metrics", headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request, timeout=30) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("puna:num_requests_running"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Server(f"http://127.0.0.1:{port}", "pk-" + "clients" * 6)
    options = ["--port", str(port), "--no-open", "--keys-file", str(folder / "keys.json"), "--set", f"store={folder / 'store.sqlite'}"]
    with (folder / "log.txt").open("w+b") as log:
        process = subprocess.Popen([*COMMAND, *options], stdout=log, stderr=log, env={**os.environ, "PUNA_API_KEY": found.key})
        try:
            _await_ready(process, found.url, folder / "log.txt")
            yield found
        finally:
            process.terminate()
            process.wait(60)


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"{process.args} did not become ready: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture
def stops(server: Server) -> Callable[[], bool]:
    """Whether the engine gives up what nobody waits for, long before its end."""

    def claim() -> bool:
        deadline = time.monotonic() + 20
        while server.running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return claim


@pytest.fixture(scope="session")
def puna() -> list[str]:
    """The command of which `serve` is one verb, to be called from anywhere."""
    program = shutil.which(COMMAND[0])
    assert program is not None, COMMAND
    return [os.path.abspath(program), *COMMAND[1:-1]]


@pytest.fixture(scope="session")
def model() -> str:
    return "scout-nano"


@pytest.fixture(scope="session")
def question() -> dict[str, Any]:
    return {"role": "user", "content": "What is a llama?"}


@pytest.fixture(scope="session")
def picture() -> str:
    """An elephant, as base64."""
    return base64.b64encode((STARTERS / "elephant.png").read_bytes()).decode()


@pytest.fixture(scope="session")
def shown(picture: str) -> dict[str, Any]:
    """A question about the picture, in the parts of OpenAI's chat completions."""
    url = f"data:image/png;base64,{picture}"
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is this?"}]}


@pytest.fixture(scope="session")
def place() -> dict[str, Any]:
    """The only things that may be said."""
    city = {"type": "string", "enum": ["Cusco", "Lima"]}
    return {"type": "object", "properties": {"place": city}, "required": ["place"], "additionalProperties": False}


@pytest.fixture(scope="session")
def weather(place: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": "weather", "description": "The weather somewhere", "parameters": place, "strict": True},
    }


@pytest.fixture(scope="session")
def forced() -> dict[str, Any]:
    return {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(scope="session")
def endless() -> dict[str, Any]:
    """A form that takes thousands of tokens."""
    return {"type": "array", "items": {"type": "integer"}, "minItems": 2000}
