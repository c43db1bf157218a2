"""Joined projections are the separate ones, and inference copies no weights."""

import pytest
import torch
from torch import nn

from puna.model.joined import joined_linear


@pytest.fixture
def layers() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(12, width, bias=False) for width in (12, 4, 7)]


def test_joined_equals_separate_with_every_gradient(layers: list[nn.Linear]) -> None:
    x = torch.randn(5, 12, requires_grad=True)
    leaves = [x, *(layer.weight for layer in layers)]
    results = []
    for outputs in (joined_linear(x, *layers), tuple(layer(x) for layer in layers)):
        grads = torch.autograd.grad([y.cos().sum() for y in outputs], leaves)
        results.append([*outputs, *grads])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_without_gradients_no_weight_is_copied(layers: list[nn.Linear], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("weights were put side by side")

    monkeypatch.setattr(torch, "cat", refuse)
    x = torch.randn(3, 12)
    with torch.no_grad():
        for layer, y in zip(layers, joined_linear(x, *layers), strict=True):
            assert torch.equal(y, layer(x))
    with pytest.raises(AssertionError, match="side by side"):
        joined_linear(x, *layers)
