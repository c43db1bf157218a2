"""Conversations answered side by side get the replies that they get alone."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from puna.evals.ask import Said, replies
from puna.pipeline import Pipeline
from puna.stream import Image, Message, Text
from puna.testing.models import tiny_model
from puna.testing.tokenizer import byte_tokenizer


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline("tiny", tiny_model(), byte_tokenizer())


def _conversations() -> list[list[Message]]:
    rng = np.random.default_rng(0)
    tiles = rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    asked = [(Text("One?"),), (Image(tiles, (1, 1)), Text("A longer question about a picture?")), (Text("Three " * 9),)]
    return [[Message("user", content)] for content in asked]


@pytest.mark.parametrize("max_tokens", [1, 30])
def test_side_by_side_is_as_one_after_the_other(pipeline: Pipeline, max_tokens: int) -> None:
    together = replies(pipeline, _conversations(), max_tokens)
    alone = [pipeline.chat(messages, max_tokens=max_tokens) for messages in _conversations()]
    assert together == [Said(reply.text, reply.finish_reason) for reply in alone]


def test_an_endpoint_is_asked_in_order() -> None:
    heard: list[str] = []

    class Endpoint:
        def chat(self, messages: Sequence[Message], *, max_tokens: int) -> SimpleNamespace:
            heard.append(messages[-1].text)
            return SimpleNamespace(text=f"reply {len(heard)}", finish_reason="stop")

    assert [said.text for said in replies(Endpoint(), _conversations(), 5)] == ["reply 1", "reply 2", "reply 3"]
    assert heard[0] == "One?"
