"""Warming up a vision tower: what is shown, how many, what stands in which cell, where a row stands, read linearly off the adapter's rows.

A nano's decoder learns names of pictures hundreds of times slower while the tower still knows nothing (`docs/log.md`). Meta's tower was
trained before fusion too, on the task of MetaCLIP [stated]; the task here, and its length, are [ours]. The readout is thrown away.

Each row must say its place, or the decoder guesses left and right: none of the other tasks asks for it, and a tower lets it go.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from puna.kernels.fusion import fused_elementwise
from puna.kernels.precision import training_precision
from puna.model.vision import VisionTower
from puna.train.optimizer import build_optimizers, step_at
from puna.train.schedule import fall, rise


class Labelled(Protocol):
    """A batch of pictures uint8 `[B, h, w, 3]` with class ids: `whole` and `counts` `[B]`, `cells`, `colours` and `letters` `[B, cells]`.

    Negative: not asked.
    """

    @property
    def pictures(self) -> np.ndarray: ...
    @property
    def whole(self) -> np.ndarray: ...
    @property
    def counts(self) -> np.ndarray: ...
    @property
    def cells(self) -> np.ndarray: ...
    @property
    def colours(self) -> np.ndarray: ...
    @property
    def letters(self) -> np.ndarray: ...


class Classes(NamedTuple):
    """How many classes each head tells apart."""

    things: int
    counts: int
    colours: int
    letters: int


class Readout(nn.Module):
    """A tower with linear heads: on the rows' mean what is shown and how many things, on each row the thing, its colour, the letter, and
    the row's own place.
    """

    def __init__(self, tower: VisionTower, num: Classes) -> None:
        super().__init__()
        self.tower = tower
        width = tower.vision.adapter_width
        self.head_whole = nn.Linear(width, num.things)
        self.head_counts = nn.Linear(width, num.counts)
        self.head_cells = nn.Linear(width, num.things)
        self.head_colours = nn.Linear(width, num.colours)
        self.head_letters = nn.Linear(width, num.letters)
        self.head_places = nn.Linear(width, tower.vision.tokens_per_tile)

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Logits in the order of `Seen`'s shares."""
        rows = self.tower(tiles).unflatten(0, (tiles.shape[0], -1))
        mean = rows.mean(1)
        of_rows = (self.head_cells, self.head_colours, self.head_letters, self.head_places)
        return self.head_whole(mean), self.head_counts(mean), *(head(rows) for head in of_rows)


class Seen(NamedTuple):
    """Loss to differentiate, and shares of right answers among those asked: whole pictures, counts, cells that hold something, colours,
    letters, places.
    """

    loss: Tensor
    whole: float
    counts: float
    cells: float
    colours: float
    letters: float
    places: float


# Most cells hold nothing: their head's loss is small for that reason alone. Colours and letters are asked of few cells. [ours]
_WEIGHTS = (1.0, 0.5, 4.0, 0.5, 0.5, 0.5)


_WARMUP, _DECAY = 40, 1 / 3  # steps; share of the whole


def measure(readout: Readout, batch: Labelled) -> Seen:
    device = readout.head_whole.weight.device
    tiles = torch.from_numpy(batch.pictures.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1).to(device)
    places = np.broadcast_to(np.arange(batch.cells.shape[1]), batch.cells.shape)
    asked_of = (batch.whole, batch.counts, batch.cells, batch.colours, batch.letters, places.copy())
    losses, rights = [], []
    for logits, labels, least in zip(readout(tiles), asked_of, (0, 0, 1, 0, 0, 0), strict=True):
        logits, target = logits.float().flatten(0, -2), torch.from_numpy(labels).flatten().to(device)
        asked = target >= 0
        loss = F.cross_entropy(logits[asked], target[asked], reduction="sum")
        losses.append(loss / asked.sum().clamp(min=1))  # a batch that asks nothing of this head teaches it nothing
        counted = target >= least  # of the cells only those that hold something
        rights.append(float((logits.argmax(-1) == target)[counted].float().mean()))
    total = torch.stack([weight * loss for weight, loss in zip(_WEIGHTS, losses, strict=True)]).sum()
    return Seen(total, *rights)


def warm_up(
    tower: VisionTower,
    batches: Callable[[int], Labelled],
    *,
    num: Classes,
    steps: int,
    minutes: float = math.inf,
    lr: float,
    log: Path,
    console: Console,
    fuse: bool = True,
) -> None:
    """Train `tower` in place, on its device, for `steps` batches (`batches` is a function of the step), or until `minutes` are over. The
    rate falls to zero over the last third of whichever ends it. Logs to `log` (JSONL).
    """
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(0)  # the heads' fresh weights
    device = tower.class_embedding.device
    readout = Readout(tower, num).to(device).train()
    torch.random.set_rng_state(generator_state)
    optimizers = build_optimizers(readout, lr, weight_decay=0.01)
    started = monotonic()

    def left(step: int) -> float:
        """The share that remains after `step` batches."""
        return min(1 - step / steps, 1 - (monotonic() - started) / (60 * minutes))

    step, remains = 0, 1.0
    with Progress(console=console) as progress:
        bar = progress.add_task("warming up vision", total=1.0)
        while remains > 0:
            with fused_elementwise(fuse), training_precision(device.type):
                seen = measure(readout, batches(step))
                seen.loss.backward()
            step_at(optimizers, rise(step, _WARMUP) * fall(remains, _DECAY))
            step, remains = step + 1, left(step + 1)
            progress.update(bar, completed=1 - remains)
            if step % 20 == 0 or remains <= 0:
                seconds = round(monotonic() - started, 1)
                record = {"step": step, **seen._asdict(), "loss": float(seen.loss.detach()), "seconds": seconds}
                with log.open("a") as file:
                    file.write(json.dumps(record) + "\n")
