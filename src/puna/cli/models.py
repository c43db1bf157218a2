"""What a user may call a model: a preset's name, or a Hugging Face directory; and where a new one may be written."""

from pathlib import Path

from puna.cli.error import UserError
from puna.config import ModelConfig
from puna.presets import PRESETS, preset


def is_model(name: str) -> bool:
    """Whether `name` is a preset's name or an existing directory. A preset's name wins over a directory of that name: write ./NAME."""
    return name in PRESETS or Path(name).is_dir()


def refuse_unknown(name: str) -> UserError:
    return UserError(
        f"no model is called {name!r} and no such directory exists; there are {', '.join(PRESETS)}, or name a Hugging Face directory"
    )


def config_of(name: str) -> ModelConfig:
    """The shape behind a name or a directory; no weights are read."""
    if name in PRESETS:
        return preset(name)
    if not Path(name).is_dir():
        raise refuse_unknown(name)
    from puna.checkpoint import read_config

    return read_config(name)


def stored_at(name: str) -> Path | None:
    """Where the weights of a shipped nano or of a directory lie, None if they are not here."""
    from puna.pipeline import shipped_models

    path = shipped_models().get(name) or (None if name in PRESETS else Path(name))
    return path if path is not None and any(path.glob("*.safetensors")) else None


def weights_of(name: str) -> Path:
    """The Hugging Face directory with the weights of a shipped nano, or the directory `name` itself."""
    from puna.pipeline import shipped_models

    shipped = shipped_models()
    if name in shipped:
        return shipped[name]
    if Path(name).is_dir():
        return Path(name)
    if name in PRESETS:
        herd = ", ".join(shipped) or "no model"
        raise UserError(f"the weights of {name} do not come with puna (those of {herd} do); name the directory that holds them")
    raise refuse_unknown(name)


def refuse_occupied(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file; name a new directory")
    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"{directory} already holds files, which would be mixed with the model's; name a new or empty directory")
