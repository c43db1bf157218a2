"""A training run's state on disk: safetensors for every tensor, JSON for the counters, replaced as a whole or not at all.

What it holds is all that a run depends on: rows are a pure function of the cursor, so no generator has state.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

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


class Trained(Protocol):
    """A model and what its training has gathered."""

    @property
    def model(self) -> Model: ...
    @property
    def optimizers(self) -> list[torch.optim.Optimizer]: ...


def save_state(directory: Path, trained: Mapping[str, Trained], position: Position, run: dict[str, object]) -> None:
    """Write beside the old state, then swap: a kill at any moment leaves one whole state."""
    fresh, old = (directory.with_name(directory.name + suffix) for suffix in (".new", ".old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file(_all_tensors(trained), fresh / "state.safetensors")
    (fresh / "state.json").write_text(json.dumps({"position": asdict(position), "run": run}, indent=1))
    if directory.exists():  # otherwise an earlier kill left the old state as the only whole one: it stays until the new one is in place
        shutil.rmtree(old, ignore_errors=True)
        os.replace(directory, old)
    os.replace(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)


def load_state(directory: Path, trained: Mapping[str, Trained], run: dict[str, object]) -> Position:
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
    _check_models(directory, tensors, {f"{name}/{key}": tensor for name, one in trained.items() for key, tensor in _weights(one).items()})
    for name, one in trained.items():
        _create_state(name, one, tensors)  # give the parameters their state tensors, then overwrite them
    with torch.no_grad():
        for name, tensor in _all_tensors(trained).items():
            tensor.copy_(tensors[name])
    return Position(**saved["position"])


def _check_models(directory: Path, saved: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse weights that are missing, left over or of another shape."""
    shapes = {name: tuple(tensor.shape) for name, tensor in saved.items() if "/optimizer." not in name}
    for name in sorted(shapes.keys() | expected.keys(), reverse=True):  # weights before the biases that belong to them
        wanted = tuple(expected[name].shape) if name in expected else "no such tensor"
        found = shapes.get(name, "no such tensor")
        if found != wanted:
            raise StateError(f"{directory} holds {name} as {found}, this run's model has {wanted}; use another --out or the same model")


def _create_state(name: str, one: Trained, saved: dict[str, Tensor]) -> None:
    """Empty state for the parameters that have some on disk: those that a gradient has reached."""
    stateful = {key.rpartition(".")[0] for key in saved if key.startswith(f"{name}/optimizer.")}
    for optimizer in one.optimizers:
        mine = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        for path, parameter in one.model.named_parameters():
            if parameter not in mine or f"{name}/optimizer.{path}" not in stateful:
                continue
            if isinstance(optimizer, torch.optim.AdamW):
                optimizer.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            else:
                optimizer.state[parameter] = {"momentum": torch.zeros_like(parameter)}


def _all_tensors(trained: Mapping[str, Trained]) -> dict[str, Tensor]:
    """Every tensor of the run by name: weights, biases of the routers, optimiser state."""
    return {f"{name}/{key}": tensor for name, one in trained.items() for key, tensor in (_weights(one) | _optimizer_state(one)).items()}


def _weights(one: Trained) -> dict[str, Tensor]:
    named = {f"model.{name}": parameter.detach() for name, parameter in one.model.named_parameters()}
    return named | {f"balance.{i}": router.balance_bias for i, router in enumerate(routers(one.model))}


def _optimizer_state(one: Trained) -> dict[str, Tensor]:
    return {
        f"optimizer.{name}.{key}": value
        for optimizer in one.optimizers
        for name, parameter in one.model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
