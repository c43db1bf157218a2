import os
import tomllib

import pytest

from puna.cli.serve import has_desktop
from puna.engine import Settings
from puna.serve.settings import ServerSettings
from puna.testing.loggers import loggers_restored


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nobody's variables and keys."""
    for name in [name for name in os.environ if name.startswith("PUNA_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with loggers_restored():
        yield monkeypatch


@pytest.fixture
def served(puna, monkeypatch):
    """Runs `puna serve` and gives what the server was started with."""

    def run(*arguments: str) -> tuple[ServerSettings, dict[str, object]]:
        calls = []
        monkeypatch.setattr("puna.serve.launch.run", lambda settings, **options: calls.append((settings, options)))
        outcome = puna("serve", *arguments)
        assert outcome.code == 0, outcome.err
        return calls[0]

    return run


def test_defaults_stay_on_this_machine(served) -> None:
    settings, options = served("--no-open")
    assert settings == ServerSettings()
    assert (settings.model, settings.host, settings.port, settings.allow_anyone) == ("scout-nano", "127.0.0.1", 8000, False)
    assert settings.to_engine() == Settings(max_streams=16)
    assert options == {"open_browser": False, "notes": []}


def test_every_option_reaches_the_server(served, tmp_path) -> None:
    options = ["--model", "maverick-nano", "--host", "0.0.0.0", "--port", "0", "--open", "--max-tokens", "9", "--allow-anyone"]
    options += ["--streams", "600", "--kv-memory", "0.5", "--kv-dtype", "int8", "--keys-file", str(tmp_path / "keys.json")]
    options += ["--store", str(tmp_path / "responses.sqlite3")]
    settings, given = served(*options, "--set", "limits.pictures=4", "--set", "cors_origins = https://a.example,https://b.example")
    assert settings.to_engine() == Settings(max_streams=600, step_tokens=600, kv_bytes=1 << 29, kv_dtype="int8")
    assert (settings.model, settings.host, settings.port, settings.allow_anyone) == ("maverick-nano", "0.0.0.0", 0, True)
    assert settings.keys_file == tmp_path / "keys.json"
    assert settings.store == tmp_path / "responses.sqlite3"
    limits = settings.to_limits()
    assert (limits.default_max_tokens, limits.pictures, limits.answering) == (9, 4, 600)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert given["open_browser"] is True


def test_responses_are_kept_in_the_user_s_data_or_not_at_all(served, puna, tmp_path) -> None:
    assert served()[0].store == tmp_path / "data" / "puna" / "responses.sqlite3"
    assert served("--no-store")[0].store is None
    outcome = puna("serve", "--no-store", "--store", "x")
    assert outcome.code == 2 and "--no-store" in outcome.err


def test_the_environment_and_a_file_are_heard(served, environment, tmp_path) -> None:
    (tmp_path / "puna.toml").write_text('port = 1\nhost = "127.0.0.2"\n[limits]\npictures = 2\n')
    environment.setenv("PUNA_PORT", "2")
    environment.setenv("PUNA_FLAVOUR", "strawberry")
    settings, options = served("--config", str(tmp_path / "puna.toml"), "--no-open")
    assert (settings.port, settings.host, settings.limits.pictures) == (2, "127.0.0.2", 2)
    assert "PUNA_FLAVOUR" in options["notes"][0]
    environment.setenv("PUNA_CONFIG", str(tmp_path / "puna.toml"))
    assert served("--port", "3")[0].port == 3
    assert served()[0].host == "127.0.0.2"


def test_the_configuration_is_printed_with_its_origins_and_can_be_read_again(puna, served, environment, tmp_path) -> None:
    environment.setenv("PUNA_HOST", "127.0.0.3")
    environment.setenv("PUNA_API_KEY", "a-key-of-the-environment")
    printed = puna("serve", "--print-config", "--port", "0", "--set", "rates.requests_per_minute=7")
    assert printed.code == 0
    for line in (
        'host = "127.0.0.3"  # PUNA_HOST',
        "port = 0  # --port",
        "requests_per_minute = 7  # --set",
        'model = "scout-nano"  # default',
    ):
        assert line in printed.out.splitlines()
    assert "a-key-of-the-environment" not in printed.out and "api_key is set and not shown" in printed.out
    assert tomllib.loads(printed.out)["rates"]["requests_per_minute"] == 7
    (tmp_path / "puna.toml").write_text(printed.out)
    settings, _ = served("--config", str(tmp_path / "puna.toml"))
    assert (settings.port, settings.rates.requests_per_minute) == (0, 7)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "limits.picture=4"], "--set: limits.picture is no setting; did you mean limits.pictures?"),
        (["--set", "limits.pictures"], "--set 'limits.pictures' has no value; write it as KEY=VALUE"),
        (["--set", "log.level=loud"], "log.level='loud' (--set) cannot be"),
        (["--config", "nowhere.toml"], "the configuration nowhere.toml is not a file"),
        (["--set", "model=no/such/dir"], "no such directory"),
        (["--host", "0.0.0.0", "--port", "0", "--no-open"], "host=0.0.0.0 lets other machines in, and there is no key"),
        (["--host", "0.0.0.0", "--port", "0", "--set", "api_key=secret"], "api_key is secret and comes from the environment alone"),
    ],
)
def test_a_mistake_is_one_line(puna, arguments: list[str], words: str) -> None:
    outcome = puna("serve", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
    assert words in outcome.err


def test_a_browser_opens_by_itself_only_on_a_desktop(served, monkeypatch) -> None:
    assert served()[1]["open_browser"] is False
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("SSH_CONNECTION", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_desktop()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_desktop()
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    assert not has_desktop()
