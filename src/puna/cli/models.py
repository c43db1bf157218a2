"""What a user may call a model: a preset's name, or a Hugging Face directory."""

from pathlib import Path

from puna.cli.error import UserError
from puna.config import ModelConfig
from puna.presets import PRESETS, preset

SHIPPED = Path(__file__).parent.parent / "weights"


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


def weights_of(name: str) -> Path:
    """The Hugging Face directory with the weights of a shipped nano, or the directory `name` itself."""
    if name not in PRESETS:
        if not Path(name).is_dir():
            raise refuse_unknown(name)
        return Path(name)
    shipped = SHIPPED / name
    if not shipped.is_dir():
        herd = sorted(directory.name for directory in SHIPPED.iterdir() if directory.is_dir()) if SHIPPED.is_dir() else []
        raise UserError(
            f"the weights of {name} do not come with puna (those of {', '.join(herd) or 'no model'} do); name the directory that holds them"
        )
    return shipped
