"""Everything that a server can be told, and where each word of it came from.

A setting comes from the command line, else from the environment (`PUNA_PORT`, `PUNA_LIMITS_BODY_BYTES`), else from a TOML file
(`port = 8000`, `[limits] body_bytes = "16MiB"`), else it is the default. A file is read only if --config or PUNA_CONFIG names it: a
server must not change because of the folder in which it was started. What no setting is called is refused with the nearest name.

The sections `engine`, `limits` and `fetch` are made from the dataclasses of those who obey them: a bound is declared once, and can be set.
"""

import re
from dataclasses import MISSING, fields
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, SecretStr, create_model, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from puna.engine import Settings as EngineSettings
from puna.media.fetch import FetchPolicy
from puna.media.root import MediaRoot
from puna.serve import logs, store
from puna.serve.keys import default_path
from puna.serve.limits import Limits

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=False, protected_namespaces=())


def _apart(value: object) -> object:
    """A list in an environment variable is written with commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _or_none(value: object) -> object:
    return None if isinstance(value, str) and value.lower() == "none" else value


Names = Annotated[tuple[str, ...], BeforeValidator(_apart)]


def section(dataclass: type, omit: tuple[str, ...] = (), **instead: Any) -> type[BaseModel]:
    """A group of settings out of a dataclass's fields: sizes in bytes may be written "16MiB", tuples with commas, None as "none".

    `instead`: the (type, default) of fields that a server sees otherwise.
    """
    hints, made = get_type_hints(dataclass), {}
    for each in fields(dataclass):
        if each.name not in omit:
            default = each.default if each.default is not MISSING else ...
            made[each.name] = instead.get(each.name) or (_readable(each.name, hints[each.name]), default)
    return create_model(f"{dataclass.__name__}Section", __config__=_STRICT, **made)


def _readable(name: str, hint: Any) -> Any:
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    read: Any = next(option for option in options if option is not type(None))
    if name.endswith("_bytes") and read is int:
        read = Annotated[ByteSize, Field(ge=0)]
    elif read is int:
        read = Annotated[int, Field(ge=0)]
    elif read is float:
        read = Annotated[float, Field(gt=0)]
    elif get_origin(read) is tuple:
        read = Annotated[read, BeforeValidator(_apart)]
    return Annotated[read | None, BeforeValidator(_or_none)] if type(None) in options else read


if TYPE_CHECKING:  # the sections have the fields of what they are made from
    from puna.engine import Settings as EngineSection
    from puna.media.fetch import FetchPolicy as FetchSection
    from puna.serve.limits import Limits as LimitsSection
else:
    _Positive = Annotated[int, Field(ge=1)]
    EngineSection = section(
        EngineSettings,
        max_streams=(_Positive, 16),
        # So many as let every stream have its token, and at least 512, unless somebody knows better.
        step_tokens=(Annotated[_Positive | None, BeforeValidator(_or_none)], None),
    )
    # As many answers at once as the engine has streams.
    LimitsSection = section(Limits, omit=("answering", "fetch", "media_root"), default_max_tokens=(_Positive, 1024))
    FetchSection = section(FetchPolicy)

PerMinute = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_or_none)]


class RatesSection(BaseModel):
    """None does not limit. `most_known` keys or addresses are remembered."""

    model_config = _STRICT

    requests_per_minute: PerMinute = None
    tokens_per_minute: PerMinute = None
    most_known: Annotated[int, Field(ge=1)] = 10_000


class LogSection(BaseModel):
    model_config = _STRICT

    format: logs.Format = "auto"
    level: logs.Level = "info"


class MetricsSection(BaseModel):
    """`vllm_names`: also under vLLM's own names. `experts`: tokens by layer and expert, thousands of series for a large model."""

    model_config = _STRICT

    enabled: bool = True
    vllm_names: bool = False
    experts: bool = False


class ServerSettings(BaseSettings):
    """What `puna serve` obeys. `puna.serve.resolve` reads it from flags, environment and file; made by hand it reads neither.

    `store`: the file in which responses are kept; None keeps none. `allowed_hosts`: names besides this machine's own by which a server
    without keys is called. `trusted_proxies`: whose X-Forwarded-For is believed. `media_root`: the folder below which every client may
    name pictures and videos by `file:` URLs.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        env_prefix="PUNA_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        env_ignore_empty=True,
        enable_decoding=False,
    )

    model: Annotated[str, Field(min_length=1)] = "scout-nano"
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    keys_file: Annotated[Path | None, BeforeValidator(_or_none)] = Field(default_factory=default_path)
    store: Annotated[Path | None, BeforeValidator(_or_none)] = Field(default_factory=store.default_path)
    api_key: SecretStr | None = None
    allow_anyone: bool = False
    allowed_hosts: Names = ()
    cors_origins: Names = ()
    trusted_proxies: Names = ()
    media_root: Annotated[Path | None, BeforeValidator(_or_none)] = None
    engine: EngineSection = EngineSection()
    limits: LimitsSection = LimitsSection()
    fetch: FetchSection = FetchSection()
    rates: RatesSection = RatesSection()
    log: LogSection = LogSection()
    metrics: MetricsSection = MetricsSection()

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, init_settings: Any, **others: Any) -> tuple[Any, ...]:
        """`resolve` asks the sources one by one, to know which value came from where."""
        return (init_settings,)

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin):
                raise ValueError(f"{origin!r} is no origin; write scheme, host and port alone, as https://chat.example.org")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ip_network(proxy)  # its ValueError says what is wrong
        return proxies

    @field_validator("media_root")
    @classmethod
    def _folder(cls, root: Path | None) -> Path | None:
        return None if root is None else MediaRoot(root).directory  # its ValueError says what is wrong

    def to_engine(self) -> EngineSettings:
        given = _values(self.engine)
        step = given.pop("step_tokens") or max(512, self.engine.max_streams)
        return EngineSettings(**given, step_tokens=step)

    def to_limits(self) -> Limits:
        root = None if self.media_root is None else MediaRoot(self.media_root)
        return Limits(**_values(self.limits), answering=self.engine.max_streams, fetch=self.to_fetch_policy(), media_root=root)

    def to_fetch_policy(self) -> FetchPolicy:
        return FetchPolicy(**_values(self.fetch))


def _values(section: Any) -> dict[str, Any]:
    """A section's fields by name; sizes as the plain numbers that they are."""
    return {name: int(value) if isinstance(value, ByteSize) else value for name, value in section}


def leaves(model: type[BaseModel] = ServerSettings) -> list[str]:
    """The names of all settings, as `port` and `limits.body_bytes`, in order."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += [f"{name}.{inner}" for inner in leaves(field.annotation)]
        else:
            names.append(name)
    return names
