"""Attention over a packed stream. A chunked (local) layer and a full (global) one differ only in their segments.

`segments(...)` cuts each sequence at its chunk edges; `packed_attention` is causal attention inside each segment, forward and backward,
without a pad token in sight of its caller; `cached_attention` is its form with keys that were computed before, `batched_attention` that
of several sequences with few new tokens; both have an invariant twin. `reference_attention` says the same with one dense mask.
"""

from puna.kernels.attention.batched import batched_attention
from puna.kernels.attention.cached import cached_attention
from puna.kernels.attention.invariant import invariant_attention, invariant_batched_attention, verify_attention
from puna.kernels.attention.packed import Segments, segments
from puna.kernels.attention.reference import reference_attention
from puna.kernels.attention.select import Plan, packed_attention, plan_packing
from puna.kernels.attention.tiles import tile_attention

__all__ = [
    "Plan",
    "Segments",
    "batched_attention",
    "cached_attention",
    "invariant_attention",
    "invariant_batched_attention",
    "packed_attention",
    "plan_packing",
    "reference_attention",
    "segments",
    "tile_attention",
    "verify_attention",
]
