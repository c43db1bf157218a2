"""The server: OpenAI chat completions and a chat page, around one pipeline.

Promises: every failure is an OpenAI error object, no option is ignored in silence, one request cannot harm the next.
`run` is what `puna serve` calls; `create_app` is the same as an ASGI application.
"""

from puna.serve.app import create_app
from puna.serve.launch import ServeError, run
from puna.serve.limits import Limits

__all__ = ["Limits", "ServeError", "create_app", "run"]
