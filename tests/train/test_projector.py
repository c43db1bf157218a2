"""The projector's start: rows of the size asked for, what all pictures share left out, narrower and wider than the adapter."""

import pytest
import torch

from puna.model import Model
from puna.testing.models import TINY_VISION, tiny_config, tiny_model
from puna.train.projector import fit_projector


def fitted(width: int) -> tuple[Model, torch.Tensor]:
    """A model of this width, its projector fitted, and the tiles that it was fitted on."""
    model = tiny_model(tiny_config(width=width))
    size = TINY_VISION.tile_size
    tiles = torch.randn(24, 3, size, size, generator=torch.Generator().manual_seed(1))
    fit_projector(model, tiles.split(8), rms=0.7)
    return model, tiles


@pytest.mark.parametrize("difference", [-8, 0, 16])
def test_rows_have_the_size_asked_for_and_share_no_mean(difference: int) -> None:
    width = TINY_VISION.adapter_width + difference
    model, tiles = fitted(width)
    with torch.no_grad():
        rows = model.embed_tiles(tiles)
    assert rows.shape[1] == width
    assert float(rows.square().mean().sqrt()) == pytest.approx(0.7, rel=1e-3)
    # the direction of the common mean is gone: the mean of rows is next to nothing beside them
    assert float(rows.mean(0).square().mean().sqrt()) < 1e-3


def test_a_wider_projector_loses_no_direction() -> None:
    every = TINY_VISION.adapter_width - 1  # all but the mean's
    for width in (every, every + 1, every + 16):
        model, _ = fitted(width)
        assert int(torch.linalg.matrix_rank(model.projector.weight, rtol=1e-4)) == every
