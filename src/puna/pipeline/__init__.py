"""`puna.load(...)`: messages in, text out. The one front that the chat, the server and the evaluations use.

messages -> `Stream` (tokens.chat, media) -> engine -> ids -> text. Stop strings and the reading of tool calls live here; HTTP does not.
`Ask` is a request in no API's words, and its answer comes as events; the synchronous methods of `Pipeline` stand on the same ground.
"""

from puna.messages import RequestError
from puna.pipeline.ask import (
    Answer,
    Ask,
    CallBegun,
    CallBroken,
    CallDone,
    CallPiece,
    ChoiceAnswer,
    ChoiceEvent,
    Event,
    Finished,
    FinishReason,
    NamedTool,
    PromptScored,
    SaidCall,
    Scored,
    TextDelta,
    ToolChoice,
    Usage,
)
from puna.pipeline.forced import ToolError
from puna.pipeline.front import Chunk, Pipeline, Prepared, Reply
from puna.pipeline.load import load, shipped_models

__all__ = [
    "Answer",
    "Ask",
    "CallBegun",
    "CallBroken",
    "CallDone",
    "CallPiece",
    "ChoiceAnswer",
    "ChoiceEvent",
    "Chunk",
    "Event",
    "FinishReason",
    "Finished",
    "NamedTool",
    "Pipeline",
    "Prepared",
    "PromptScored",
    "Reply",
    "RequestError",
    "SaidCall",
    "Scored",
    "TextDelta",
    "ToolChoice",
    "ToolError",
    "Usage",
    "load",
    "shipped_models",
]
