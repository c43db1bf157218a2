"""From raw files to a nano that talks and sees a little, on two cores, in under 40 minutes: `make speedrun`. At most 13 for the tower and
20 for the rest; where products run in bf16 it took 25 in all.

    PUNA_DATA_MIRROR=DIR puna train recipes/speedrun.py --out runs/speedrun

The herd's road (`recipes/herd.py`) for one student, without a teacher: build the data, warm up the tower, train in four stages by the
clock, ask held-out questions. A line per phase says how long it took and what came out. `--set size=micro`
takes the same road in a minute on a toy mirror (`python -m puna.testing.mirror DIR`): it shows that every phase runs, and learns nothing.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from herd import ENGLISH, SEED, SIZES, Begun, Material, Size, Timing, run_of, save_whole, see
from rich.console import Console

import puna
from puna.config import every_nth_layer
from puna.data.pack import prepare
from puna.evals.nano.card import run_task
from puna.model import Model
from puna.model.init import initialize
from puna.presets import nano_scout, with_vocabulary
from puna.train import Outcome, train
from puna.train.settings import choose, with_overrides

_CPU = replace(SIZES["cpu"], students={"scout-nano": nano_scout()}, see_minutes=13, student_minutes=20)
_LAYERS = dict(num_layers=4, moe_layers=every_nth_layer(1, 4), nope_layers=every_nth_layer(4, 4))
_TOY = with_vocabulary(replace(nano_scout(), width=64, num_heads=1, expert_width=32, num_experts=4, **_LAYERS), 2048)
_MICRO = replace(_CPU, data="micro", teacher=_TOY, students={"scout-nano": _TOY}, see_steps=3, pictures_per_step=32, tokens_per_batch=1024)
_MICRO_STEPS = 8  # of training; the larger size stops by the clock
SPEEDRUN_SIZES: dict[str, Size] = {"cpu": _CPU, "micro": _MICRO}

# Held-out questions at the end: the card's task, and the share of its questions.
QUESTIONS: dict[str, float] = {"naming": 0.5, "counting": 0.5, "video-way": 0.5, "sums": 0.3, "stopping": 0.1}
# What each phase gave where it was measured: two cores with products in bf16 (docs/log.md). Another machine's speed changes it.
EXPECTED: dict[str, str] = {
    "data": "0.5 min, 13.5 M tokens",
    "see": "4.3 min, 81% and 68%",
    "words": "8.3 min, loss 3.4",
    "first names": "1.4 min, loss 2.3",
    "pictures": "5.2 min, loss 3.1",
    "chat tuning": "5.1 min, loss 2.6",
    "train": "20 min, 10.4 M tokens",
    "naming": "10%",
    "counting": "50%",
    "video-way": "61%",
    "sums": "4%",
    "stopping": "100%",
}


class Watch:
    """Prints a line per phase: minutes since the start, minutes of the phase, what came out, what was expected of it."""

    def __init__(self, console: Console, expected: Mapping[str, str]) -> None:
        self.console, self.expected = console, expected
        self.started = self.last = time.monotonic()
        self.lines: list[dict[str, Any]] = []

    def line(self, phase: str, outcome: str) -> None:
        now = time.monotonic()
        self._print(phase, (now - self.last) / 60, outcome)
        self.last = now

    def stages(self, log: Path) -> None:
        """A line for each stage of the training that wrote `log`."""
        records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        ends = {record["stage"]: record for record in records}
        begins = [0.0, *(record["seconds"] for record in ends.values())]
        for begin, (stage, record) in zip(begins, ends.items(), strict=False):
            self._print(stage, (record["seconds"] - begin) / 60, f"step {record['step']}, loss {record['loss']:.2f}")

    def _print(self, phase: str, minutes: float, outcome: str) -> None:
        since = (time.monotonic() - self.started) / 60
        expected = f"  (expected: {self.expected[phase]})" if phase in self.expected else ""
        self.console.print(f"{since:5.1f} min  {phase:<12} {minutes:5.1f} min  {outcome}{expected}", highlight=False, soft_wrap=True)
        self.lines.append({"phase": phase, "minutes": round(minutes, 2), "outcome": outcome, "expected": self.expected.get(phase)})


def main(out: Path, resume: bool, overrides: dict[str, str]) -> Outcome | None:
    """All phases; the model ends in `out/scout-nano`, the lines in `out/speedrun.json`. With `resume`, finished phases are passed over.
    The outcome of a training that was stopped, None if all phases were done.
    """
    overrides = dict(overrides)
    size = choose("size", SPEEDRUN_SIZES, overrides, "cpu")
    watch = Watch(Console(stderr=True), EXPECTED if size is _CPU else {})
    defaults = {name: getattr(size, name) for name in ("see_steps", "see_minutes", "student_minutes", "tokens_per_batch")}
    settings = with_overrides(defaults | {"student_steps": _MICRO_STEPS if size is _MICRO else 0}, overrides)
    size = replace(size, tokens_per_batch=settings["tokens_per_batch"])
    out.mkdir(parents=True, exist_ok=True)
    (config,) = size.students.values()

    tokenizer, shards = prepare(out / "data", num_ranks=config.bos_id, max_bytes_per_language=3_000_000, size=size.data, english=ENGLISH)
    material = Material(size, tokenizer, shards, watch.console)
    counts = json.loads((out / "data" / "tokens.json").read_text(encoding="utf-8"))
    watch.line("data", f"{sum(counts.values()) / 1e6:.1f} M tokens of prose in {len(counts)} languages")

    fresh = initialize(Model(config), torch.Generator().manual_seed(SEED))
    tower = see(fresh, settings["see_steps"], settings["see_minutes"], out, material)
    seen = json.loads((out / "vision.jsonl").read_text().splitlines()[-1])
    watch.line("see", f"{seen['whole']:.0%} of single pictures, {seen['cells']:.0%} of things in scenes")

    hf = out / config.name
    if not (hf / "config.json").is_file():
        timing = Timing(settings["student_minutes"], settings["student_steps"], first_stage=1, lr=size.lr)
        run = run_of({config.name: config}, timing, tower, Begun(out / "start", (), learns_on=False), material)
        trained = train(run, out / "run", resume=resume, console=watch.console)
        if not trained.finished:
            return trained
        save_whole(trained.model, hf, tokenizer)
        watch.stages(out / "run" / "log.jsonl")
        tokens = trained.position.step * run.tokens_per_step
        watch.line("train", f"{tokens / 1e6:.1f} M tokens, {tokens / max(1.0, trained.position.seconds):,.0f} a second")
    ask(puna.load(str(hf)), watch.line)
    (out / "speedrun.json").write_text(json.dumps(watch.lines, indent=1), encoding="utf-8")
    watch.console.print(f"try puna chat {hf}")
    return None


def ask(pipeline: Any, line: Callable[[str, str], None]) -> None:
    """A part of the card's held-out questions."""
    for task, scale in QUESTIONS.items():
        result = run_task(task, pipeline, scale)
        line(task, f"{result['correct']} of {result['total']} right, {result['rate']:.0%}")
