"""Layers whose weights stay packed integers, for inference on a CPU: the same contracts as `nn.Linear` and `Experts`, no parameters.

A checkpoint of integers becomes these where the native kernels are there (`puna.checkpoint.load_model(..., packed=True)`): weights take the
memory that they take in the file, and products read them as they are. Here activations are not rounded: this is the reference of
`puna.engine.native_step`, which rounds them to 8 bits unless it is asked not to.

Letters: T tokens, D model width, F expert width, E experts, N outputs, K inputs.
"""

import torch
from torch import Tensor, nn

from puna.kernels.linear import PackedWeight, linear_packed


class PackedLinear(nn.Module):
    """`x @ w.T` for a packed `[N, K]`, without bias."""

    def __init__(self, packed: PackedWeight) -> None:
        super().__init__()
        self.packed = packed

    def forward(self, x: Tensor) -> Tensor:
        y = linear_packed(x.float().reshape(-1, x.shape[-1]), self.packed, exact=True)
        return y.view(*x.shape[:-1], y.shape[-1]).to(x.dtype)


class PackedExperts(nn.Module):
    """Gate and up `[E, F, D]`, down `[E, D, F]`, output-major."""

    def __init__(self, gate: PackedWeight, up: PackedWeight, down: PackedWeight) -> None:
        super().__init__()
        self.gate, self.up, self.down = gate, up, down

    def forward(self, scaled_TD: Tensor, expert_ids_T: Tensor) -> Tensor:
        order_T = torch.argsort(expert_ids_T, stable=True)
        counts_E = torch.bincount(expert_ids_T, minlength=self.gate.shape[0])
        offsets = torch.cat((counts_E.new_zeros(1), counts_E.cumsum(0)))
        x_TD = scaled_TD.float()[order_T]
        gate_TF, up_TF = (linear_packed(x_TD, weight, offsets, exact=True) for weight in (self.gate, self.up))
        y_TD = linear_packed(torch.nn.functional.silu(gate_TF) * up_TF, self.down, offsets, exact=True)
        return torch.empty_like(y_TD).index_copy(0, order_T, y_TD).to(scaled_TD.dtype)


def packed_names(model: nn.Module) -> frozenset[str]:
    """The names that the parameters of packed layers would have."""
    names: set[str] = set()
    for name, module in model.named_modules():
        if isinstance(module, PackedLinear):
            names.add(f"{name}.weight")
        elif isinstance(module, PackedExperts):
            names |= {f"{name}.w_gate_up", f"{name}.w_down"}
    return frozenset(names)


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all weights as they lie in memory."""
    total = sum(parameter.nbytes for parameter in model.parameters())
    for module in model.modules():
        if isinstance(module, PackedLinear):
            total += module.packed.num_bytes
        elif isinstance(module, PackedExperts):
            total += module.gate.num_bytes + module.up.num_bytes + module.down.num_bytes
    return total
