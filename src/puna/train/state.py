"""A training run's state on disk: safetensors for every tensor, JSON for the counters, replaced as a whole or not at all.

What it holds is all that a run depends on: rows are a pure function of the cursor, so no generator has state.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from puna.model import Model
from puna.train.balance import routers
from puna.train.guard import History


class StateError(ValueError):
    """A checkpoint that does not fit the run. The message says what differs."""


class SaveError(RuntimeError):
    """A checkpoint that could not be written. The one before it is whole."""


@dataclass(slots=True)
class Position:
    """Where a run stands: steps done, the next row, seconds of the training clock; steps and seconds within the stage; and the guard's
    memory, since what it decides depends on it.
    """

    step: int = 0
    cursor: int = 0
    seconds: float = 0.0
    stage: int = 0
    stage_step: int = 0
    stage_seconds: float = 0.0
    history: History = field(default_factory=History)


class Trained(Protocol):
    """A model and what its training has gathered."""

    @property
    def model(self) -> Model: ...
    @property
    def optimizers(self) -> list[torch.optim.Optimizer]: ...


def save_state(
    directory: Path, trained: Mapping[str, Trained], position: Position, run: dict[str, object], settings: dict[str, object] | None = None
) -> None:
    """Write beside the old state, then swap: a kill at any moment, or a full disk, leaves one whole state.

    `run` is what a continuation must agree with, `settings` what it may change (see `changed_settings`).
    """
    fresh, old = (directory.with_name(directory.name + suffix) for suffix in (".new", ".old"))
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        save_file(_all_tensors(trained), fresh / "state.safetensors")
        facts = {"position": asdict(position), "run": run, "settings": settings or {}}
        (fresh / "state.json").write_text(json.dumps(facts, indent=1))
    except (OSError, SafetensorError) as error:
        shutil.rmtree(fresh, ignore_errors=True)  # on a full disk its part is needed
        raise SaveError(f"{fresh} cannot be written after step {position.step}: {error}") from error
    if directory.exists():  # otherwise an earlier kill left the old state as the only whole one: it stays until the new one is in place
        shutil.rmtree(old, ignore_errors=True)
        os.replace(directory, old)
    os.replace(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)


def has_state(directory: Path) -> bool:
    """Whether a run has left a state there."""
    return directory.exists() or directory.with_name(directory.name + ".old").exists()


def _whole(directory: Path) -> Path:
    """The state's directory, or the old one beside it where a kill came between the two renames."""
    old = directory.with_name(directory.name + ".old")
    return old if not directory.exists() and old.exists() else directory


def saved_settings(directory: Path) -> dict[str, object]:
    """The settings of the run that wrote the state."""
    return json.loads((_whole(directory) / "state.json").read_text()).get("settings", {})


def changed_settings(directory: Path, settings: Mapping[str, object]) -> list[str]:
    """What this run sets otherwise than the run that wrote the state, as "name: then -> now"."""
    saved = saved_settings(directory)
    names = sorted(saved.keys() | settings.keys())
    return [f"{name}: {saved.get(name)!r} -> {settings.get(name)!r}" for name in names if saved.get(name) != settings.get(name)]


def load_state(directory: Path, trained: Mapping[str, Trained], run: dict[str, object]) -> Position:
    """Restore in place. A state of another run (other shape, seed or batch size) is refused and changes nothing."""
    directory = _whole(directory)
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
    return Position(**saved["position"] | {"history": History.from_json(saved["position"]["history"])})


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
