"""The server: OpenAI's APIs and a chat page, around one pipeline.

Promises: every failure is an error object of the API that was asked, no option is ignored in silence, one request cannot harm the next,
nobody beyond this machine comes in without a key.
`run` is what `puna serve` calls; `create_app` is the same as an ASGI application.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from puna.serve.app import create_app
    from puna.serve.launch import ServeError, run
    from puna.serve.limits import Limits
    from puna.serve.settings import ServerSettings

__all__ = ["Limits", "ServeError", "ServerSettings", "create_app", "run"]

_HOMES = {"Limits": "limits", "ServeError": "launch", "ServerSettings": "settings", "create_app": "app", "run": "launch"}


def __getattr__(name: str) -> Any:
    """Import the server, and torch with it, when it is first asked for: `puna keys` needs neither."""
    if name in _HOMES:
        return getattr(import_module(f"puna.serve.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'puna.serve' has no attribute {name!r}")
