"""Weights as small integers: the arithmetic and its specification, in fp32. Knows nothing of names, files or models.

A matrix is cut into groups along its contracted side, and each group has one scale: w = q * scale, with q a whole number, rounded to
bf16. The scale is itself a bf16 number, and integers up to 8 bits are exact in bf16, so every program that undoes them, in bf16 or in
fp32, gets the same weights; kernels that multiply the integers themselves leave out the rounding. There is no zero point: q runs from
-127 to 127 (8 bits) or -8 to 7 (4 bits, where one integer more is worth having). [ours]

In 4 bits the scale is searched for: a group's largest weight may be cut, if that serves the others better.

`INT8` is what ships: one scale a row. It moves the first scout-nano's bits per byte by at most 0.0005 in any of 12 languages, and no answer
of 400 in naming; groups of 64 do no better (0.0006) and cost 2 % more bytes. (`puna convert NANO DIR --storage int8`, then
`python -m puna.evals.nano --model DIR --task bits-per-byte --task naming --scale 0.5`, and the same of NANO in bf16.)

Letters: O outputs (rows), I inputs (the contracted side), G groups of a row, U weights of a group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from puna.checkpoint.errors import CheckpointError

BITS = (4, 8)
_WORD = 32
# Scales that are tried, as shares of (largest magnitude / largest integer). 1 and 7/8 must be there: see `quantize`.
_SHARES = {8: (1.0,), 4: (1.0, 0.95, 0.9, 0.875, 0.85, 0.8, 0.75, 0.7)}
# Rows are independent, so large matrices go through in blocks of about this many weights, which a processor's cache holds: twice as fast as
# blocks of 16 M, and Scout's head at once would take 16 GB.
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Scheme:
    """How weights become integers: `bits` each, and a scale for every `group` weights along a row, or one for the row (None)."""

    bits: int
    group: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise CheckpointError(f"weights in {self.bits} bits: only {' and '.join(map(str, BITS))} are known")
        if self.group is not None and self.group < 1:
            raise CheckpointError(f"a group of {self.group} weights: it must be at least 1, or none for one scale a row")

    def __str__(self) -> str:
        return f"int{self.bits}, one scale {'a row' if self.group is None else f'for {self.group} weights'}"

    @property
    def largest(self) -> int:
        return (1 << (self.bits - 1)) - 1

    @property
    def smallest(self) -> int:
        return -self.largest - (self.bits == 4)

    def num_groups(self, columns: int) -> int:
        """Groups in a row of this many weights; they must fill it."""
        group = self.group or columns
        if columns % group:
            divide = ", ".join(str(size) for size in (128, 64, 32, 16, 8) if columns % size == 0 and size < group)
            raise CheckpointError(
                f"rows of {columns} weights cannot be cut into groups of {group}, and the format knows no shorter last group: use "
                f"{f'a group that divides them ({divide})' if divide else 'a smaller group'}, or one scale a row"
            )
        return columns // group


INT8 = Scheme(8)


class Quantized(NamedTuple):
    """`values` int8 [O, I] and `scales` [O, G]."""

    values: Tensor
    scales: Tensor


def quantize(weight_OI: Tensor, scheme: Scheme) -> Quantized:
    """The integers and bf16 scales nearest to a matrix of floats: of the scales tried for a group, the one that leaves least squared error.

    Tried are shares of the group's largest magnitude over the largest integer, each rounded to the bf16 number below and above; but an
    integer of largest magnitude must occur. That rule, and the shares 1 and 7/8 (a group that reaches 7 and one that reaches -8), make
    `quantize` exact on what came out of `dequantize`: the scale it came from is then always one of those tried, and leaves no error.
    """
    blocks = [_quantize_rows(rows_OI, scheme) for (rows_OI,) in _blocks(weight_OI)]
    return Quantized(torch.cat([block.values for block in blocks]), torch.cat([block.scales for block in blocks]))


def dequantize(quantized: Quantized) -> Tensor:
    """The weights bf16 [O, I] that the integers stand for."""
    num_groups = quantized.scales.shape[1]
    parts = _blocks(quantized.values, quantized.scales)
    return torch.cat([_products(values_OI.unflatten(1, (num_groups, -1)), scales_OG).flatten(1) for values_OI, scales_OG in parts])


def relative_error(weight_OI: Tensor, quantized: Quantized) -> float:
    """|w - w'| / |w| over the whole matrix (0 for a matrix of zeros), in fp32, summed in fp64."""
    squares = error = 0.0
    for rows_OI, values_OI, scales_OG in _blocks(weight_OI, quantized.values, quantized.scales):
        squares += float(rows_OI.float().square().sum(dtype=torch.float64))
        difference_OI = dequantize(Quantized(values_OI, scales_OG)).float() - rows_OI.float()
        error += float(difference_OI.square().sum(dtype=torch.float64))
    return (error / squares) ** 0.5 if squares else 0.0


def pack(values_OI: Tensor, bits: int) -> Tensor:
    """Integers int8 [O, I] in words int32 [O, ceil(I * bits / 32)]: each raised by 2^(bits-1), the first in the lowest bits."""
    return torch.cat([_pack_rows(rows_OI, bits) for (rows_OI,) in _blocks(values_OI)])


def unpack(packed: Tensor, bits: int, columns: int) -> Tensor:
    """The integers int8 [O, columns] out of `pack`'s words."""
    return torch.cat([_unpack_rows(rows, bits, columns) for (rows,) in _blocks(packed)])


def _blocks(*matrices: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Matrices of as many rows, cut into the same blocks of rows; the first one's width decides."""
    rows = max(1, _BLOCK // matrices[0].shape[1])
    return zip(*(matrix.split(rows) for matrix in matrices), strict=True)


def _quantize_rows(weight_OI: Tensor, scheme: Scheme) -> Quantized:
    rows, columns = weight_OI.shape
    groups_OGU = weight_OI.float().reshape(rows, scheme.num_groups(columns), -1)
    if not bool(groups_OGU.isfinite().all()):
        raise CheckpointError("it holds a NaN or an infinity, which integers cannot")
    widest_OG = groups_OGU.abs().amax(dim=-1)
    best = None
    for share in _SHARES[scheme.bits]:
        below_OG = torch.where(widest_OG > 0, _bf16_below(widest_OG * (share / scheme.largest)), 1.0)
        for scales_OG in (below_OG, _next(below_OG)):
            found = _rounded(groups_OGU, scales_OG, scheme)
            best = found if best is None else _better(best, found, scheme.largest)
    assert best is not None
    return Quantized(best.values_OGU.flatten(1), best.scales_OG)


def _pack_rows(values_OI: Tensor, bits: int) -> Tensor:
    rows, columns = values_OI.shape
    per_word = _WORD // bits
    words = -(-columns // per_word)
    raised = torch.zeros(rows, words * per_word, dtype=torch.int64)
    raised[:, :columns] = values_OI.long() + (1 << (bits - 1))
    shifts = torch.arange(per_word) * bits
    return (raised.view(rows, words, per_word) << shifts).sum(dim=-1).to(torch.int32)  # the top bit becomes the sign: two's complement


def _unpack_rows(packed: Tensor, bits: int, columns: int) -> Tensor:
    shifts = torch.arange(_WORD // bits, dtype=torch.int32) * bits
    raised = (packed[..., None] >> shifts) & ((1 << bits) - 1)
    return (raised.flatten(1)[:, :columns] - (1 << (bits - 1))).to(torch.int8)


def _products(values_OGU: Tensor, scales_OG: Tensor) -> Tensor:
    return (values_OGU.float() * scales_OG.float()[..., None]).bfloat16()


class _Candidate(NamedTuple):
    values_OGU: Tensor
    scales_OG: Tensor
    error_OG: Tensor


def _rounded(groups_OGU: Tensor, scales_OG: Tensor, scheme: Scheme) -> _Candidate:
    values_OGU = (groups_OGU / scales_OG.float()[..., None]).round_().clamp_(scheme.smallest, scheme.largest).to(torch.int8)
    error_OG = _products(values_OGU, scales_OG).float().sub_(groups_OGU).square_().sum(dim=-1)
    return _Candidate(values_OGU, scales_OG, error_OG)


def _better(best: _Candidate, found: _Candidate, largest: int) -> _Candidate:
    """Group by group the one with less error, if its integers reach as far as they can."""
    takes_OG = (found.values_OGU.abs().amax(dim=-1) >= largest) & (found.error_OG < best.error_OG)
    values_OGU = torch.where(takes_OG[..., None], found.values_OGU, best.values_OGU)
    return _Candidate(values_OGU, *(torch.where(takes_OG, new, old) for new, old in zip(found[1:], best[1:], strict=True)))


def _bf16_below(positive: Tensor) -> Tensor:
    """fp32 cut to bf16, which keeps the upper half of its bits; never below the smallest normal number."""
    return (positive.view(torch.int32) & -65536).view(torch.float32).bfloat16().clamp_min(torch.finfo(torch.bfloat16).tiny)


def _next(positive: Tensor) -> Tensor:
    """The next larger bf16 number: their bits count upwards."""
    return (positive.view(torch.int16) + 1).view(torch.bfloat16)
