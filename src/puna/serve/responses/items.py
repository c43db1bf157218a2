"""Items to a conversation: those of the request, and those of the responses before it.

What one turn of the assistant said and called is one message again. Items of another model's reasoning and calls that never became whole
are kept with the response, but the model does not see them: its chat format has no place for either.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter

from puna.serve.conversation import Conversation, json_arguments
from puna.serve.errors import ApiError
from puna.serve.responses.draft import item_id
from puna.serve.responses.namespaces import Named
from puna.serve.responses.wire import (
    FunctionCallItem,
    FunctionCallOutputItem,
    InputImage,
    InputItem,
    InputText,
    InputVideo,
    ItemReference,
    KeptItem,
    MessageItem,
    OutputText,
    Part,
    ReasoningItem,
    Refusal,
)
from puna.serve.store import Kept
from puna.stream import Part as StreamPart
from puna.stream import Text, ToolCall

ITEMS: TypeAdapter[list[KeptItem]] = TypeAdapter(list[KeptItem])
_KINDS = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_OURS = re.compile(r"[a-z]+_([0-9a-f]{32})[io]\d{1,6}")


def with_ids(items: Sequence[InputItem], response_id: str, look_up: Callable[[str, str], KeptItem]) -> list[KeptItem]:
    """The request's items as they are kept: each with an id and a status, references replaced by what `look_up(id, param)` finds."""
    kept: list[KeptItem] = []
    for place, item in enumerate(items):
        found = look_up(item.id, f"input[{place}].id") if isinstance(item, ItemReference) else item
        given: dict[str, Any] = {"id": found.id or item_id(_KINDS[found.type], response_id, "i", place)}
        if not isinstance(found, ReasoningItem):
            given["status"] = found.status or "completed"
        if isinstance(found, MessageItem):
            given["content"] = [_of_role(part, found.role, f"input[{place}].content[{i}]") for i, part in enumerate(found.content)]
        kept.append(found.model_copy(update=given))
    return kept


def response_of_item(id: str) -> str | None:
    """The id of the response that an item is of, if the item's id was made here."""
    ours = _OURS.fullmatch(id)
    return f"resp_{ours[1]}" if ours else None


def kept_items(kept: Kept) -> list[KeptItem]:
    """All items of a stored response: what it was asked, and what it said."""
    return [*ITEMS.validate_json(kept.input), *said_items(kept)]


def said_items(kept: Kept) -> list[KeptItem]:
    return ITEMS.validate_python(json.loads(kept.response)["output"])


def _of_role(part: Part, role: str, param: str) -> Part:
    """Clients mix up the names of text parts; which one it is, the role says."""
    if role == "assistant":
        if isinstance(part, InputText):
            return OutputText(text=part.text)
        if isinstance(part, OutputText | Refusal):
            return part
        raise ApiError(400, f"{param} is {part.type}, and the assistant says only text", code="invalid_value", param=param)
    if isinstance(part, OutputText):
        return InputText(type="input_text", text=part.text)
    if isinstance(part, InputText) or role == "user" and not isinstance(part, Refusal):
        return part
    raise ApiError(400, f"{param} is {part.type}, which role={role} cannot say; send input_text", code="invalid_value", param=param)


def expect(conversation: Conversation, items: Sequence[KeptItem]) -> None:
    """Refuses too many before the first picture is decoded."""
    parts = [part for item in items for part in _parts_of(item)]
    pictures, videos = (sum(isinstance(part, kind) for part in parts) for kind in (InputImage, InputVideo))
    conversation.expect(pictures=pictures, videos=videos)


def _parts_of(item: KeptItem) -> Iterable[Part]:
    return item.content if isinstance(item, MessageItem) else item.output if isinstance(item, FunctionCallOutputItem) else ()


class Turns:
    """Adds items to a conversation, in order. `close` adds what is left at the end."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._said: list[StreamPart] = []
        self._calls: list[ToolCall] = []

    def add(self, item: KeptItem, param: str) -> None:
        match item:
            case MessageItem(role="assistant"):
                if not self._calls:
                    self.close()  # a message after a call goes on with its turn; one after another message is a turn of its own
                self._said += [Text(text) for text in _texts(item.content)]
            case MessageItem():
                self.close()
                parts = [_part(self._conversation, part, f"{param}.content[{index}]") for index, part in enumerate(item.content)]
                self._conversation.say("user" if item.role == "user" else "system", parts)
            case FunctionCallItem():
                if item.status != "incomplete":
                    arguments = json_arguments(item.arguments, f"{param}.arguments")
                    self._calls.append(ToolCall(Named(item.namespace, item.name).whole, arguments, item.call_id))
            case FunctionCallOutputItem():
                self.close()
                parts = [_part(self._conversation, part, f"{param}.output[{index}]") for index, part in enumerate(item.output)]
                self._conversation.give_result(item.call_id, parts, param=f"{param}.call_id", name=item.name)
            case ReasoningItem():
                pass

    def close(self) -> None:
        if self._said or self._calls:
            self._conversation.say("assistant", self._said, self._calls)
        self._said, self._calls = [], []


def _texts(content: Sequence[Part]) -> Iterator[str]:
    for part in content:
        if isinstance(part, InputText | OutputText):
            yield part.text
        elif isinstance(part, Refusal):
            yield part.refusal


def _part(conversation: Conversation, part: Part, param: str) -> StreamPart:
    match part:
        case InputText() | OutputText():
            return Text(part.text)
        case InputImage():
            return conversation.url(part.image_url, "image", f"{param}.image_url")
        case InputVideo():
            return conversation.url(part.video_url, "video", f"{param}.video_url")
        case Refusal():
            return Text(part.refusal)
