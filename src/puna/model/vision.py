"""The vision tower: each tile is a sequence of its own through a bidirectional transformer, then pixel shuffle and adapter.

[stated: Meta's reference] class token *last*, axial 2-D RoPE with x before y and the class token unrotated, exact GELU,
pixel shuffle by 2 x 2 cells, GELU after both adapter layers.

Letters: M tiles, X patches per tile, W vision width, N heads, H head width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.config import VisionConfig
from puna.kernels.attention import tile_attention
from puna.kernels.fusion import fusible
from puna.model.rope import rotate


def axial_rotation(vision: VisionConfig, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine `[X + 1, H/2]`: the first H/4 pairs turn with (px + 1), the others with (py + 1), the class token not at all."""
    side, quarter = vision.patches_per_side, vision.head_width // 4
    freq = vision.rope_theta ** (-torch.arange(quarter, dtype=torch.float64, device=device) / quarter)
    index = torch.arange(side * side, dtype=torch.float64, device=device)
    along_x = (index % side + 1)[:, None] * freq
    along_y = (torch.div(index, side, rounding_mode="floor") + 1)[:, None] * freq
    angles = torch.cat((along_x, along_y), dim=-1)
    angles = torch.cat((angles, torch.zeros_like(angles[:1])))
    return angles.cos().float(), angles.sin().float()


class VisionAttention(nn.Module):
    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.num_heads = vision.num_heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(vision.width, vision.width) for _ in range(4))

    def forward(self, x_MXW: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = (w(x_MXW).unflatten(-1, (self.num_heads, -1)) for w in (self.wq, self.wk, self.wv))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        out = tile_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.wo(out.transpose(1, 2).flatten(-2))


class VisionFeedForward(nn.Module):
    """Two linear layers with an exact GELU between them; the adapter has another one after both (`gelu_after`)."""

    def __init__(self, width: int, hidden_width: int, out_width: int, *, bias: bool, gelu_after: bool) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden_width, bias=bias)
        self.fc2 = nn.Linear(hidden_width, out_width, bias=bias)
        self.gelu_after = gelu_after

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc2(F.gelu(self.fc1(x)))
        return F.gelu(x) if self.gelu_after else x


class VisionBlock(nn.Module):
    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(vision.width, vision.norm_eps)
        self.attention = VisionAttention(vision)
        self.feed_forward_norm = nn.LayerNorm(vision.width, vision.norm_eps)
        self.feed_forward = VisionFeedForward(vision.width, vision.shuffled_width, vision.width, bias=True, gelu_after=False)

    def forward(self, x_MXW: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return _vision_block(self, x_MXW, cos, sin)


@fusible(symbolic_shapes=True)
def _vision_block(block: VisionBlock, x_MXW: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    x_MXW = x_MXW + block.attention(block.attention_norm(x_MXW), cos, sin)
    return x_MXW + block.feed_forward(block.feed_forward_norm(x_MXW))


class VisionTower(nn.Module):
    """Tiles `[M, 3, h, w]` -> `[M * tokens_per_tile, adapter_width]`, tile after tile, cells row by row."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.vision = vision
        num_patches = vision.patches_per_side**2
        self.patch_embed = nn.Linear(3 * vision.patch_size**2, vision.width, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(vision.width))
        self.position_embedding = nn.Parameter(torch.empty(num_patches + 1, vision.width))
        self.norm_pre = nn.LayerNorm(vision.width, vision.norm_eps)
        self.layers = nn.ModuleList(VisionBlock(vision) for _ in range(vision.num_layers))
        self.norm_post = nn.LayerNorm(vision.width, vision.norm_eps)
        self.adapter = VisionFeedForward(vision.shuffled_width, vision.adapter_width, vision.adapter_width, bias=False, gelu_after=True)

    def forward(self, tiles: Tensor) -> Tensor:
        x_MXW = self.patch_embed(self._patches(tiles.to(self.patch_embed.weight.dtype)))
        class_token = self.class_embedding.to(x_MXW.dtype).expand(x_MXW.shape[0], 1, -1)
        x_MXW = self.norm_pre(torch.cat((x_MXW, class_token), dim=1) + self.position_embedding)
        cos, sin = axial_rotation(self.vision, x_MXW.device)
        for layer in self.layers:
            x_MXW = layer(x_MXW, cos, sin)
        return self.adapter(pixel_shuffle(self.norm_post(x_MXW)[:, :-1])).flatten(0, 1)

    def _patches(self, tiles: Tensor) -> Tensor:
        """Cut tiles into patches `[M, X, 3 * p * p]`, row by row, each flattened channel first."""
        p = self.vision.patch_size
        size = self.vision.tile_size
        if tiles.shape[1:] != (3, size, size):
            raise ValueError(f"tiles have shape {tuple(tiles.shape)}; this model reads [M, 3, {size}, {size}]")
        cut = tiles.unflatten(3, (-1, p)).unflatten(2, (-1, p))  # [M, 3, rows, p, columns, p]
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def pixel_shuffle(x_MXW: Tensor) -> Tensor:
    """Put each 2 x 2 cell of patches side by side: `[M, X, W]` -> `[M, X / 4, 4 W]`, within a cell row by row."""
    side = int(x_MXW.shape[1] ** 0.5)
    cells = x_MXW.unflatten(1, (side // 2, 2, side // 2, 2))  # [M, Y, dy, X, dx, W]
    return cells.permute(0, 1, 3, 2, 4, 5).flatten(3).flatten(1, 2)
