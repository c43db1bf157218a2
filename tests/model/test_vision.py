"""The vision tower against a slow one written from the fact sheet: loops, complex numbers, double precision.

Letters: M tiles, X patches per tile, W vision width, N heads, H head width.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from puna.config import VisionConfig
from puna.model.vision import VisionTower, axial_rotation, pixel_shuffle
from puna.testing.models import TINY_VISION

WIDER = replace(TINY_VISION, tile_size=24, width=48, num_heads=3)  # 6 x 6 patches, heads 16 wide


def tower(vision: VisionConfig) -> VisionTower:
    made = VisionTower(vision)
    generator = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    return made


def tiles(count: int, vision: VisionConfig) -> Tensor:
    return torch.rand(count, 3, vision.tile_size, vision.tile_size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def slow_tower(made: VisionTower, tile: Tensor) -> Tensor:
    """One tile, `[tokens_per_tile, adapter_width]`, with nothing vectorised that could hide an order."""
    vision, p = made.vision, made.vision.patch_size
    side = vision.tile_size // p
    w = {name: parameter.detach().double() for name, parameter in made.named_parameters()}

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean()
        return centred / (centred.square().mean() + vision.norm_eps).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    def gelu(x: Tensor) -> Tensor:
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))

    def linear(x: Tensor, name: str) -> Tensor:
        return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0.0)

    rows, places = [], []
    for index in range(side * side):
        row, column = index // side, index % side
        values = [tile[c, row * p + y, column * p + x] for c in range(3) for y in range(p) for x in range(p)]
        rows.append(w["patch_embed.weight"] @ torch.stack(values).double())
        places.append((column + 1, row + 1))  # x, then y
    rows.append(w["class_embedding"])
    places.append((0, 0))
    rows = [norm(row + w["position_embedding"][i], "norm_pre") for i, row in enumerate(rows)]

    head = vision.width // vision.num_heads
    pairs = head // 2

    def turned(x: Tensor, place: tuple[int, int]) -> Tensor:
        numbers = []
        for pair in range(pairs):
            half = pairs // 2
            along = place[0] if pair < half else place[1]
            angle = along * vision.rope_theta ** (-2 * (pair % half) / pairs)
            numbers.append(torch.complex(x[2 * pair], x[2 * pair + 1]) * complex(math.cos(angle), math.sin(angle)))
        return torch.view_as_real(torch.stack(numbers)).flatten()

    for layer in range(vision.num_layers):
        name = f"layers.{layer}"
        normed = [norm(row, f"{name}.attention_norm") for row in rows]
        q, k, v = ([linear(x, f"{name}.attention.{which}").view(-1, head) for x in normed] for which in ("wq", "wk", "wv"))
        attended = []
        for i, place in enumerate(places):
            outs = []
            for n in range(vision.num_heads):
                query = turned(q[i][n], place)
                scores = torch.stack([query @ turned(k[j][n], other) for j, other in enumerate(places)]) / math.sqrt(head)
                outs.append(scores.softmax(0) @ torch.stack([v[j][n] for j in range(len(places))]))
            attended.append(linear(torch.cat(outs), f"{name}.attention.wo"))
        rows = [row + out for row, out in zip(rows, attended, strict=True)]
        for i, row in enumerate(rows):
            hidden = gelu(linear(norm(row, f"{name}.feed_forward_norm"), f"{name}.feed_forward.fc1"))
            rows[i] = row + linear(hidden, f"{name}.feed_forward.fc2")
    rows = [norm(row, "norm_post") for row in rows[:-1]]
    cells = []
    for y in range(side // 2):
        for x in range(side // 2):
            cells.append(torch.cat([rows[(2 * y + dy) * side + 2 * x + dx] for dy in (0, 1) for dx in (0, 1)]))
    return torch.stack([gelu(linear(gelu(linear(cell, "adapter.fc1")), "adapter.fc2")) for cell in cells])


@pytest.mark.parametrize("vision", [TINY_VISION, WIDER], ids=["4 x 4 patches", "6 x 6 patches"])
def test_the_tower_equals_the_slow_one(vision: VisionConfig) -> None:
    made, pictures = tower(vision), tiles(2, vision)
    with torch.no_grad():
        out = made(pictures).view(2, vision.tokens_per_tile, vision.adapter_width)
    for got, tile in zip(out, pictures, strict=True):
        expected = slow_tower(made, tile)
        assert float((got - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_the_first_half_of_the_pairs_turns_with_x_and_the_class_token_with_nothing() -> None:
    vision = replace(TINY_VISION, tile_size=24, width=32, num_heads=1)  # 6 x 6 patches, 8 pairs along each axis
    cos, sin = axial_rotation(vision, torch.device("cpu"))
    assert cos.shape == (37, 16)
    for index in range(36):
        x, y = index % 6 + 1, index // 6 + 1
        for pair in range(16):
            angle = (x if pair < 8 else y) * 10000 ** (-(pair % 8) / 8)
            assert math.isclose(cos[index, pair], math.cos(angle), abs_tol=1e-6)
            assert math.isclose(sin[index, pair], math.sin(angle), abs_tol=1e-6)
    assert torch.equal(cos[36], torch.ones(16)) and not sin[36].any()


def test_llama_4s_angles_run_over_22_frequencies_an_axis() -> None:
    llama = VisionConfig(tile_size=336, patch_size=14, width=1408, num_layers=34, num_heads=16, adapter_width=4096)
    cos, _ = axial_rotation(llama, torch.device("cpu"))
    assert cos.shape == (577, 44)
    last = 24 * 24 - 1
    assert math.isclose(cos[last, 21], math.cos(24 * 10000 ** (-42 / 44)), abs_tol=1e-6)
    assert torch.equal(cos[23, :22], cos[last, :22]) and not torch.equal(cos[23, 22:], cos[last, 22:])


def test_pixel_shuffle_puts_cells_row_by_row_and_patches_row_by_row_inside() -> None:
    patches = torch.arange(36.0).view(1, 36, 1)  # patch (y, x) is 6 y + x
    cells = pixel_shuffle(patches)[0].int().tolist()
    assert cells[:4] == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11], [12, 13, 18, 19]]
    assert len(cells) == 9


def test_tiles_do_not_see_each_other() -> None:
    made, pictures = tower(TINY_VISION), tiles(3, TINY_VISION)
    with torch.no_grad():
        alone = torch.cat([made(pictures[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(made(pictures), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 16, 15), (1, 1, 16, 16), (1, 3, 32, 32), (3, 16, 16)])
def test_tiles_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[M, 3, 16, 16\]"):
        tower(TINY_VISION)(torch.zeros(shape))


def test_fp32_tiles_are_read_by_a_bf16_tower() -> None:
    out = tower(TINY_VISION).bfloat16()(tiles(1, TINY_VISION))
    assert (out.dtype, out.shape) == (torch.bfloat16, (4, 24))
