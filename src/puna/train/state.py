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
    fresh, old = (directory.with_name(directory.name + suffix) for suffix in (".new", ".old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(_tensors(model, optimizers), fresh / "state.safetensors")
    (fresh / "state.json").write_text(json.dumps({"position": asdict(position), "run": run}, indent=1))
    if directory.exists():  # otherwise an earlier kill left the old state as the only whole one: it stays until the new one is in place
        shutil.rmtree(old, ignore_errors=True)
        os.replace(directory, old)
    os.replace(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)


def load_state(directory: Path, model: Model, optimizers: list[torch.optim.Optimizer], run: dict[str, object]) -> Position:
    """Restore in place. A state of another run (other shape, seed or batch size) is refused and changes nothing."""
    if not directory.exists() and directory.with_name(directory.name + ".old").exists():
        directory = directory.with_name(directory.name + ".old")  # killed between the two renames
    saved = json.loads((directory / "state.json").read_text())
    differing = [key for key in run if saved["run"].get(key) != run[key]]
    if differing:
        key = differing[0]
        found = saved["run"].get(key)
        raise StateError(f"{directory} was written with {key}={found!r}, this run has {run[key]!r}; use another --out or the same settings")
    tensors = load_file(directory / "state.safetensors")
    _check_model(directory, tensors, _tensors(model, []))
    for optimizer in optimizers:  # give the parameters their state tensors, then overwrite them
        _create_state(model, optimizer, tensors)
    with torch.no_grad():
        for name, tensor in _tensors(model, optimizers).items():
            tensor.copy_(tensors[name])
    return Position(**saved["position"])


def _check_model(directory: Path, saved: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse weights that are missing, left over or of another shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in saved.items() if not name.startswith("optimizer.")}
    for name in sorted(shapes.keys() | expected.keys(), reverse=True):  # weights before the biases that belong to them
        wanted = tuple(expected[name].shape) if name in expected else "no such tensor"
        found = shapes.get(name, "no such tensor")
        if found != wanted:
            raise StateError(f"{directory} holds {name} as {found}, this run's model has {wanted}; use another --out or the same model")


def _create_state(model: Model, optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """Empty state for the parameters that have some on disk: those that a gradient has reached."""
    mine = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    stateful = {name.rpartition(".")[0] for name in saved if name.startswith("optimizer.")}
    for name, parameter in model.named_parameters():
        if parameter not in mine or f"optimizer.{name}" not in stateful:
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
