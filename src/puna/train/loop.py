"""The training loop: packed batches in, models out. One loop for every stage.

A run is a list of stages over one model, or several side by side. It stops at its end, or between two steps when asked to (SIGINT,
SIGTERM); killed at any moment it resumes from its last checkpoint, and what it then computes is bit-identical to what it would have
computed (stages that end by the clock: as far as clocks agree).
"""

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from torch import Tensor

from puna.kernels.fusion import fused_elementwise
from puna.model import Model
from puna.train.expert_map import ExpertMap
from puna.train.feed import Feed, rows_of
from puna.train.guard import Guard, Reading, TrainingError, Where
from puna.train.learner import Learner
from puna.train.logbook import Logbook, seconds_left
from puna.train.objective import Losses
from puna.train.packing import TrainingBatch
from puna.train.run import Run, Stage
from puna.train.state import Position, SaveError, StateError, changed_settings, has_state, load_state, save_state, saved_settings


class Outcome(NamedTuple):
    """The models as training left them, by name; whether that was after the last step; and where the run then stood."""

    models: Mapping[str, Model]
    finished: bool
    position: Position
    losses: Mapping[str, float]

    @property
    def model(self) -> Model:
        """The model of a run that trained one."""
        (model,) = self.models.values()
        return model


def train(run: Run, out: Path, *, resume: bool = False, console: Console | None = None) -> Outcome:
    """Train to the last step, or until a signal.

    Writes `out/state/`, `out/log.jsonl`, `out/tensorboard/`, `out/experts*.png`, and `out/spikes.jsonl` if there were any.
    Raises `TrainingError` for a spike that stops the run, a full disk or too little memory: the last checkpoint is whole then.
    """
    # A mixed run meets some thousand shapes; oneDNN keeps compiled kernels for the last 1,024 by default (`docs/log.md`).
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "30000")
    console = console or Console(stderr=True)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        feed = Feed(run)  # first: its processes are copies of this one, which is smallest now
        stack.callback(feed.close)
        learners = {name: Learner(config, run) for name, config in run.configs.items()}
        models = {name: learner.model for name, learner in learners.items()}
        saver = _Saver(run, out / "state", learners)
        position = Position()
        if resume and has_state(out / "state"):
            position = saver.load()
            console.print(f"resumed at step {position.step}")
            for change in changed_settings(out / "state", saver.settings):
                console.print(f"[yellow]this run continues one with another setting: {change}[/yellow]")
        elif run.prepare is not None:
            console.print("preparing; stopped before it is done, the run begins anew")
            run.prepare(*models.values())
            saver.save(position)
        book = Logbook(run, out, position, console)
        stack.callback(book.close)
        loop = _Loop(run, out, learners, position, feed, book, saver, console)
        finished = loop.go()
    return Outcome({name: model.eval() for name, model in models.items()}, finished, loop.position, book.latest)


class _Saver:
    """The run's checkpoint, and which step it holds."""

    def __init__(self, run: Run, directory: Path, learners: Mapping[str, Learner]) -> None:
        self.run, self.directory, self.learners = run, directory, learners
        self.settings = run.settings()
        self.step: int | None = None

    def load(self) -> Position:
        position = load_state(self.directory, self.learners, self.run.identity())
        position.stage = self._same_stage(position.stage)
        self.step = position.step
        return position

    def save(self, position: Position) -> None:
        save_state(self.directory, self.learners, position, self.run.identity(), self.settings)
        self.step = position.step

    def _same_stage(self, place: int) -> int:
        """Where this run has the stage that the saved run stood in: others before it may have come or gone."""
        name = saved_settings(self.directory).get(f"stages[{place}].name")
        names = [stage.name for stage in self.run.stages]
        if name is not None and name not in names:
            raise StateError(f"{self.directory} was left in stage {name!r}; this run only has {', '.join(names)}")
        return place if name is None else names.index(str(name))

    def in_words(self) -> str:
        return "There is no checkpoint yet" if self.step is None else f"The checkpoint of step {self.step} is whole: continue with --resume"


class _Unread(NamedTuple):
    """A step whose numbers may still be under way on the device: `numbers` `[models, 2]` are loss and gradient norm."""

    step: int
    stage: int
    cursor: int
    numbers: Tensor


class _Last(NamedTuple):
    """What the log says of the last step beside its losses."""

    stage: str
    rate: float
    extra: Mapping[str, Mapping[str, Tensor]]


class _Loop:
    """The state of a running loop."""

    def __init__(
        self,
        run: Run,
        out: Path,
        learners: Mapping[str, Learner],
        position: Position,
        feed: Feed,
        book: Logbook,
        saver: _Saver,
        console: Console,
    ) -> None:
        self.run, self.out, self.learners, self.position = run, out, learners, position
        self.feed, self.book, self.saver, self.console = feed, book, saver, console
        self.models = {name: learner.model for name, learner in learners.items()}
        self.guard = Guard(run.spikes, run.on_spike, position.history, out / "spikes.jsonl")
        self.maps = {name: ExpertMap(model) for name, model in self.models.items()}
        self.unread: list[_Unread] = []
        self.stop = threading.Event()
        # Reading waits for the device, so a GPU is asked once a line of the log, unless a spike must be found before its update.
        self.read_every = 1 if run.device == "cpu" or run.on_spike == "skip" else run.log_every

    def go(self) -> bool:
        """Step until the end or a signal; whether it was the end."""
        self.clock = saved_at = drawn_at = time.monotonic()
        with self._signals(), self._explained(), Progress(BarColumn(), TextColumn("{task.description}"), console=self.console) as progress:
            bar = progress.add_task("training", total=1.0)
            while (stage := self._stage()) is not None and not self.stop.is_set():
                self._step(stage)
                progress.update(bar, completed=self._share_done(), description=self.book.in_words(self.position))
                if self.clock - drawn_at > self.run.picture_every_s:
                    self._draw()
                    drawn_at = self.clock
                if self.clock - saved_at > self.run.checkpoint_every_s:
                    self._save()
                    saved_at = self.clock
            finished = self._stage() is None
            if finished and self.position.step > self.book.since.step:
                self._log()
            self._draw()
            self._save()
        if not finished:
            self.console.print(f"stopped after step {self.position.step}; continue with --resume")
        return finished

    def _stage(self) -> Stage | None:
        """The stage that the next step belongs to, None at the end of the run. Enters a new stage where one is over."""
        position = self.position
        for stage in self.run.stages[position.stage :]:
            if stage.left(position.stage_step, position.stage_seconds) > 0:
                return stage
            if stage is self.run.stages[-1]:
                break  # the position stays in it: a run that is given a longer last stage goes on
            self._read()
            self.guard.new_stage()
            position.stage, position.stage_step, position.stage_seconds = position.stage + 1, 0, 0.0
        return None

    def _step(self, stage: Stage) -> None:
        """One optimiser step of every model."""
        position = self.position
        rate = stage.rate(position.stage_step, position.stage_seconds)
        packed = self.feed.take(position.stage, position.step, position.cursor, self._probable_next(stage))
        is_logged = (position.step + 1) % self.run.log_every == 0
        losses = self._differentiate(stage, packed, is_logged)
        norms = [learner.clip(self.run.clip_norm) for learner in self.learners.values()]
        means = [_mean_total(packed, losses, name) for name in self.learners]
        self.unread.append(
            _Unread(position.step, position.stage, position.cursor, torch.stack([torch.stack(means), torch.stack(norms)], 1))
        )
        must_read = is_logged or (position.step + 1) % self.read_every == 0
        is_spike = self._read() if must_read else False
        before = stage.left(position.stage_step, position.stage_seconds)
        self._advance(packed[-1].cursor)
        after = stage.left(position.stage_step, position.stage_seconds)
        # While the rate decays, balancing biases go down a line to exactly zero.
        fade = max(0.0, after) / before if before <= stage.decay_length else 1.0
        for learner in self.learners.values():
            learner.forget(fade) if is_spike else learner.update(rate, fade)
        if not is_spike:
            self.book.gather(packed, losses)
        self.last = _Last(stage.name, rate, {name: losses[-1][name].extra for name in self.learners})
        if is_logged:
            self._log()

    def _differentiate(self, stage: Stage, packed: Sequence[TrainingBatch], is_logged: bool) -> list[Mapping[str, Losses]]:
        """Gradients of every model; what each batch cost."""
        objective = stage.objective or self.run.objective
        progress = stage.progress(self.position.stage_step, self.position.stage_seconds)
        losses = []
        for data in packed:
            with ExitStack() as stack:
                stack.enter_context(fused_elementwise(self.run.fuse))
                for expert_map in self.maps.values() if is_logged else ():
                    stack.enter_context(expert_map.watching(data))
                losses.append(objective(self.models, data, self.position.step, progress))
        return losses

    def _read(self) -> bool:
        """Read the numbers of the steps that nobody has looked at yet; whether the last one is a spike whose update must not happen."""
        is_spike = False
        for unread in self.unread:
            numbers = unread.numbers.tolist()
            readings = {name: Reading(*pair) for name, pair in zip(self.learners, numbers, strict=True)}
            is_spike = self.guard.is_spike(readings, lambda unread=unread: self._where(unread))
            if is_spike:
                self.console.print(f"[yellow]skipped the update of step {unread.step + 1}; {self.guard.file.name} says why[/yellow]")
            else:
                self.book.read(readings)
        self.unread.clear()
        return is_spike

    def _where(self, unread: _Unread) -> Where:
        packed = self.feed.again(unread.stage, unread.step, unread.cursor)
        return Where(unread.step + 1, self.run.stages[unread.stage].name, unread.cursor, rows_of(packed, unread.cursor))

    def _advance(self, cursor: int) -> None:
        """The step is done. The clock is read once a step, here, so that all agree on when a stage is over."""
        now = time.monotonic()
        position = self.position
        position.step += 1
        position.stage_step += 1
        position.cursor = cursor
        position.seconds += now - self.clock
        position.stage_seconds += now - self.clock
        self.clock = now

    def _log(self) -> None:
        self._read()
        self.book.write(self.position, self.last.stage, self.last.rate, self.learners, self.last.extra)

    def _probable_next(self, stage: Stage) -> int | None:
        """The stage of the step after the one at hand; wrong only where a clock ends a stage."""
        position = self.position
        if stage.steps is None or position.stage_step + 1 < stage.steps:
            return position.stage
        return position.stage + 1 if position.stage + 1 < len(self.run.stages) else None

    def _share_done(self) -> float:
        speed = self.book.tokens_per_s
        left = seconds_left(self.run, self.position, speed) if speed else float("inf")
        return self.position.seconds / max(1e-9, self.position.seconds + left)

    def _draw(self) -> None:
        """Which experts took which rows, as pictures."""
        for name, expert_map in self.maps.items():
            stem = "experts" if len(self.maps) == 1 else f"experts-{name}"
            if (drawn := expert_map.write(self.out, stem, self.position.step)) is not None:
                self.book.events.picture(self.position.step, stem, *drawn)

    def _save(self) -> None:
        self._read()  # nothing broken is saved
        self.saver.save(self.position)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for a stop between two steps."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        before = {s: signal.signal(s, lambda *_: self.stop.set()) for s in (signal.SIGINT, signal.SIGTERM)} if in_main_thread else {}
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """A full disk and too little memory end the run with a message that says where it can go on."""
        try:
            yield
        except (OSError, SaveError) as error:
            if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise TrainingError(f"{error}. {self.saver.in_words()} once there is room") from error
        except BrokenExecutor as error:
            raise TrainingError(
                f"step {self.position.step + 1}: a process that makes rows was ended from outside, perhaps for its memory. "
                f"{self.saver.in_words()}; with fewer row_processes it takes less"
            ) from error
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise TrainingError(
                f"step {self.position.step + 1}: out of memory with batches of {self.run.tokens_per_batch} tokens on {self.run.device} "
                f"({error}). {self.saver.in_words()} where there is more of it; or start anew with smaller batches, several a step"
            ) from error


def _mean_total(packed: Sequence[TrainingBatch], losses: Sequence[Mapping[str, Losses]], name: str) -> Tensor:
    """The step's loss of one model: its batches' losses by their shares."""
    shares = torch.tensor([data.share for data in packed], device=losses[0][name].total.device)
    return (torch.stack([of_models[name].total.float() for of_models in losses]) * shares).sum()


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
