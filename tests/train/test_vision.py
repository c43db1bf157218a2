"""The vision tower's warm-up: it learns what stands where, the same every time, and forgets its readout."""

import io
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from puna.model.vision import VisionTower
from puna.testing.models import tiny_model
from puna.train import vision
from puna.train.vision import Classes, Readout, measure, warm_up

NOT_ASKED = -100
NUM = Classes(things=2, counts=3, colours=2, letters=2)


class Batch(NamedTuple):
    pictures: np.ndarray
    whole: np.ndarray
    counts: np.ndarray
    cells: np.ndarray
    colours: np.ndarray
    letters: np.ndarray


def corners(step: int) -> Batch:
    """A bright square in one of four cells, black elsewhere: the whole's class is its brightness, the cell's is 1 where it stands."""
    generator = np.random.default_rng(step)
    pictures = np.zeros((16, 16, 16, 3), np.uint8)
    whole, where = generator.integers(2, size=16), generator.integers(4, size=16)
    cells, colours = np.zeros((16, 4), np.int64), np.full((16, 4), NOT_ASKED)
    for i in range(16):
        y, x = divmod(int(where[i]), 2)
        pictures[i, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = 255 if whole[i] else 120
        cells[i, where[i]] = 1
        colours[i, where[i]] = whole[i]
    # Every third picture is empty; letters are asked as colours are.
    counts = np.ones(16, np.int64)
    pictures[::3], cells[::3], colours[::3], whole[::3], counts[::3] = 0, 0, NOT_ASKED, NOT_ASKED, 0
    return Batch(pictures, whole, counts, cells, colours, colours.copy())


def tower() -> VisionTower:
    return tiny_model().vision


def warmed(directory: Path, steps: int = 60, made: VisionTower | None = None) -> VisionTower:
    made = made or tower()
    console = Console(file=io.StringIO())
    warm_up(made, corners, num=NUM, steps=steps, lr=1e-2, log=directory / "vision.jsonl", console=console, fuse=False)
    return made


def test_the_tower_learns_what_is_shown_and_where(tmp_path: Path) -> None:
    warmed(tmp_path, 100)
    first, *_, last = [json.loads(line) for line in (tmp_path / "vision.jsonl").read_text().splitlines()]
    assert (first["step"], last["step"]) == (20, 100)
    assert last["loss"] < 0.3 * first["loss"]
    assert min(last[share] for share in ("whole", "counts", "cells", "colours", "letters", "places")) > 0.9


def test_the_clock_may_end_it_with_the_rate_at_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on by a second at each look: ten steps in ten seconds of a minute's sixth."""
    seconds, rates = itertools.count(), list[float]()
    monkeypatch.setattr(vision, "monotonic", lambda: next(seconds))
    step_at = vision.step_at
    monkeypatch.setattr(vision, "step_at", lambda optimizers, rate: (rates.append(rate), step_at(optimizers, rate)))
    console = Console(file=io.StringIO())
    log = tmp_path / "vision.jsonl"
    warm_up(tower(), corners, num=NUM, steps=1000, minutes=1 / 6, lr=1e-2, log=log, console=console, fuse=False)
    assert json.loads(log.read_text().splitlines()[-1])["step"] == len(rates) == 10
    assert rates[5] > rates[0] and rates[-1] < rates[-2] < rates[-3]


def test_it_is_a_function_of_its_batches_and_leaves_torchs_generator_alone(tmp_path: Path) -> None:
    one, again = tower(), tower()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    warmed(tmp_path, 3, one)
    assert torch.equal(torch.rand(3), expected)
    warmed(tmp_path, 3, again)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert any((a != b).any() for a, b in zip(one.parameters(), tower().parameters(), strict=True))


def test_the_tower_keeps_its_names_and_no_gradients(tmp_path: Path) -> None:
    made = warmed(tmp_path, 1)
    assert made.state_dict().keys() == tower().state_dict().keys()
    assert all(parameter.grad is None for parameter in made.parameters())


def test_cells_are_the_towers_rows_in_order() -> None:
    readout = Readout(tower(), NUM)
    tiles = torch.rand(3, 3, 16, 16)
    whole, counts, cells, colours, letters, places = readout(tiles)
    assert (whole.shape, counts.shape) == ((3, 2), (3, 3))
    assert (cells.shape, colours.shape, letters.shape) == ((3, 4, 2),) * 3
    assert places.shape == (3, 4, 4)
    rows = readout.tower(tiles)
    torch.testing.assert_close(cells[1, 2], readout.head_cells(rows[4 + 2]))


def test_pictures_are_scaled_as_tiles_are() -> None:
    seen = []

    class Watching(Readout):
        def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
            seen.append(tiles)
            return super().forward(tiles)

    measure(Watching(tower(), NUM), corners(0))
    (tiles,) = seen
    assert tiles.shape == (16, 3, 16, 16) and tiles.dtype == torch.float32
    assert float(tiles.min()) == -1 and float(tiles.max()) == 1


@pytest.mark.parametrize("missing", [-100, -1])
def test_what_is_not_asked_counts_for_nothing_even_if_nothing_is_asked(missing: int) -> None:
    readout = Readout(tower(), NUM)
    batch = corners(0)
    silence = {name: np.full_like(getattr(batch, name), missing) for name in ("colours", "letters", "whole", "counts")}
    silent = batch._replace(**silence)
    loss = measure(readout, silent).loss
    _, _, cells, _, _, places = readout(torch.from_numpy(batch.pictures.transpose(0, 3, 1, 2) / 127.5 - 1).float())
    always = 4 * F.cross_entropy(cells.flatten(0, 1), torch.from_numpy(batch.cells).flatten())
    always += 0.5 * F.cross_entropy(places.flatten(0, 1), torch.arange(4).repeat(16))
    torch.testing.assert_close(loss, always)
    loss.backward()
    assert readout.head_cells.weight.grad is not None and readout.head_cells.weight.grad.any()
    assert all(torch.isfinite(p.grad).all() for p in readout.parameters() if p.grad is not None)
