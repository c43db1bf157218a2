"""Puna: the whole Llama 4 system in one package. `puna.load()` gives a model to talk to; the rest is in `docs/walkthrough.md`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from puna.pipeline import Chunk, Pipeline, Reply, load

__version__ = "0.1.0"
__all__ = ["Chunk", "Pipeline", "Reply", "load"]


def __getattr__(name: str) -> Any:
    """Import the pipeline, and torch with it, when it is first asked for: `puna --help` needs neither."""
    if name in __all__:
        from puna import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module 'puna' has no attribute {name!r}")
