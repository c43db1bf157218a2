"""A training run's state on disk: safetensors for every tensor, JSON for the counters, replaced as a whole or not at all.

What it holds is all that a run depends on: rows are a pure function of the cursor, so no generator has state.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from puna.model import Model
from puna.train.balance import routers


class StateError(ValueError):
    """A checkpoint that does not fit the run. The message says what differs."""


@dataclass(slots=True)
class Position:
    """Where a run stands: optimiser steps done, the next row, seconds spent so far."""

    step: int = 0
    cursor: int = 0
    seconds: float = 0.0


def save_state(directory: Path, model: Model, optimizers: list[torch.optim.Optimizer], position: Position, run: dict[str, object]) -> None:
    """Write beside the old state, then swap: a kill at any moment leaves one whole state."""
    fresh = directory.with_name(directory.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(_tensors(model, optimizers), fresh / "state.safetensors")
    (fresh / "state.json").write_text(json.dumps({"position": asdict(position), "run": run}, indent=1))
    old = directory.with_name(directory.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        os.replace(directory, old)
    os.replace(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)


def load_state(directory: Path, model: Model, optimizers: list[torch.optim.Optimizer], run: dict[str, object]) -> Position:
    """Restore in place. A state of another run (other shape, seed or batch size) is refused."""
    if not directory.exists() and directory.with_name(directory.name + ".old").exists():
        directory = directory.with_name(directory.name + ".old")  # killed between the two renames
    saved = json.loads((directory / "state.json").read_text())
    differing = [key for key in run if saved["run"].get(key) != run[key]]
    if differing:
        key = differing[0]
        theirs, ours = saved["run"].get(key), run[key]
        raise StateError(f"{directory} was written with {key}={theirs!r}, this run has {ours!r}; use another --out or the same settings")
    for optimizer in optimizers:  # give every parameter its state tensors, then overwrite them
        _create_state(optimizer)
    tensors = load_file(directory / "state.safetensors")
    with torch.no_grad():
        for name, tensor in _tensors(model, optimizers).items():
            tensor.copy_(tensors[name])
    return Position(**saved["position"])


def _create_state(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if optimizer.state[parameter]:
                continue
            if isinstance(optimizer, torch.optim.AdamW):
                optimizer.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            else:
                optimizer.state[parameter] = {"momentum": torch.zeros_like(parameter)}


def _tensors(model: Model, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every tensor of the run by name: weights, biases of the routers, optimiser state."""
    named = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    named |= {f"balance.{i}": router.balance_bias for i, router in enumerate(routers(model))}
    for optimizer in optimizers:
        for name, parameter in model.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                named[f"optimizer.{name}.{key}"] = value
    return named
