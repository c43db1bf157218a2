"""Products with stored weights, fp32 activations in and out: natively where the library is there, else by widening the weights in torch.

`linear` takes weights in fp32 or bf16, `linear_packed` integers that `pack_int8`, `pack_int4` or `pack_nibbles` put in the kernels' order.
Both take experts too: rows sorted by expert, and where each expert's begin. `reference_linear` says what all of them compute.
"""

from torch import Tensor

from puna.kernels import native
from puna.kernels.linear.packed import PackedWeight, dequantize, pack_int4, pack_int8, pack_nibbles, unpack
from puna.kernels.linear.reference import reference_dequantize, reference_linear, reference_rounded

__all__ = [
    "PackedWeight",
    "dequantize",
    "linear",
    "linear_packed",
    "pack_int4",
    "pack_int8",
    "pack_nibbles",
    "reference_dequantize",
    "reference_linear",
    "reference_rounded",
    "unpack",
]


def linear(x_TK: Tensor, w: Tensor, offsets: Tensor | None = None) -> Tensor:
    """`x @ w.T` for w `[N, K]`, or `[E, N, K]` and the experts' offsets. Inference only where the library is there (it says so)."""
    return native.linear(x_TK, w, offsets) if native.available() else reference_linear(x_TK, w, offsets)


def linear_packed(x_TK: Tensor, weight: PackedWeight, offsets: Tensor | None = None, *, exact: bool = False) -> Tensor:
    """The same for packed weights. Without the library they are unpacked at each call: correct, and slow."""
    if native.available():
        return native.linear_packed(x_TK, weight, offsets, exact=exact)
    return reference_linear(x_TK if exact else reference_rounded(x_TK), dequantize(weight), offsets)
