"""Which experts took which rows: counts of tokens by layer, expert and group, and a picture of them.

Groups are what the log sorts by: each kind and each language of rows, and modalities token by token (words, patches of pictures, patches
of videos). Nothing tells the router of them. Counted in the steps that the log shows, from the very choices that these steps made.

Letters: T tokens, L layers with experts, E experts.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from puna.model import Model
from puna.model.experts import MoE
from puna.train.packing import TrainingBatch

# Sizes in pixels.
_CELL, _ROW, _GAP, _MARGIN, _FONT = 18, 12, 10, 8, 11
_FEW, _EVEN, _MANY = (33, 102, 172), (247, 247, 247), (178, 24, 43)
_FULL_COLOUR = 8  # a share so many times the even one, or so many times less, has the full colour
_FADE = 0.5


class Group(NamedTuple):
    """Rows or tokens of one name: ("language", "ko"), ("modality", "words")."""

    grouping: str
    name: str


class ExpertMap:
    """Counts for one model. Each picture halves what was counted before it, so that it shows the present."""

    def __init__(self, model: Model) -> None:
        self.name, self.patch_id = model.config.name, model.config.patch_id
        feed_forwards = [layer.feed_forward for layer in model.text.layers]
        self.layers = [number for number, part in enumerate(feed_forwards) if isinstance(part, MoE)]
        self.routers = [part.router for part in feed_forwards if isinstance(part, MoE)]
        self.num_experts = model.config.num_experts
        self.counts: dict[Group, np.ndarray] = {}

    @contextmanager
    def watching(self, data: TrainingBatch) -> Iterator[None]:
        """Count what the routers choose for `data` while inside."""
        groups, ids_by_grouping = self._groups_of(data)
        for layer, router in enumerate(self.routers):
            router.watch = partial(self._count, layer, groups, ids_by_grouping)
        try:
            yield
        finally:
            for router in self.routers:
                router.watch = None

    def _groups_of(self, data: TrainingBatch) -> tuple[list[Group], list[Tensor]]:
        """All groups, and for each grouping the number of each token's group `[T]`; 0 stands for none."""
        groups = [Group("", "")]
        by_grouping: list[Tensor] = []
        is_patch = data.batch.token_ids == self.patch_id
        lengths = torch.tensor(data.batch.lengths, device=is_patch.device)

        def number(grouping: str, name: str) -> int:
            group = Group(grouping, name) if name else groups[0]
            if group not in groups:
                groups.append(group)
            return groups.index(group)

        def spread(numbers: list[int]) -> Tensor:
            return torch.tensor(numbers, device=is_patch.device).repeat_interleave(lengths)

        by_grouping.append(spread([number("kind", name) for name in data.groups["kind"]]))
        languages = spread([number("language", name) for name in data.groups["language"]])
        by_grouping.append(languages.masked_fill(is_patch, 0))
        words = number("modality", "words")
        patches = spread([number("modality", f"{name} patches") for name in data.groups["modality"]])
        by_grouping.append(torch.where(is_patch, patches, words))
        return groups, by_grouping

    def _count(self, layer: int, groups: list[Group], by_grouping: list[Tensor], expert_ids_T: Tensor) -> None:
        for ids_T in by_grouping:
            table = torch.bincount(ids_T * self.num_experts + expert_ids_T, minlength=len(groups) * self.num_experts)
            for group, row in zip(groups[1:], table.view(-1, self.num_experts).cpu().numpy()[1:], strict=True):
                if row.any():
                    empty = np.zeros((len(self.layers), self.num_experts))
                    self.counts.setdefault(group, empty)[layer] += row

    def table(self) -> tuple[list[Group], np.ndarray]:
        """Groups in the order of the picture, and each one's shares `[groups, L, E]`: those of a layer sum to 1."""
        order = {"modality": 0, "language": 1, "kind": 2}
        groups = sorted(self.counts, key=lambda group: (order[group.grouping], group.name))
        counts = np.stack([self.counts[group] for group in groups])
        return groups, counts / np.maximum(1e-9, counts.sum(-1, keepdims=True))

    def write(self, out: Path, stem: str, step: int) -> tuple[bytes, int, int] | None:
        """`out/STEM.png` and its numbers `out/STEM.json`, then fade; returns PNG, width and height. None where nothing was counted."""
        if not self.counts:
            return None
        groups, shares = self.table()
        picture = draw(f"{self.name}, step {step}", self.layers, groups, shares)
        encoded = io.BytesIO()
        picture.save(encoded, "png", optimize=True)
        (out / f"{stem}.png").write_bytes(encoded.getvalue())
        facts = {
            "step": step,
            "layers": self.layers,
            "tokens": {f"{group.grouping}: {group.name}": self.counts[group].round(1).tolist() for group in groups},
        }
        (out / f"{stem}.json").write_text(json.dumps(facts))
        for counts in self.counts.values():
            counts *= _FADE
        return encoded.getvalue(), *picture.size


def draw(title: str, layers: list[int], groups: list[Group], shares: np.ndarray) -> Image.Image:
    """A block of rows a layer, a row an expert, a column a group: white is an even share, red more, blue less."""
    num_experts = shares.shape[-1]
    font = ImageFont.load_default(_FONT)
    left = _MARGIN + 8 * _FONT
    breaks = np.cumsum([0, *(one.grouping != other.grouping for one, other in zip(groups, groups[1:], strict=False))])
    columns = [left + _CELL * place + _GAP * int(section) for place, section in enumerate(breaks)]
    labels = max(int(font.getlength(group.name)) for group in groups) + _MARGIN
    top = 3 * _FONT + labels
    block = num_experts * _ROW + _GAP
    width = max(columns[-1] + _CELL, left + int(font.getlength(_LEGEND))) + _MARGIN
    image = Image.new("RGB", (width, top + block * len(layers) + _MARGIN), "white")
    pen = ImageDraw.Draw(image)
    pen.text((_MARGIN, _MARGIN // 2), title, "black", font)
    pen.text((left, _MARGIN // 2 + int(1.3 * _FONT)), _LEGEND, "dimgray", font)
    for x, group in zip(columns, groups, strict=True):
        label = Image.new("L", (labels, _CELL), 0)
        ImageDraw.Draw(label).text((0, 2), group.name, 255, font)
        upright = label.rotate(90, expand=True)
        image.paste("black", (x, top - labels), upright)
    for place, layer in enumerate(layers):
        y = top + place * block
        pen.text((_MARGIN, y), f"layer {layer}", "black", font)
        for x, share in zip(columns, shares[:, place], strict=True):
            for expert, value in enumerate(share):
                corner = (x, y + expert * _ROW, x + _CELL - 2, y + (expert + 1) * _ROW - 2)
                pen.rectangle(corner, fill=colour(float(value) * num_experts))
    return image


_LEGEND = f"an expert's share of a column's tokens: white even, red {_FULL_COLOUR} times as many, blue as many times fewer"


def colour(ratio: float) -> tuple[int, int, int]:
    """Of a share that is `ratio` times the even one."""
    strength = float(np.clip(np.log(max(ratio, 1e-9)) / np.log(_FULL_COLOUR), -1, 1))
    end = _MANY if strength > 0 else _FEW
    red, green, blue = (round(a + abs(strength) * (b - a)) for a, b in zip(_EVEN, end, strict=True))
    return red, green, blue
