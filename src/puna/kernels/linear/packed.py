"""Integer weights in the order in which the native kernels read them (`native/src/packed.h` says why it is this one).

A panel is 16 rows, a block 32 columns, a quad 4 columns: `[panel, block, quad, row in the panel, column in the quad]`, filled up with
zeros to whole panels and blocks. In 4 bits quads 2j and 2j + 1 share bytes, low half and high half, each weight + 8. Scales:
`[panel, group, row]`. Packing permutes; it rounds nothing, and `unpack` gives back what came in.

Letters: N outputs, K inner width, E experts, G groups of a row.
"""

from dataclasses import dataclass
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from puna.kernels.linear.reference import reference_dequantize

PANEL, BLOCK, QUAD = 16, 32, 4
SCALE_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PackedWeight:
    """`data` uint8 and `scales`, both as packed; `shape` `(N, K)` or, for experts, `(E, N, K)`; `group` weights of a row share a scale."""

    data: Tensor
    scales: Tensor
    bits: int
    group: int
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return self.data.nbytes + self.scales.nbytes


def pack_int8(integers: Tensor, scales: Tensor) -> PackedWeight:
    """Pack int8 `[..., N, K]`, -127 to 127, with scales `[..., N, G]` in fp32, bf16 or fp16. At most one axis before N: the experts'."""
    if integers.dtype != torch.int8:
        raise ValueError(f"integers in {integers.dtype}: 8-bit weights come as int8")
    if integers.numel() and int(integers.min()) < -127:
        raise ValueError("a weight of -128: 8-bit weights run from -127 to 127; round to a symmetric range")
    return _pack(integers, scales, 8)


def pack_int4(integers: Tensor, scales: Tensor) -> PackedWeight:
    """Pack int8 values from -8 to 7, `[..., N, K]`, into 4 bits each; scales as in `pack_int8`."""
    if integers.dtype != torch.int8:
        raise ValueError(f"integers in {integers.dtype}: 4-bit weights come as int8 values from -8 to 7, or as nibbles to pack_nibbles")
    if integers.numel() and not -8 <= int(integers.min()) <= int(integers.max()) <= 7:
        raise ValueError(f"weights from {int(integers.min())} to {int(integers.max())}: 4 bits hold -8 to 7")
    return _pack(integers, scales, 4)


def pack_nibbles(nibbles: Tensor, scales: Tensor) -> PackedWeight:
    """Pack uint8 `[..., N, K / 2]`: each byte holds two neighbours along K, the first in its low half, each as weight + 8."""
    if nibbles.dtype != torch.uint8:
        raise ValueError(f"nibbles in {nibbles.dtype}: two weights a byte come as uint8")
    return _pack(torch.stack((nibbles & 15, nibbles >> 4), dim=-1).flatten(-2).to(torch.int8) - 8, scales, 4)


def unpack(weight: PackedWeight) -> tuple[Tensor, Tensor]:
    """The int8 values `[..., N, K]` and the scales `[..., N, G]` that were packed."""
    *experts, rows, columns = weight.shape
    panels, blocks = -(-rows // PANEL), -(-columns // BLOCK)
    if weight.bits == 4:
        both = weight.data.view(-1, panels, blocks, BLOCK // QUAD // 2, 1, PANEL, QUAD)
        quads = (torch.cat((both & 15, both >> 4), dim=-3).to(torch.int8) - 8).flatten(3, 4)
    else:
        quads = weight.data.view(torch.int8).view(-1, panels, blocks, BLOCK // QUAD, PANEL, QUAD)
    integers = quads.permute(0, 1, 4, 2, 3, 5).reshape(*experts, panels * PANEL, blocks * BLOCK)[..., :rows, :columns]
    scales = weight.scales.view(-1, panels, columns // weight.group, PANEL).transpose(2, 3)
    return integers.contiguous(), scales.reshape(*experts, panels * PANEL, -1)[..., :rows, :].contiguous()


def dequantize(weight: PackedWeight) -> Tensor:
    """The weights in fp32, `[..., N, K]`."""
    return reference_dequantize(*unpack(weight))


def _pack(integers: Tensor, scales: Tensor, bits: int) -> PackedWeight:
    shape = tuple(integers.shape)
    group = _check(shape, scales)
    *experts, rows, columns = shape
    pad_rows, pad_columns = -rows % PANEL, -columns % BLOCK
    padded = F.pad(integers, (0, pad_columns, 0, pad_rows))
    panels, blocks = padded.shape[-2] // PANEL, padded.shape[-1] // BLOCK
    quads = padded.view(prod(experts), panels, PANEL, blocks, BLOCK // QUAD, QUAD).permute(0, 1, 3, 4, 2, 5)
    if bits == 4:
        pairs = (quads + 8).to(torch.uint8).unflatten(3, (-1, 2))
        data = pairs[:, :, :, :, 0] | pairs[:, :, :, :, 1] << 4
    else:
        data = quads.contiguous().view(torch.uint8)
    by_panel = F.pad(scales, (0, 0, 0, pad_rows)).view(prod(experts), panels, PANEL, columns // group).transpose(2, 3)
    return PackedWeight(data=data.flatten().contiguous(), scales=by_panel.flatten().contiguous(), bits=bits, group=group, shape=shape)


def _check(shape: tuple[int, ...], scales: Tensor) -> int:
    """Weights that share a scale; `ValueError` if the shapes do not fit."""
    if len(shape) not in (2, 3) or not all(shape):
        raise ValueError(f"weights of shape {list(shape)}: packed weights are [rows, columns] or [experts, rows, columns], none of them 0")
    if scales.dtype not in SCALE_DTYPES:
        raise ValueError(f"scales in {scales.dtype}: they may be float32, bfloat16 or float16")
    if scales.dim() != len(shape) or tuple(scales.shape[:-1]) != shape[:-1] or not scales.shape[-1]:
        raise ValueError(f"scales of shape {list(scales.shape)} beside weights of {list(shape)}: they take the same rows, then groups")
    columns, groups = shape[-1], scales.shape[-1]
    if columns % groups:
        raise ValueError(f"{groups} scales a row of {columns} weights: they must divide it")
    if groups > 1 and columns // groups % BLOCK:
        raise ValueError(f"a scale for every {columns // groups} weights: groups are a multiple of {BLOCK}, or the whole row")
    return columns // groups
