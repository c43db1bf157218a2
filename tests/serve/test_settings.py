"""Settings: who wins, who is refused, and that all of it can be printed and read again."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from puna.engine import Settings
from puna.media.fetch import FetchPolicy
from puna.serve.limits import Limits
from puna.serve.resolve import Resolved, SettingsError, render, resolve
from puna.serve.settings import ServerSettings, leaves


def resolved(*, file: str | None = None, tmp_path: Path | None = None, environment: dict[str, str] | None = None, **layers) -> Resolved:
    config = None
    if file is not None:
        assert tmp_path is not None
        config = tmp_path / "puna.toml"
        config.write_text(file)
    return resolve(config=config, environment=environment or {}, **layers)


def test_the_command_line_wins_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = 'host = "file"\nport = 1\nmodel = "file"\n[limits]\npictures = 1\nvideos = 1\n'
    environment = {"PUNA_HOST": "environment", "PUNA_PORT": "2", "PUNA_LIMITS_PICTURES": "2"}
    found = resolved(file=file, tmp_path=tmp_path, environment=environment, flags={"port": 3, "model": None})
    settings, origins = found.settings, found.origins
    assert (settings.port, settings.host, settings.model) == (3, "environment", "file")
    assert (settings.limits.pictures, settings.limits.videos, settings.limits.messages) == (2, 1, Limits().messages)
    path = str(tmp_path / "puna.toml")
    names = ("port", "host", "model", "limits.pictures", "limits.videos", "limits.messages")
    assert [origins[name] for name in names] == ["--port", "PUNA_HOST", path, "PUNA_LIMITS_PICTURES", path, "default"]


def test_set_takes_any_setting_by_its_name() -> None:
    overrides = {
        "limits.body_bytes": "16MiB",
        "engine.kv_bytes": "1.5 GiB",
        "cors_origins": "https://a.example,http://b:3000",
        "metrics.experts": "on",
    }
    settings = resolved(overrides=overrides).settings
    assert settings.to_limits().body_bytes == 16 * 2**20
    assert settings.to_engine().kv_bytes == 3 * 2**29
    assert settings.cors_origins == ("https://a.example", "http://b:3000")
    assert settings.metrics.experts is True


def test_every_bound_that_somebody_obeys_can_be_set() -> None:
    names = set(leaves())
    assert {f"limits.{each.name}" for each in fields(Limits)} - names == {"limits.answering", "limits.fetch", "limits.media_root"}
    assert {f"engine.{each.name}" for each in fields(Settings)} <= names
    assert {f"fetch.{each.name}" for each in fields(FetchPolicy)} <= names


def test_the_defaults_are_those_of_the_rooms() -> None:
    settings = ServerSettings()
    assert settings.to_engine() == Settings(max_streams=16)
    assert settings.to_limits() == Limits(answering=16)
    assert settings.to_fetch_policy() == FetchPolicy()
    assert type(settings.to_limits().body_bytes) is int


def test_settings_reach_those_who_obey_them() -> None:
    overrides = {"fetch.enabled": "true", "fetch.hosts": "*.example.org", "fetch.ports": "443,8443", "fetch.max_bytes": "1MB"}
    settings = resolved(overrides=overrides | {"engine.max_streams": "600", "limits.waiting": "0"}).settings
    policy = FetchPolicy(enabled=True, hosts=("*.example.org",), ports=(443, 8443), max_bytes=1_000_000)
    assert settings.to_fetch_policy() == policy
    assert settings.to_engine() == Settings(max_streams=600, step_tokens=600)
    assert settings.to_limits() == Limits(answering=600, waiting=0, fetch=policy)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"file": "prot = 1"}, r"puna.toml: prot is no setting; did you mean port\?"),
        ({"file": "[limits]\nbody_byte = 1"}, r"limits.body_byte is no setting; did you mean limits.body_bytes\?"),
        ({"file": "[limit]\nbody_bytes = 1"}, r"limit.body_bytes is no setting; did you mean limits.body_bytes\?"),
        ({"file": "requests_per_minute = 1"}, r"did you mean rates.requests_per_minute\?"),
        ({"file": "limits = 3"}, "limits is no setting"),
        ({"file": "[limits.pictures]\nx = 1"}, "limits.pictures"),
        ({"file": "colour = 1"}, "colour is no setting; puna serve --print-config"),
        ({"environment": {"PUNA_PROT": "1"}}, r"PUNA_PROT is no setting; did you mean PUNA_PORT\?"),
        ({"environment": {"PUNA_LIMIT_PICTURES": "1"}}, r"did you mean PUNA_LIMITS_PICTURES\?"),
        ({"overrides": {"limits.picture": "1"}}, r"--set: limits.picture is no setting; did you mean limits.pictures\?"),
    ],
)  # fmt: skip
def test_what_no_setting_is_called_is_refused_with_the_nearest_name(tmp_path: Path, layers: dict, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        resolved(tmp_path=tmp_path, **layers)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ({"environment": {"PUNA_PORT": "99999"}}, r"port='99999' \(PUNA_PORT\) cannot be: .*65535"),
        ({"environment": {"PUNA_PORT": "eight"}}, r"port='eight' \(PUNA_PORT\)"),
        ({"flags": {"engine.max_streams": 0}}, r"engine.max_streams=0 \(--streams\)"),
        ({"file": "[limits]\nbody_s = nan"}, r"limits.body_s=nan \(.*puna.toml\)"),
        ({"file": "[log]\nlevel = 'loud'"}, r"log.level='loud' .*'debug', 'info'"),
        ({"file": "[rates]\nrequests_per_minute = 0"}, "rates.requests_per_minute=0"),
        ({"overrides": {"limits.body_bytes": "-1"}}, "limits.body_bytes='-1'"),
        ({"overrides": {"cors_origins": "https://a.example/path"}}, "cors_origins=.*is no origin; write scheme, host and port alone"),
        ({"overrides": {"trusted_proxies": "10.0.0.0/33"}}, "trusted_proxies=.*10.0.0.0/33"),
        ({"overrides": {"engine.kv_dtype": "int3"}}, "engine.kv_dtype='int3'"),
        ({"overrides": {"fetch.schemes": "gopher"}}, r"\[fetch\] .*gopher"),
        ({"overrides": {"engine.step_tokens": "4", "engine.max_streams": "8"}}, r"\[engine\] step_tokens=4 is less than max_streams=8"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_where_it_came_from(tmp_path: Path, layers: dict, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        resolved(tmp_path=tmp_path, **layers)


def test_a_file_is_read_only_when_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "puna.toml").write_text("port = 1")
    monkeypatch.chdir(tmp_path)
    assert resolve(environment={}).settings.port == 8000
    assert resolve(environment={"PUNA_CONFIG": "puna.toml"}).settings.port == 1
    for name, words in (("nowhere.toml", "is not a file"), (".", "is not a file")):
        with pytest.raises(SettingsError, match=words):
            resolve(config=Path(name), environment={})
    (tmp_path / "broken.toml").write_bytes(b"port = \xff")
    (tmp_path / "wrong.toml").write_text("port = = 1")
    for name in ("broken.toml", "wrong.toml"):
        with pytest.raises(SettingsError, match=f"{name} is not TOML"):
            resolve(config=tmp_path / name, environment={})


def test_a_secret_comes_from_the_environment_alone_and_is_never_shown(tmp_path: Path) -> None:
    secret = "a-very-secret-key-of-mine"
    found = resolved(environment={"PUNA_API_KEY": secret})
    assert found.settings.api_key is not None and found.settings.api_key.get_secret_value() == secret
    assert secret not in render(found) + repr(found) + str(found.settings)
    assert "# api_key is set and not shown  # PUNA_API_KEY" in render(found)
    with pytest.raises(SettingsError, match="does not belong in a file; set PUNA_API_KEY") as refused:
        resolved(file=f'api_key = "{secret}"', tmp_path=tmp_path)
    assert secret not in str(refused.value)
    with pytest.raises(SettingsError, match="api_key is secret and comes from the environment alone") as refused:
        resolved(overrides={"api_key": secret})
    assert secret not in str(refused.value)


def test_a_media_root_is_a_folder_that_is_there(tmp_path: Path) -> None:
    assert ServerSettings().to_limits().media_root is None
    found = resolved(environment={"PUNA_MEDIA_ROOT": str(tmp_path)}).settings
    root = found.to_limits().media_root
    assert root is not None and root.directory == found.media_root == tmp_path
    for wrong, words in ((tmp_path / "nowhere", "is not a directory"), (Path("/"), "the whole disk")):
        with pytest.raises(SettingsError, match=rf"media_root='{wrong}' \(--set\) cannot be: the media root .*{words}"):
            resolved(overrides={"media_root": str(wrong)})


def test_the_bounds_of_schemas_can_be_set_and_are_printed() -> None:
    found = resolved(overrides={"limits.schema_bytes": "8KiB", "limits.schema_depth": "20"})
    assert (found.settings.to_limits().schema_bytes, found.settings.to_limits().schema_depth) == (8192, 20)
    printed = tomllib.loads(render(found))["limits"]
    assert (printed["schema_bytes"], printed["schema_depth"]) == (8192, 20)


def test_what_is_printed_can_be_read_again(tmp_path: Path) -> None:
    overrides = {
        "model": 'C:\\models\\"scout"\n', "fetch.hosts": "a.example,*.b.example", "rates.tokens_per_minute": "1000", "limits.body_s": "2.5",
        "engine.keep_prefixes": "false", "keys_file": "/srv/my keys.json", "cors_origins": "*", "limits.body_bytes": "1GiB",
    }  # fmt: skip
    first = resolved(overrides=overrides)
    text = render(first)
    tomllib.loads(text)
    again = resolved(file=text, tmp_path=tmp_path)
    assert again.settings == first.settings
    assert again.settings.to_limits() == first.settings.to_limits()


def test_empty_variables_are_not_set_and_none_is_nothing() -> None:
    found = resolved(environment={"PUNA_PORT": "", "PUNA_RATES_REQUESTS_PER_MINUTE": "none", "PUNA_KEYS_FILE": "none"})
    assert found.settings.port == 8000 and found.origins["port"] == "default"
    assert found.settings.rates.requests_per_minute is None and found.settings.keys_file is None


def test_variables_of_others_are_left_alone() -> None:
    kubernetes = {
        "PUNA_PORT": "tcp://10.0.0.1:8000", "PUNA_SERVICE_HOST": "10.0.0.1", "PUNA_SERVICE_PORT": "8000", "PUNA_SERVICE_PORT_HTTP": "8000",
        "PUNA_PORT_8000_TCP": "tcp://10.0.0.1:8000", "PUNA_PORT_8000_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    found = resolved(environment=kubernetes | {"PUNA_DEBUG": "1", "PUNA_DATA_MIRROR": "/data", "PUNA_KERNELS": "reference"})
    assert found.settings == ServerSettings()
    (note,) = found.notes
    assert "set by Kubernetes for a Service called puna" in note
    (note,) = resolved(environment={"PUNA_FLAVOUR": "strawberry"}).notes
    assert "PUNA_FLAVOUR is no setting of the server and has no effect here" in note


def test_the_model_of_a_cloud_container_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    cloud = {"AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/scout/1"}
    found = resolved(environment=cloud)
    assert (found.settings.model, found.origins["model"]) == (cloud["AZUREML_MODEL_DIR"], "AZUREML_MODEL_DIR")
    assert resolved(environment=cloud, file='model = "mine"', tmp_path=tmp_path).settings.model == "mine"
    assert resolved(environment=cloud | {"PUNA_MODEL": "other"}).settings.model == "other"
