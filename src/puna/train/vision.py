"""Warming up a vision tower: what is shown, and what stands in which cell, read linearly off the adapter's rows.

A nano's decoder learns names of pictures hundreds of times slower while the tower still knows nothing (`docs/log.md`). Meta's tower was
trained before fusion too, on the task of MetaCLIP [stated]; the task here, and its length, are [ours]. The readout is thrown away.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from puna.model.vision import VisionTower
from puna.train.optimizer import build_optimizers
from puna.train.schedule import warmup_stable_decay


class Labelled(Protocol):
    """A batch of pictures uint8 `[B, h, w, 3]` with class ids: `whole` `[B]`, `cells` and `colours` `[B, cells]`; negative: not asked."""

    @property
    def pictures(self) -> np.ndarray: ...
    @property
    def whole(self) -> np.ndarray: ...
    @property
    def cells(self) -> np.ndarray: ...
    @property
    def colours(self) -> np.ndarray: ...


class Readout(nn.Module):
    """A tower with three linear heads: the whole picture's class (of the rows' mean), each row's class, each row's colour."""

    def __init__(self, tower: VisionTower, num_classes: int, num_colours: int) -> None:
        super().__init__()
        self.tower = tower
        width = tower.vision.adapter_width
        self.head_whole = nn.Linear(width, num_classes)
        self.head_cells = nn.Linear(width, num_classes)
        self.head_colours = nn.Linear(width, num_colours)

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = self.tower(tiles).unflatten(0, (tiles.shape[0], -1))
        return self.head_whole(rows.mean(1)), self.head_cells(rows), self.head_colours(rows)


class Seen(NamedTuple):
    """Loss to differentiate, and shares of right answers among those asked: whole pictures, cells that hold something, colours."""

    loss: Tensor
    whole: float
    cells: float
    colours: float


def measure(readout: Readout, batch: Labelled) -> Seen:
    tiles = torch.from_numpy(batch.pictures.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
    losses, rights = [], []
    for logits, labels, least in zip(readout(tiles), (batch.whole, batch.cells, batch.colours), (0, 1, 0), strict=True):
        logits, target = logits.float().flatten(0, -2), torch.from_numpy(labels).flatten()
        asked = target >= 0
        loss = F.cross_entropy(logits[asked], target[asked], reduction="sum")
        losses.append(loss / asked.sum().clamp(min=1))  # a batch that asks nothing of this head teaches it nothing
        counted = target >= least  # of the cells only those that hold something
        rights.append(float((logits.argmax(-1) == target)[counted].float().mean()))
    # Most cells hold nothing: their head's loss is small for that reason alone.
    return Seen(losses[0] + 4 * losses[1] + 0.5 * losses[2], *rights)


def warm_up(
    tower: VisionTower,
    batches: Callable[[int], Labelled],
    *,
    num_classes: int,
    num_colours: int,
    steps: int,
    lr: float,
    log: Path,
    console: Console,
) -> None:
    """Train `tower` in place for `steps` batches; `batches` is a function of the step. Appends to `log` (JSONL) every 20 steps."""
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(0)  # the heads' fresh weights
    readout = Readout(tower, num_classes, num_colours).train()
    torch.random.set_rng_state(generator_state)
    optimizers = build_optimizers(readout, lr, weight_decay=0.01)
    started = time.monotonic()
    for step in track(range(steps), "warming up vision", console=console):
        with torch.autocast("cpu", torch.bfloat16):
            seen = measure(readout, batches(step))
        seen.loss.backward()
        rate = warmup_stable_decay(step, warmup=40, total=steps, decay=steps // 3)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 20 == 0 or step + 1 == steps:
            seconds = round(time.monotonic() - started, 1)
            record = {"step": step + 1, **seen._asdict(), "loss": float(seen.loss.detach()), "seconds": seconds}
            with log.open("a") as file:
                file.write(json.dumps(record) + "\n")
