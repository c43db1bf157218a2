"""A run's state on disk: whole or not at all, and only for the run that wrote it."""

import json
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from puna.config import ModelConfig
from puna.model import Batch, Model
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model
from puna.train import state as state_module
from puna.train.balance import routers
from puna.train.optimizer import build_optimizers
from puna.train.state import Position, SaveError, StateError, changed_settings, load_state, save_state

RUN: dict[str, object] = {"model": "tiny", "seed": 0}


class Setup(NamedTuple):
    model: Model
    optimizers: list[torch.optim.Optimizer]

    def step(self, seed: int = 0) -> None:
        """One step on text alone: vision gets no gradient."""
        ids = torch.randint(256, (40,), generator=torch.Generator().manual_seed(seed))
        self.model.logits(self.model(Batch.from_streams([Stream(ids.numpy())]))).square().mean().backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        for i, router in enumerate(routers(self.model)):
            router.balance_bias += 0.1 * (i + 1)

    def weights(self) -> list[Tensor]:
        return [p.detach().clone() for p in self.model.parameters()] + [router.balance_bias.clone() for router in routers(self.model)]


def setup(config: ModelConfig | None = None, seed: int = 0) -> Setup:
    model = tiny_model(config or tiny_config(), seed=seed)
    return Setup(model, build_optimizers(model, 1e-2, 0.1))


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_what_is_loaded_goes_on_bit_for_bit_as_what_was_saved(tmp_path: Path, steps: int) -> None:
    saved, loaded = setup(), setup(seed=1)
    for seed in range(steps):
        saved.step(seed)
    position = Position(steps, 17, 2.5)
    save_state(tmp_path / "state", {"tiny": saved}, position, RUN)
    assert load_state(tmp_path / "state", {"tiny": loaded}, RUN) == position
    assert same(saved.weights(), loaded.weights())
    for seed in range(10, 13):
        saved.step(seed)
        loaded.step(seed)
    assert same(saved.weights(), loaded.weights())


def test_parameters_that_no_gradient_has_reached_have_no_state_to_restore(tmp_path: Path) -> None:
    """A run that has met no picture yet: its vision tower has no momentum, on disk or off."""
    saved, loaded = setup(), setup(seed=1)
    saved.step()
    save_state(tmp_path / "state", {"tiny": saved}, Position(), RUN)
    load_state(tmp_path / "state", {"tiny": loaded}, RUN)
    for one, other in zip(saved.optimizers, loaded.optimizers, strict=True):
        assert [len(s) for s in one.state_dict()["state"].values()] == [len(s) for s in other.state_dict()["state"].values()]
    projector = loaded.model.projector.weight
    assert not any(projector in optimizer.state for optimizer in loaded.optimizers)


@pytest.mark.parametrize("changes", [{"model": "other"}, {"seed": 1}, {"tokens_per_batch": 5}])
def test_the_state_of_another_run_is_refused_by_name(tmp_path: Path, changes: dict[str, object]) -> None:
    save_state(tmp_path / "state", {"tiny": setup()}, Position(), RUN)
    fresh = setup(seed=1)
    before = fresh.weights()
    with pytest.raises(StateError, match=next(iter(changes))):
        load_state(tmp_path / "state", {"tiny": fresh}, RUN | changes)
    assert same(before, fresh.weights())


@pytest.mark.parametrize(
    "changes",
    [
        dict(num_layers=4, moe_layers=(1, 3), nope_layers=(3,)),
        dict(num_layers=12, moe_layers=(1, 3, 5, 7), nope_layers=(3, 7)),
        dict(num_experts=8),
        dict(expert_width=40),
        dict(vision=None),
        dict(moe_layers=()),
    ],
)
def test_a_state_of_another_shape_is_refused_and_changes_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    saved = setup()
    saved.step()
    save_state(tmp_path / "state", {"tiny": saved}, Position(), RUN)
    other = setup(tiny_config(**changes), seed=1)
    before = other.weights()
    with pytest.raises(StateError, match="text.layers|vision|projector"):
        load_state(tmp_path / "state", {"tiny": other}, RUN)
    assert same(before, other.weights())
    assert issubclass(StateError, ValueError)


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int | None], None]]:
    """`kill(n)`: the n-th change to the disk from now on does not happen, nor anything after it. `kill(None)`: no more killing."""
    left: list[int | None] = [None]

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if left[0] is not None:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
            return change(*args, **kwargs)

        return call

    monkeypatch.setattr(state_module, "save_file", counted(state_module.save_file))
    monkeypatch.setattr(state_module.os, "replace", counted(state_module.os.replace))
    monkeypatch.setattr(state_module.shutil, "rmtree", counted(shutil.rmtree))
    monkeypatch.setattr(Path, "write_text", counted(Path.write_text))
    yield lambda count: left.__setitem__(0, count)
    left[0] = None


def test_a_kill_at_any_moment_leaves_one_whole_state(tmp_path: Path, kill: Callable[[int | None], None]) -> None:
    """Also a second kill, while the run that resumed from what the first one left is saving."""
    run = setup(tiny_config(vision=None, num_layers=1, moe_layers=(), nope_layers=()))
    kills = 0
    for first in range(8):
        for second in range(8):
            directory = tmp_path / f"{first}-{second}" / "state"
            whole = save_marked(directory, run, 1)
            for step, moment in ((2, first), (3, second)):
                kill(moment)
                try:
                    save_marked(directory, run, step)
                except Killed:
                    kills += 1
                kill(None)
                found = load_state(directory, {"tiny": run}, RUN).step
                assert found in (whole, step), f"killed at {first}, then at {second}"
                assert (run.model.text.norm.weight == found).all()
                whole = found
    assert kills > 60


def save_marked(directory: Path, run: Setup, step: int) -> int:
    """Save a state in which one weight says which step it is of."""
    run.model.text.norm.weight.data.fill_(step)
    save_state(directory, {"tiny": run}, Position(step=step), RUN)
    return step


def test_nothing_is_left_beside_a_whole_state(tmp_path: Path) -> None:
    run = setup()
    for step in range(3):
        save_state(tmp_path / "state", {"tiny": run}, Position(step=step), RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["state.json", "state.safetensors"]
    assert json.loads((tmp_path / "state" / "state.json").read_text())["position"]["step"] == 2


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 4 kB: the system's own error comes in the middle of a write."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_fails_midway_leaves_the_old_state_whole(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run = setup(tiny_config(vision=None))
    save_marked(tmp_path / "state", run, 1)
    request.getfixturevalue("small_files")
    with pytest.raises(SaveError, match="state.new cannot be written after step 2: .*File too large"):
        save_marked(tmp_path / "state", run, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert load_state(tmp_path / "state", {"tiny": run}, RUN).step == 1
    assert (run.model.text.norm.weight == 1).all()


def test_settings_that_differ_are_named_and_refuse_nothing(tmp_path: Path) -> None:
    run = setup()
    save_state(tmp_path / "state", {"tiny": run}, Position(), RUN, {"lr": 0.1, "fuse": True})
    assert changed_settings(tmp_path / "state", {"lr": 0.1, "fuse": True}) == []
    assert changed_settings(tmp_path / "state", {"lr": 0.2, "clip": 1.0}) == ["clip: None -> 1.0", "fuse: True -> None", "lr: 0.1 -> 0.2"]
