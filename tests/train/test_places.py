"""Rows learn their places and go on saying what they said."""

import io

import torch
from rich.console import Console
from torch import Tensor

from puna.model import Model
from puna.testing.models import tiny_model
from puna.train.places import SHARE, add_places


def pictures(step: int) -> Tensor:
    """Of one colour each."""
    return (torch.rand(12, 3, 1, 1, generator=torch.Generator().manual_seed(step)) * 2 - 1).expand(-1, -1, 16, 16).contiguous()


def rows(model: Model, step: int) -> Tensor:
    """[pictures, places, D]"""
    with torch.no_grad():
        return model.embed_tiles(pictures(step)).unflatten(0, (12, -1))


def test_rows_become_what_they_were_plus_a_code_for_each_place() -> None:
    model, before = tiny_model(), tiny_model()
    off = add_places(model, pictures, steps=150, lr=2e-2, console=Console(file=io.StringIO()))
    assert off < 0.5
    added = rows(model, 999) - rows(before, 999)  # pictures that were not among those learned from
    codes = added.mean(0)
    size = rows(before, 999).square().sum(-1).mean().sqrt() * SHARE
    assert torch.allclose(codes.norm(dim=-1), size.expand(len(codes)), rtol=0.3)
    assert (added - codes).square().sum(-1).mean().sqrt() < 0.5 * size
    nearest = torch.cdist(added.flatten(0, 1), codes).argmin(-1).unflatten(0, (12, -1))
    assert (nearest == torch.arange(len(codes))).float().mean() > 0.95


def test_words_stay_and_the_same_call_gives_the_same_rows() -> None:
    one, again, before = tiny_model(), tiny_model(), tiny_model()
    for model in (one, again):
        add_places(model, pictures, steps=2, console=Console(file=io.StringIO()))
    assert torch.equal(rows(one, 0), rows(again, 0)) and not torch.equal(rows(one, 0), rows(before, 0))
    assert all(torch.equal(a, b) for a, b in zip(one.text.parameters(), before.text.parameters(), strict=True))
