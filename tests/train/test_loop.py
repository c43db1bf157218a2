"""The loop: killed, stopped and resumed runs compute bit for bit what an undisturbed one does."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

import puna
from puna.checkpoint import save_model
from puna.model import Model
from puna.model.init import initialize
from puna.stream import Stream
from puna.testing.models import tiny_config
from puna.testing.training import Alphabets, tiny_run
from puna.train import Run, Stage, train
from puna.train import loop as loop_module
from puna.train import state as state_module
from puna.train.balance import routers
from puna.train.feed import batches_of
from puna.train.loop import TrainingError
from puna.train.packing import Row
from puna.train.state import StateError


def quiet() -> Console:
    return Console(file=io.StringIO())


def trained(run: Run, out: Path, resume: bool = False) -> Model:
    outcome = train(run, out, resume=resume, console=quiet())
    assert outcome.finished
    return outcome.model


def bits(model: Model) -> list[Tensor]:
    return [parameter.detach() for parameter in model.parameters()] + [router.balance_bias for router in routers(model)]


def same(one: Model, other: Model) -> bool:
    return all(torch.equal(a, b) for a, b in zip(bits(one), bits(other), strict=True))


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return trained(tiny_run(), tmp_path_factory.mktemp("run") / "out")


def test_a_run_is_a_function_of_its_settings(undisturbed: Model, tmp_path: Path) -> None:
    assert same(undisturbed, trained(tiny_run(), tmp_path / "again"))
    assert not same(undisturbed, trained(tiny_run(seed=1), tmp_path / "other"))
    assert not undisturbed.training


KILLED = """
import io, os, signal, sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from puna.testing.training import tiny_run
from puna.train import loop, train

save, step = loop.save_state, loop._Loop._step


def save_at_three(directory, learners, position, *facts):
    if position.step == 3:
        save(directory, learners, position, *facts)


def step_or_die(self, stage):
    if self.position.step == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    step(self, stage)


loop.save_state, loop._Loop._step = save_at_three, step_or_die
train(tiny_run(checkpoint_every_s=-1.0), Path(sys.argv[1]), console=Console(file=io.StringIO()))
"""


def test_a_killed_run_resumes_bit_for_bit(undisturbed: Model, tmp_path: Path) -> None:
    """Killed at step 6, for real, with its last checkpoint at step 3."""
    environment = {**os.environ, "PYTHONPATH": str(Path(puna.__file__).parents[1]), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    outcome = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == -signal.SIGKILL, outcome.stderr
    saved = json.loads((tmp_path / "state" / "state.json").read_text())
    assert saved["position"]["step"] == 3
    assert same(undisturbed, trained(tiny_run(), tmp_path, resume=True))


class Disturbed(Alphabets):
    """The same rows; but when row `at` is first asked for, something happens."""

    def __init__(self, at: int, happens: Callable[[], None]) -> None:
        self.at: int | None = at
        self.happens = happens

    def row(self, index: int) -> Row:
        if index == self.at:
            self.at = None
            self.happens()
        return super().row(index)


def disturbed(run: Run, at: int, happens: Callable[[], None]) -> Run:
    source = Disturbed(at, happens)
    return replace(run, stages=[replace(stage, source=source) for stage in run.stages])


def send(which: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), which)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_between_two_steps_with_all_saved(undisturbed: Model, tmp_path: Path, which: signal.Signals) -> None:
    before = signal.getsignal(which)
    console = quiet()
    outcome = train(disturbed(tiny_run(), 34, send(which)), tmp_path, console=console)
    assert not outcome.finished
    stopped_at = json.loads((tmp_path / "state" / "state.json").read_text())["position"]["step"]
    assert 2 <= stopped_at <= 6
    assert f"stopped after step {stopped_at};" in console.file.getvalue()  # type: ignore[attr-defined]
    assert signal.getsignal(which) == before
    assert same(undisturbed, trained(tiny_run(), tmp_path, resume=True))


def test_resuming_step_by_step_changes_nothing(undisturbed: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = loop_module._Loop._step

    def step_and_stop(self: Any, stage: Stage) -> None:
        self.stop.set()
        step(self, stage)

    monkeypatch.setattr(loop_module._Loop, "_step", step_and_stop)
    for done in range(1, 9):
        outcome = train(tiny_run(), tmp_path, resume=True, console=quiet())
        assert outcome.finished == (done == 8)
    assert same(undisturbed, outcome.model)


def test_a_run_with_a_vision_tower_and_no_pictures_resumes(tmp_path: Path) -> None:
    run = tiny_run(config=tiny_config(num_layers=2, moe_layers=(1,), nope_layers=()))
    whole = trained(run, tmp_path / "whole")
    assert not train(disturbed(run, 26, send(signal.SIGTERM)), tmp_path / "cut", console=quiet()).finished
    assert same(whole, trained(run, tmp_path / "cut", resume=True))


def test_a_finished_run_resumes_to_itself(undisturbed: Model, tmp_path: Path) -> None:
    trained(tiny_run(), tmp_path)
    assert same(undisturbed, trained(tiny_run(), tmp_path, resume=True))
    assert len(log(tmp_path)) == 4


def test_the_state_of_another_run_is_refused(tmp_path: Path) -> None:
    trained(tiny_run(stages=(Stage(name="s", steps=1, source=Alphabets()),)), tmp_path)
    for changes in (dict(seed=1), dict(tokens_per_batch=65), dict(config=tiny_config(name="other", vision=None))):
        with pytest.raises(StateError, match="was written with"):
            train(tiny_run(**changes), tmp_path, resume=True, console=quiet())


def test_the_bias_works_while_it_trains_and_is_exactly_zero_after_the_last_decay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = loop_module._Loop._step

    def watched(self: Any, stage: Stage) -> None:
        step(self, stage)
        seen.append(max(float(router.balance_bias.abs().max()) for router in routers(next(iter(self.models.values())))))

    monkeypatch.setattr(loop_module._Loop, "_step", watched)
    model = trained(tiny_run(), tmp_path)
    assert seen[5] > 0 and seen[6] == pytest.approx(seen[5] / 2) and seen[7] == 0.0
    save_model(model, tmp_path / "hf")  # refuses a bias that is not zero


@dataclass(frozen=True)
class BrokenRows(Alphabets):
    """The row from `first` on carry a weight that no loss survives."""

    first: int
    weight: float

    def row(self, index: int) -> Row:
        row = super().row(index)
        return row._replace(weight=self.weight) if index >= self.first else row


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_its_step_and_rows_before_it_harms_a_weight(tmp_path: Path, weight: float) -> None:
    others = set(threading.enumerate())  # of other tests: some of those end, or start another, meanwhile
    run = tiny_run(stages=(Stage(name="main", steps=8, source=BrokenRows(20, weight)),), checkpoint_every_s=-1.0)
    with pytest.raises(TrainingError, match=r"step (\d+) \(main\): tiny has loss=nan.*rows (\d+) to (\d+).*checkpoint is whole") as caught:
        train(run, tmp_path, console=quiet())
    words = str(caught.value).replace(";", " ").split()
    first, last = int(words[words.index("rows") + 1]), int(words[words.index("to") + 1].rstrip("."))
    assert first <= 20 <= last
    step = int(words[1])
    assert json.loads((tmp_path / "state" / "state.json").read_text())["position"]["step"] == step - 1
    healthy = trained(tiny_run(stages=(Stage(name="main", steps=8, source=Alphabets()),)), tmp_path, resume=True)
    assert all(torch.isfinite(tensor).all() for tensor in bits(healthy))
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name.startswith("puna-feed")]


def test_the_loss_falls_to_almost_nothing_on_what_can_be_foretold(tmp_path: Path) -> None:
    run = tiny_run(stages=(Stage(name="main", steps=40, warmup=4, decay=20, source=Alphabets()),), tokens_per_batch=128, log_every=10)
    trained(run, tmp_path)
    losses = [record["loss"] for record in log(tmp_path)]
    assert losses[0] < 5.95 and losses[-1] < 0.5 and losses == sorted(losses, reverse=True)


def test_the_log_says_what_happened_line_by_line(tmp_path: Path) -> None:
    trained(tiny_run(), tmp_path)
    records = log(tmp_path)
    assert [(record["step"], record["stage"]) for record in records] == [(2, "main"), (4, "main"), (6, "main"), (8, "cool")]
    assert [record["lr"] for record in records] == pytest.approx([1e-2, 1e-2, 1e-2, 5e-3])
    for record in records:
        assert set(record["loss_by_kind"]) == {"plain", "late", "filler"}
        assert 0 <= record["router_entropy"] <= 1 and 0.25 <= record["largest_expert_share"] <= 1
        assert record["tokens_per_s"] > 0 and record["grad_norm"] > 0 and record["dead_experts"] >= 0


def test_speed_is_that_of_the_steps_that_were_run_since_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes one second of this clock, also the few of a line cut short by a stop or by the end."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(loop_module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    run = tiny_run(stages=(Stage(name="main", steps=7, source=Alphabets()),), log_every=5, checkpoint_every_s=1e9)
    assert not train(disturbed(run, 20, send(signal.SIGTERM)), tmp_path, console=quiet()).finished
    trained(run, tmp_path, resume=True)
    assert [(record["step"], record["tokens_per_s"]) for record in log(tmp_path)] == [(5, 64), (7, 64)]


def test_stages_follow_one_another_and_a_longer_last_one_goes_on(tmp_path: Path) -> None:
    def told(steps: int) -> list[tuple[int, str]]:
        stages = (tiny_run().stages[0], Stage(name="cool", steps=steps, source=Alphabets()))
        trained(tiny_run(stages=stages, log_every=1), tmp_path, resume=True)
        return [(record["step"], record["stage"]) for record in log(tmp_path)]

    main = [(step, "main") for step in range(1, 7)]
    assert told(2) == [*main, (7, "cool"), (8, "cool")]
    assert told(4) == [*main, (7, "cool"), (8, "cool"), (9, "cool"), (10, "cool")]


def test_every_row_is_trained_on_once_and_in_order(tmp_path: Path) -> None:
    asked: list[int] = []

    class Watched(Alphabets):
        def row(self, index: int) -> Row:
            asked.append(index)
            return super().row(index)

    trained(tiny_run(stages=(Stage(name="main", steps=5, source=Watched()),)), tmp_path)
    assert asked[:8] == list(range(8))  # the fingerprint of the source
    del asked[:8]
    cursor = json.loads((tmp_path / "state" / "state.json").read_text())["position"]["cursor"]
    assert sorted(set(asked)) == list(range(cursor + 1)) and asked == sorted(asked)  # the last did not fit


def test_a_mistake_in_a_source_stops_the_run_by_its_own_name(tmp_path: Path) -> None:
    def fail() -> None:
        raise LookupError("no such story")

    with pytest.raises(LookupError, match="no such story"):
        train(disturbed(tiny_run(), 30, fail), tmp_path, console=quiet())


def test_pictures_are_trained_on(tmp_path: Path) -> None:
    class Pictures(Alphabets):
        def row(self, index: int) -> Row:
            tiles = np.full((1, 3, 16, 16), -1.0 if index % 2 else 1.0, dtype=np.float32)
            colour = ord("b") if index % 2 else ord("w")
            mask = np.array([False] * 5 + [True])
            return Row("picture", Stream(np.array([1, *[348] * 4, colour]), tiles, mask))

    config = tiny_config(num_layers=2, moe_layers=(1,), nope_layers=())
    run = tiny_run(config=config, stages=(Stage(name="main", steps=30, source=Pictures()),), log_every=30)
    before = Model(config)
    model = trained(run, tmp_path)
    assert log(tmp_path)[0]["loss_by_kind"]["picture"] < 4
    assert model.vision.patch_embed.weight.shape == before.vision.patch_embed.weight.shape
    from puna.model import Batch

    answers = []
    for index in range(2):
        with torch.no_grad():
            batch = Batch.from_streams([replace(Pictures().row(index).stream, loss_mask=None)])
            answers.append(chr(int(model.logits(model(batch))[4].argmax())))
    assert answers == ["w", "b"]


def test_a_fresh_run_is_prepared_once_and_a_resumed_one_is_not(tmp_path: Path) -> None:
    prepared: list[Model] = []

    def prepare(model: Model) -> None:
        prepared.append(model)
        model.text.embed.weight.data += 0.01

    whole = trained(tiny_run(prepare=prepare), tmp_path / "whole")
    assert prepared == [whole]
    cut = tmp_path / "cut"
    assert not train(disturbed(tiny_run(prepare=prepare), 26, send(signal.SIGTERM)), cut, console=quiet()).finished
    assert same(whole, trained(tiny_run(prepare=prepare), cut, resume=True))
    assert len(prepared) == 2
    assert not same(whole, trained(tiny_run(), tmp_path / "plain"))


def test_what_preparing_made_is_saved_before_the_first_step(tmp_path: Path) -> None:
    def fail() -> None:
        raise LookupError("gone")

    def prepare(model: Model) -> None:
        model.text.embed.weight.data += 0.01

    console = quiet()
    with pytest.raises(LookupError):
        train(disturbed(tiny_run(prepare=prepare), 9, fail), tmp_path / "cut", console=console)
    assert "stopped before it is done, the run begins anew" in console.file.getvalue()  # type: ignore[attr-defined]
    whole = trained(tiny_run(prepare=prepare), tmp_path / "whole")

    def never(model: Model) -> None:
        raise AssertionError("prepared twice")

    assert same(whole, trained(tiny_run(prepare=never), tmp_path / "cut", resume=True))


def test_no_step_stands_in_the_log_twice_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last line before the kill is of step 6, the checkpoint of step 3."""
    save = loop_module.save_state
    monkeypatch.setattr(loop_module, "save_state", lambda *a: save(*a) if a[2].step == 3 else None)
    trained(tiny_run(checkpoint_every_s=-1.0, log_every=1), tmp_path)
    assert [record["step"] for record in log(tmp_path)] == list(range(1, 9))
    first = log(tmp_path)[:3]
    trained(tiny_run(log_every=1), tmp_path, resume=True)
    assert [record["step"] for record in log(tmp_path)] == list(range(1, 9)) and log(tmp_path)[:3] == first


def test_a_setting_changed_on_resuming_is_named(tmp_path: Path) -> None:
    stages = tiny_run().stages
    trained(tiny_run(stages=stages[:1]), tmp_path)
    console = quiet()
    train(tiny_run(lr=2e-2), tmp_path, resume=True, console=console)
    told = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "another setting: lr: 0.01 -> 0.02" in told and "stages[1].name: None -> 'cool'" in told
    assert "clip_norm" not in told


def test_a_run_is_resumed_in_its_stage_by_name(tmp_path: Path) -> None:
    """One that left out its first stages stood in another place of the list."""
    main, cool = tiny_run().stages
    trained(tiny_run(stages=[replace(cool, steps=2)]), tmp_path)
    last = Stage(name="last", steps=1, source=Alphabets())
    trained(tiny_run(stages=[main, replace(cool, steps=3), last], log_every=1), tmp_path, resume=True)
    assert [(record["step"], record["stage"]) for record in log(tmp_path)] == [(2, "cool"), (3, "cool"), (4, "last")]
    with pytest.raises(StateError, match="left in stage 'last'; this run only has main, cool"):
        trained(tiny_run(), tmp_path, resume=True)


def test_several_batches_a_step_learn_what_one_large_batch_does(tmp_path: Path) -> None:
    """To rounding: rows of exactly 16 tokens, so that both pack the same rows; routing by raw logits."""

    class Sixteen(Alphabets):
        def row(self, index: int) -> Row:
            weight = 1.0 + index % 3  # shares of a step that differ
            return Row("row", Stream((index + np.arange(16)) % 26 + ord("a")), weight)

    stages = (Stage(name="main", steps=3, source=Sixteen()),)
    config = tiny_config(vision=None, num_layers=2, moe_layers=(1,), nope_layers=(), initializer_range=0.05)
    large = trained(tiny_run(config=config, stages=stages, tokens_per_batch=128, optimizer="adamw"), tmp_path / "large")
    small = trained(tiny_run(config=config, stages=stages, tokens_per_batch=32, batches_per_step=4, optimizer="adamw"), tmp_path / "small")
    fresh = trained(tiny_run(config=config, stages=(replace(stages[0], steps=1, peak=0.0),), tokens_per_batch=128), tmp_path / "fresh")
    apart = sum(float((a - b).abs().sum()) for a, b in zip(bits(large), bits(small), strict=True))
    moved = sum(float((a - b).abs().sum()) for a, b in zip(bits(large), bits(fresh), strict=True))
    assert apart < 0.05 * moved
    losses = [log(tmp_path / name)[-1]["loss"] for name in ("large", "small")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_process_that_is_killed_ends_with_a_message_and_a_checkpoint(tmp_path: Path) -> None:
    class Deadly(Alphabets):
        def row(self, index: int) -> Row:
            if index >= 64 and os.getpid() != mine:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().row(index)

    mine, stages = os.getpid(), (Stage(name="main", steps=200, source=Deadly()),)
    with pytest.raises(TrainingError, match="a process that makes rows was ended from outside.*checkpoint of step .* is whole"):
        train(tiny_run(stages=stages, row_processes=1, checkpoint_every_s=-1.0), tmp_path, console=quiet())


def test_rows_made_by_processes_change_nothing(undisturbed: Model, tmp_path: Path) -> None:
    assert same(undisturbed, trained(tiny_run(row_processes=2), tmp_path))


def test_adamw_alone_is_an_option_with_a_state_of_its_own(undisturbed: Model, tmp_path: Path) -> None:
    alone = trained(tiny_run(optimizer="adamw"), tmp_path / "whole")
    assert not same(undisturbed, alone)
    assert not train(disturbed(tiny_run(optimizer="adamw"), 26, send(signal.SIGTERM)), tmp_path / "cut", console=quiet()).finished
    with pytest.raises(StateError, match="optimizer='adamw', this run has 'muon'"):
        train(tiny_run(), tmp_path / "cut", resume=True, console=quiet())
    assert same(alone, trained(tiny_run(optimizer="adamw"), tmp_path / "cut", resume=True))


# --- stages by the clock ------------------------------------------------------------------------------------------------------


class Clock:
    """A second passes each time that it is read: once a step."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


def clocked(**changes: Any) -> Run:
    stages = (
        Stage(name="clock", minutes=10 / 60, warmup=2, decay_minutes=4 / 60, source=Alphabets()),
        Stage(name="steps", steps=3, source=Alphabets()),
    )
    return tiny_run(stages=stages, log_every=1, **changes)


def test_a_stage_by_the_clock_ends_on_time_with_its_rate_and_biases_at_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "time", Clock())
    biases: list[float] = []
    step = loop_module._Loop._step

    def watched(self: Any, stage: Stage) -> None:
        step(self, stage)
        biases.append(max(float(router.balance_bias.abs().max()) for router in routers(self.models["tiny"])))

    monkeypatch.setattr(loop_module._Loop, "_step", watched)
    trained(clocked(), tmp_path)
    records = log(tmp_path)
    assert [record["stage"] for record in records] == ["clock"] * 10 + ["steps"] * 3
    assert [record["lr"] for record in records[:10]] == pytest.approx([0.005, *[0.01] * 6, 0.0075, 0.005, 0.0025])
    assert [record["seconds"] for record in records] == list(range(1, 14))
    assert biases[5] > 0 and biases[9] == 0.0 and biases[10] > 0
    assert biases[6:9] == pytest.approx([biases[5] * share for share in (0.75, 0.5, 0.25)])


def test_the_clock_goes_on_where_a_stopped_run_left_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "time", Clock())
    whole = trained(clocked(), tmp_path / "whole")
    assert not train(disturbed(clocked(), 26, send(signal.SIGTERM)), tmp_path / "cut", console=quiet()).finished
    stopped_at = json.loads((tmp_path / "cut" / "state" / "state.json").read_text())["position"]
    assert stopped_at["stage_seconds"] == stopped_at["step"] < 10
    assert same(whole, trained(clocked(), tmp_path / "cut", resume=True))
    assert [record["seconds"] for record in log(tmp_path / "cut")] == list(range(1, 14))


# --- what goes wrong ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OneBrokenRow(Alphabets):
    """Row `at` carries a weight that no loss survives."""

    at: int

    def row(self, index: int) -> Row:
        row = super().row(index)
        return row._replace(weight=float("nan")) if index == self.at else row


def test_a_spike_is_skipped_and_written_down_and_training_goes_on(tmp_path: Path) -> None:
    run = tiny_run(stages=(Stage(name="main", steps=8, source=OneBrokenRow(20)),), on_spike="skip", log_every=4)
    console = quiet()
    outcome = train(run, tmp_path, console=console)
    assert outcome.finished and all(torch.isfinite(tensor).all() for tensor in bits(outcome.model))
    (spike,) = [json.loads(line) for line in (tmp_path / "spikes.jsonl").read_text().splitlines()]
    assert spike["why"] == {"tiny": "is no number"} and spike["readings"]["tiny"] == ["nan", "nan"]
    rows = [index for index, _, _ in spike["rows"]]
    assert 20 in rows and f"skipped the update of step {spike['step']}" in console.file.getvalue()  # type: ignore[attr-defined]
    (again,) = batches_of(run, spike)
    assert torch.isnan(again.weights).any() and [kind for _, kind, _ in spike["rows"]] == list(again.kinds)
    assert [record["skipped_steps"] for record in log(tmp_path)] == [int(spike["step"] <= 4), 1]
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()


def test_a_run_that_skips_resumes_bit_for_bit(tmp_path: Path) -> None:
    run = tiny_run(stages=(Stage(name="main", steps=8, source=OneBrokenRow(12)),), on_spike="skip")
    whole = trained(run, tmp_path / "whole")
    for steps in (2, 3, 5, 8):
        short = replace(run, stages=(replace(run.stages[0], steps=steps),))
        outcome = train(short, tmp_path / "cut", resume=True, console=quiet())
    assert same(whole, outcome.model) and outcome.position.history.skipped == 1


def test_a_step_that_is_skipped_leaves_everything_as_it_was(tmp_path: Path) -> None:
    source = OneBrokenRow(0)
    stages = (Stage(name="main", steps=1, source=source),)
    skipped = trained(tiny_run(stages=stages, on_spike="skip"), tmp_path / "skipped")
    fresh = initialize(Model(tiny_run().configs["tiny"]), torch.Generator().manual_seed(0))
    assert same(skipped, fresh)


def test_numbers_are_read_rarely_on_a_device_that_must_be_waited_for(
    undisturbed: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: a broken step is found at the next line of the log, and nothing was saved after it."""
    init = loop_module._Loop.__init__

    def rarely(self: Any, *arguments: Any) -> None:
        init(self, *arguments)
        self.read_every = self.run.log_every

    monkeypatch.setattr(loop_module._Loop, "__init__", rarely)
    run = tiny_run(stages=(Stage(name="main", steps=8, source=OneBrokenRow(20)),), log_every=4, checkpoint_every_s=-1.0)
    with pytest.raises(TrainingError, match=r"step (\d+) \(main\)") as caught:
        train(run, tmp_path, console=quiet())
    assert json.loads((tmp_path / "state" / "state.json").read_text())["position"]["step"] == int(str(caught.value).split()[1]) - 1
    assert same(undisturbed, trained(tiny_run(), tmp_path / "whole"))


def test_a_full_disk_ends_with_a_message_and_the_last_checkpoint_whole(
    undisturbed: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file = state_module.save_file
    saves: list[Path] = []

    def full(tensors: dict[str, Tensor], path: Path) -> None:
        saves.append(path)
        if len(saves) > 3:
            path.write_bytes(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save_file(tensors, path)

    monkeypatch.setattr(state_module, "save_file", full)
    with pytest.raises(TrainingError, match="after step 4: .*No space left.*checkpoint of step 3 is whole: continue with --resume"):
        train(tiny_run(checkpoint_every_s=-1.0), tmp_path, console=quiet())
    assert not (tmp_path / "state.new").exists()
    monkeypatch.undo()
    assert same(undisturbed, trained(tiny_run(), tmp_path, resume=True))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_too_little_memory_ends_with_a_message_and_a_checkpoint(
    undisturbed: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(TrainingError, match="out of memory with batches of 64 tokens on cpu.*checkpoint of step [12345] is whole"):
        train(disturbed(tiny_run(checkpoint_every_s=-1.0), 34, fail), tmp_path, console=quiet())
    assert same(undisturbed, trained(tiny_run(), tmp_path, resume=True))


def test_other_errors_stay_themselves(tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(disturbed(tiny_run(), 30, fail), tmp_path, console=quiet())
