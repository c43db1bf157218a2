import pytest

from puna.cli.serve import has_desktop
from puna.engine import Settings


@pytest.fixture
def served(puna, install):
    """Runs `puna serve` and gives what the server was started with."""

    def run(*arguments: str) -> dict[str, object]:
        calls = []
        install("puna.serve", run=lambda **options: calls.append(options))
        outcome = puna("serve", *arguments)
        assert outcome.code == 0, outcome.err
        return calls[0]

    return run


def test_defaults_stay_on_this_machine(served) -> None:
    given = served("--no-open")
    assert given.pop("settings") == Settings(max_streams=16)
    assert given == {"model": "scout-nano", "host": "127.0.0.1", "port": 8000, "open_browser": False, "max_tokens": None}


def test_every_option_reaches_the_server(served) -> None:
    options = ["--model", "maverick-nano", "--host", "0.0.0.0", "--port", "0", "--open", "--max-tokens", "9"]
    given = served(*options, "--streams", "600", "--kv-memory", "0.5", "--kv-dtype", "int8")
    assert given.pop("settings") == Settings(max_streams=600, step_tokens=600, kv_bytes=1 << 29, kv_dtype="int8")
    assert given == {"model": "maverick-nano", "host": "0.0.0.0", "port": 0, "open_browser": True, "max_tokens": 9}


def test_a_browser_opens_by_itself_only_on_a_desktop(served, monkeypatch) -> None:
    assert served()["open_browser"] is False
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_desktop()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_desktop()
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    assert not has_desktop()
