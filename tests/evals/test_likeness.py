import math
from pathlib import Path

import numpy as np
import pytest
import torch

from puna.checkpoint import load_model, save_model
from puna.evals.likeness import MAX_TOKENS, SAMPLE, likeness
from puna.model import Batch
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model
from puna.testing.tokenizer import byte_tokenizer


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return save_model(tiny_model(tiny_config(vision=None)), tmp_path / "first", byte_tokenizer(), storage="fp32")


def test_a_model_is_like_itself(directory: Path) -> None:
    found = likeness(directory, directory)
    assert found.kl == 0.0 and found.same_first == 1.0
    assert found.bits_per_byte[0] == found.bits_per_byte[1] and found.perplexity[0] == found.perplexity[1]


def test_no_more_than_the_limit_is_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert likeness(directory, directory).tokens == min(MAX_TOKENS, sum(len(text.encode()) for text in SAMPLE))
    monkeypatch.setattr("puna.evals.likeness.MAX_TOKENS", 700)
    assert likeness(directory, directory, ["a" * 600, "b" * 600]).tokens == 700


def test_figures_are_what_their_definitions_say(directory: Path, tmp_path: Path) -> None:
    """One window, by hand."""
    other = save_model(tiny_model(tiny_config(vision=None), seed=1), tmp_path / "second", byte_tokenizer(), storage="fp32")
    ids = list(b"llama")
    rows = []
    for path in (directory, other):
        model = load_model(path, "float32")
        with torch.no_grad():
            rows.append(model.logits(model(Batch.from_streams([Stream(np.array([256, *ids]))])))[:-1].softmax(dim=-1))
    p, q = rows
    nats = [-sum(math.log(row[i, token]) for i, token in enumerate(ids)) for row in rows]
    found = likeness(directory, other, ["llama"])
    assert found.tokens == found.bytes == 5
    assert found.bits_per_byte == pytest.approx([n / math.log(2) / 5 for n in nats], rel=1e-4)
    assert found.perplexity == pytest.approx([math.exp(n / 5) for n in nats], rel=1e-4)
    assert found.kl == pytest.approx(float((p * (p / q).log()).sum()) / 5, rel=1e-4)
    assert found.same_first == float((p.argmax(1) == q.argmax(1)).float().mean())
