"""The specification of products with stored weights: widen everything to fp32, multiply, done. Grouped rows go expert by expert.

Letters: T rows, K inner width, N outputs, E experts, G groups of a row.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 32  # activations that share a scale when they are rounded


def reference_linear(x_TK: Tensor, w: Tensor, offsets: Tensor | None = None) -> Tensor:
    """`x @ w.T` in fp32 for w `[N, K]`; with offsets `[E + 1]` rows `offsets[e]` to `offsets[e + 1]` meet w `[E, N, K]`'s matrix e."""
    if offsets is None:
        return F.linear(x_TK.float(), w.float())
    edges = offsets.tolist()
    parts = [F.linear(x_TK[first:last].float(), w_NK.float()) for first, last, w_NK in zip(edges, edges[1:], w, strict=False)]
    return torch.cat(parts) if parts else x_TK.new_empty(0, w.shape[-2])


def reference_dequantize(integers: Tensor, scales: Tensor) -> Tensor:
    """Weights `[..., N, K]` in fp32 from int8 `[..., N, K]` and scales `[..., N, G]`: each scale holds for K / G neighbours."""
    return (integers.float().unflatten(-1, (scales.shape[-1], -1)) * scales.float()[..., None]).flatten(-2)


def reference_rounded(x_TK: Tensor) -> Tensor:
    """x as packed products see it unless they are exact: 8 bits in blocks of 32, each with the scale of its largest magnitude over 127."""
    padded = F.pad(x_TK.float(), (0, -x_TK.shape[-1] % _BLOCK)).unflatten(-1, (-1, _BLOCK))
    largest = padded.abs().amax(-1, keepdim=True)
    scale = largest / 127
    rounded = torch.where(largest < 1e-35, 0.0, (padded * (127 / largest)).round() * scale)
    return rounded.flatten(-2)[..., : x_TK.shape[-1]]
