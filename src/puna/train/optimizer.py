"""Muon for matrices, AdamW for the rest.

Muon [paper: Jordan et al. 2024] replaces a matrix's momentum by its nearest orthogonal matrix, found by five Newton-Schulz steps.
Each update is scaled to the RMS that AdamW's updates have, so both share one learning rate [paper: Moonlight, arXiv:2502.16982].
Embeddings, head, router, norms, biases and vision's patch and position tables take AdamW.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from puna.kernels.precision import fast_dtype

# Coefficients of the quintic iteration [paper: Jordan et al. 2024]: fast inflation of small singular values, not exact convergence.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5
_RMS = 0.2  # typical RMS of an AdamW update [paper: Moonlight]
_ROUTER_LR = 0.25  # [ours] routers that learn as fast as the rest collapse on a few experts in the first hundred steps
_ADAMW_PARTS = ("embed", "head", "router", "norm")


OptimizerName = Literal["muon", "adamw"]


def orthogonalize(update: Tensor) -> Tensor:
    """The (approximate) nearest semi-orthogonal matrix of the last two axes; leading axes are a batch (experts).

    Inside in the machine's fast precision: bf16 is enough.
    """
    x = update.to(fast_dtype(update.device.type))
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    shape = x.shape
    x = x.reshape(-1, *shape[-2:])
    for _ in range(_STEPS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    x = x.view(shape)
    return (x.mT if tall else x).to(update.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised; decoupled weight decay. Parameters are matrices or stacks of matrices `[..., rows, columns]`."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for parameters in alike.values():
                self._step_alike(parameters, group)

    def _step_alike(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """Parameters of one shape. Single matrices are orthogonalised side by side: small products alone waste the machine."""
        nesterovs = []
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
            nesterovs.append(parameter.grad.lerp(momentum, group["momentum"]))
        joined = len(parameters) > 1 and parameters[0].ndim == 2
        updates = orthogonalize(torch.stack(nesterovs)).unbind() if joined else [orthogonalize(each) for each in nesterovs]
        scale = _RMS * max(parameters[0].shape[-2:]) ** 0.5
        for parameter, update in zip(parameters, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"] * scale)


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon takes this parameter."""
    return parameter.ndim >= 2 and not any(part in name for part in _ADAMW_PARTS)


def build_optimizers(model: nn.Module, lr: float, weight_decay: float, name: OptimizerName = "muon") -> list[torch.optim.Optimizer]:
    """Muon for the matrices and AdamW for the rest, or AdamW for all; a schedule scales each group's `peak_lr`. Only matrices decay."""
    parts: dict[str, list[nn.Parameter]] = {"matrices": [], "routers": [], "others": []}
    for path, parameter in model.named_parameters():
        parts["matrices" if is_matrix(path, parameter) else "routers" if "router" in path else "others"].append(parameter)
    groups = [{"params": parts["others"], "peak_lr": lr}]
    if parts["routers"]:
        groups.append({"params": parts["routers"], "peak_lr": lr * _ROUTER_LR})
    if name == "adamw":
        groups.append({"params": parts["matrices"], "peak_lr": lr, "weight_decay": weight_decay})
    adamw = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0, fused=True)
    if name == "adamw":
        return [adamw]
    muon = Muon(parts["matrices"], lr=lr, weight_decay=weight_decay)
    for group in muon.param_groups:
        group["peak_lr"] = lr
    return [muon, adamw]


def step_at(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """One step of each at `rate` times its peak learning rates; gradients are dropped."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
