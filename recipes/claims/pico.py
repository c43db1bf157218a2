"""What the claims share: pico models, their data, one training run, held-out scores, runs side by side, and intervals.

A pico is the smallest model on which a claim of Llama 4's can be seen: about a million parameters, two to three minutes on one core.

- Vocabulary: 2,048 BPE ids learned from the nano's own texts in 12 languages, and 128 special ids. With the nano's 8,320 ids the head would
  take two thirds of a pico's products, and a claim about its layers would hardly show.
- Rows: windows of prose in 12 languages, and five questions about pictures, in English: which colour, which shape, which side, how many,
  and the name of one of 40 things. Two rows in five are prose; they are two thirds of the tokens.
- Tower: one pico tower is warmed up once on labelled pictures, as Meta's was trained before fusion; all runs start from a copy of it.
- Scores, on rows that training cannot draw: bits per byte of held-out prose, nats per answer token on pictures, and the share of answers
  that are right in every token (each token given the right ones before it).
- Compute: six products for each weight a token or a picture meets in training, two in a forward (`puna.train.machine`). Seconds of one
  core stand beside it.

Not a claim by itself: see the other files of this folder, and `docs/claims.md`.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from puna.config import ModelConfig, VisionConfig, every_nth_layer
from puna.data import phrases, scenes
from puna.data.chance import generator
from puna.data.emoji import artists_of, codes, inventory, render_emoji
from puna.data.labels import LETTERS, NUM_COUNTS, classes, labelled_pictures
from puna.data.languages import LANGUAGES
from puna.data.pack import TextShards, prepare
from puna.data.row import Sample, chat, tiles_of
from puna.data.samples import to_stream
from puna.data.scenes import COLOUR_VALUES
from puna.model import Batch, Model
from puna.model.init import initialize
from puna.model.loss import next_token_loss
from puna.model.vision import VisionTower
from puna.presets import pico_scout
from puna.stream import Stream
from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat
from puna.train import Losses, NextToken, Objective, Run, Stage, train
from puna.train.machine import flops_per_tile, flops_per_token
from puna.train.objective import hidden_states
from puna.train.packing import Row, TrainingBatch, next_tokens
from puna.train.projector import fit_projector
from puna.train.vision import Classes, warm_up

TOKENS_PER_BATCH = 2048
NUM_RANKS = 2048
TEXT_TOKENS = 128
ANSWER_WEIGHT = 3.0
LR = 6e-3
PICTURE_KINDS = ("colour", "form", "side", "count", "name")
NAMES = 40
DATA = Path("data_cache/pico")
RESULTS = Path(__file__).parent / "results"
IMAGES = Path(__file__).parents[2] / "docs" / "images"

VISION = VisionConfig(tile_size=64, patch_size=8, width=64, num_layers=2, num_heads=2, adapter_width=160, max_tiles=1)


def scout(**changes: Any) -> ModelConfig:
    """pico Scout: four layers, all MoE, the last one NoPE; four experts beside the shared one; chunks of 64."""
    return replace(pico_scout(NUM_RANKS), **{"vision": VISION, **changes})


def maverick() -> ModelConfig:
    """pico Maverick: eight experts in every second layer, dense layers between, no QK norm. As many products a token as pico Scout."""
    return scout(name="maverick-pico", num_experts=8, moe_layers=every_nth_layer(2, 4), qk_norm=False)


def behemoth() -> ModelConfig:
    """The teacher: 2.4 times the students' active size."""
    return scout(name="behemoth-pico", width=160, num_heads=5, expert_width=224)


# --- rows -------------------------------------------------------------------------------------------------------------------------


@cache
def prepared() -> tuple[Tokenizer, TextShards, TextShards]:
    """Tokenizer, training shards, held-out shards; made on first use (a minute)."""
    tokenizer, shards = prepare(DATA, NUM_RANKS, max_bytes_per_language=1_000_000)
    return tokenizer, shards, TextShards(DATA, "held_out")


class Asked(NamedTuple):
    """A question about a picture, its answer, and in words what the picture shows."""

    picture: np.ndarray
    shown: str
    question: str
    answer: str


def asked(kind: str, rng: random.Random) -> Asked:
    """One question of `PICTURE_KINDS`, in English."""
    if kind == "name":
        code = rng.choice(codes("emoji")[:NAMES])
        picture = render_emoji(code, rng, rng.choice(artists_of(code)))
        name = inventory()[code].names["en"]
        return Asked(picture, name, rng.choice(phrases.ASK_NAME["en"]), name)
    if kind == "side":
        where = rng.randrange(4)
        answer = phrases.SIDES["en"][where]
        return Asked(scenes.draw(scenes.side_scene(rng, where), rng), answer, phrases.ASK_SIDE["en"][where // 2], answer)
    if kind == "count":
        number = rng.randint(1, 5)
        question = rng.choice(phrases.ASK_COUNT["en"])
        scene = scenes.shape_counting_scene(rng, number)
        form = phrases.SHAPES["en"][scene.items[0].shape]
        return Asked(scenes.draw(scene, rng), " ".join([form] * number), question, str(number))
    scene = scenes.shape_scene(rng, 1)
    item = scene.items[0]
    colour, form = phrases.COLOURS["en"][item.colour], phrases.SHAPES["en"][item.shape]
    ask, answer = (phrases.ASK_COLOUR, colour) if kind == "colour" else (phrases.ASK_SHAPE, form)
    question = rng.choice(ask["en"])
    return Asked(scenes.draw(scene, rng), f"{colour} {form}", question, answer)


def picture_row(kind: str, rng: random.Random) -> Sample:
    """A question about a picture."""
    row = asked(kind, rng)
    return chat(kind, [(row.question, row.answer)], (row.picture,))


def told_row(rng: random.Random) -> Sample:
    """A question of the same kinds, about a picture that is told in words."""
    row = asked(rng.choice(PICTURE_KINDS), rng)
    return chat("told", [(f"{row.shown}. {row.question}", row.answer)])


@dataclass(frozen=True)
class PicoRows:
    """Rows as training reads them. `text_share` and `told_share` are shares of rows, not of tokens: prose, and `told_row`."""

    seed: int
    text_share: float = 0.4
    told_share: float = 0.0

    def row(self, index: int) -> Row:
        rng = generator("train", self.seed, index)
        draw = rng.random()
        if draw < self.text_share:
            return Row("text", Stream(prepared()[1].window(rng, TEXT_TOKENS).astype(np.int64)))
        if draw < self.text_share + self.told_share:
            return as_row(told_row(rng))
        return as_row(picture_row(rng.choice(PICTURE_KINDS), rng))

    def filler(self, index: int, num_tokens: int) -> Row:
        rng = generator("train", self.seed + 1000, index)
        windows = [prepared()[1].window(rng, num_tokens)]
        while (missing := num_tokens - sum(map(len, windows))) > 0:
            windows.append(prepared()[1].window(rng, missing))
        return Row("text", Stream(np.concatenate(windows).astype(np.int64)))


@cache
def chat_format() -> ChatFormat:
    return ChatFormat(prepared()[0], VISION)


def as_row(sample: Sample) -> Row:
    return Row(sample.kind, to_stream(sample, chat_format()), ANSWER_WEIGHT)


# --- one run ----------------------------------------------------------------------------------------------------------------------


class Counted:
    """An objective that also counts what it was given: tokens and pictures, for the ledger of compute."""

    def __init__(self, objective: Objective) -> None:
        self.objective, self.tokens, self.tiles = objective, 0, 0

    def __call__(self, models: Mapping[str, Model], data: TrainingBatch, step: int, progress: float) -> Mapping[str, Losses]:
        self.tokens += len(data.targets)
        self.tiles += 0 if data.batch.tiles is None else len(data.batch.tiles)
        return self.objective(models, data, step, progress)

    def flops(self, config: ModelConfig) -> float:
        """Of training `config` on what was counted; a forward alone is a third of it."""
        return self.tokens * flops_per_token(config) + self.tiles * flops_per_tile(config)


class Trained(NamedTuple):
    """The models, what they were given, and the seconds of one core that it took, the making of rows included."""

    models: Mapping[str, Model]
    counted: Counted
    seconds: float


def fit(
    out: Path,
    configs: Mapping[str, ModelConfig],
    *,
    tokens: int,
    seed: int,
    rows: PicoRows | None = None,
    objective: Objective | None = None,
    start: Callable[..., None] | None = None,
    **settings: Any,
) -> Trained:
    """Train `configs` side by side on the same batches: 40 steps of warm-up, then constant, the last 40 % falling to zero.

    `start` fills the fresh models in place; the default gives each a copy of the warmed-up tower and a projector fitted to it.
    """
    steps = max(1, round(tokens / TOKENS_PER_BATCH))
    counted = Counted(objective or NextToken())
    run = Run(
        config=configs,
        stages=[Stage(name="main", source=rows or PicoRows(seed), steps=steps, warmup=min(40, steps), decay=round(0.4 * steps))],
        tokens_per_batch=TOKENS_PER_BATCH,
        objective=counted,
        prepare=start or partial(see, out.parent),
        lr=LR,
        weight_decay=0.05,
        seed=seed,
        fuse=False,  # compiling would take longer than it saves
        checkpoint_every_s=1e9,
        picture_every_s=1e9,
        **settings,
    )
    torch.set_num_threads(1)
    before = time.process_time()
    outcome = train(run, out, console=Console(file=(out.parent / f"{out.name}.txt").open("a"), width=120))
    if not outcome.finished:
        raise SystemExit(f"{out.name}: stopped before its end; start it again")
    return Trained(outcome.models, counted, time.process_time() - before)


def see(out: Path, *models: Model) -> None:
    """Give each model a copy of the warmed-up tower, and a projector fitted to it."""
    for model in models:
        model.vision.load_state_dict(load_file(out / "tower.safetensors"))
        pictures = (torch.from_numpy(tiles_of(list(labelled_pictures(77, index, 64).pictures))) for index in range(4))
        fit_projector(model, pictures, rms=1.0)


def warm_tower(out: Path, steps: int = 900) -> dict[str, Any]:
    """Job "tower": `out/tower.safetensors`, for all runs of a claim."""
    torch.set_num_threads(1)
    tower: VisionTower = initialize(Model(scout()), torch.Generator().manual_seed(0)).vision
    before = time.process_time()
    log = out / "tower.jsonl"
    warm_up(
        tower,
        lambda step: labelled_pictures(1, step, 64),
        num=Classes(1 + len(classes()), NUM_COUNTS, len(COLOUR_VALUES), len(LETTERS)),
        steps=steps,
        lr=4e-3,
        log=log,
        console=Console(file=(out / "tower.txt").open("a")),
        fuse=False,
    )
    save_file(tower.state_dict(), out / "tower.safetensors")
    last = json.loads(log.read_text().splitlines()[-1])
    return {"steps": steps, "seconds": time.process_time() - before, "right": {key: last[key] for key in ("whole", "cells")}}


# --- scores -----------------------------------------------------------------------------------------------------------------------


@cache
def held_out_rows() -> list[Row]:
    """48 windows of prose, four a language, and 60 questions of each kind, all from the generators of evaluation."""
    _, _, shards = prepared()
    rows = []
    for language in shards.languages:
        rng = generator("eval", 5, LANGUAGES.index(language))
        places = rng.sample(range(shards.num_windows(language)), min(4, shards.num_windows(language)))
        rows += [Row("text", Stream(shards.window_of(language, place).astype(np.int64)), 1.0, language) for place in places]
    for number, kind in enumerate(PICTURE_KINDS):
        rows += [as_row(picture_row(kind, generator("eval", 6 + number, index))) for index in range(60)]
    return rows


@torch.no_grad()
def held_out(model: Model) -> dict[str, Any]:
    """Bits per byte of prose, nats per answer token on pictures, share of answers right; each kind by itself under `kinds`."""
    nats: dict[str, float] = {}
    count: dict[str, int] = {}
    right: dict[str, list[bool]] = {kind: [] for kind in PICTURE_KINDS}
    for first in range(0, len(held_out_rows()), 24):
        rows = held_out_rows()[first : first + 24]
        batch = Batch.from_streams([row.stream for row in rows])
        pairs = [next_tokens(row.stream) for row in rows]
        targets, weights = (torch.from_numpy(np.concatenate(part)) for part in zip(*pairs, strict=True))
        hidden_TD = hidden_states(model, batch)
        losses = next_token_loss(hidden_TD, model.text.head.weight, targets, weights).cross_entropy_T
        guesses = torch.full_like(targets, -1)
        guesses[weights > 0] = (hidden_TD[weights > 0] @ model.text.head.weight.to(hidden_TD.dtype).T).argmax(-1)
        for row, loss, weight, hit in zip(
            rows, *(part.split(batch.lengths) for part in (losses, weights, guesses == targets)), strict=True
        ):
            nats[row.kind] = nats.get(row.kind, 0.0) + float(loss.sum())
            count[row.kind] = count.get(row.kind, 0) + int((weight > 0).sum())
            if row.kind in right:
                right[row.kind].append(bool(hit[weight > 0].all()))
    num_bytes = sum(len(prepared()[0].decode_bytes(row.stream.token_ids[1:].tolist())) for row in held_out_rows() if row.kind == "text")
    answers = sum(count[kind] for kind in PICTURE_KINDS)
    return {
        "bits_per_byte": nats["text"] / math.log(2) / num_bytes,
        "picture_nats": sum(nats[kind] for kind in PICTURE_KINDS) / answers,
        "right": statistics.mean(hit for hits in right.values() for hit in hits),
        "kinds": {kind: statistics.mean(hits) for kind, hits in right.items()},
    }


# --- runs side by side --------------------------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """One run by name; it starts when the runs it needs are done."""

    name: str
    needs: tuple[str, ...] = ()


def options(description: str, tokens: int) -> argparse.Namespace:
    """The command line that all claims share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, help="where runs and their results go; finished runs there are not run again")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=tokens, help="of a plain run; the others follow from it")
    parser.add_argument("--processes", type=int, default=2, help="runs side by side, one core each")
    parser.add_argument("--report", type=Path, help="only plot and print the results of this file")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser.parse_args()


def main(
    description: str, tokens: int, jobs: Callable[[int], list[Job]], work: Callable[..., dict[str, Any]], report: Callable[..., None]
) -> None:
    """Run what is missing, `processes` at a time, each in a process of its own with one thread; then report."""
    chosen = options(description, tokens)
    claim = Path(sys.argv[0]).stem
    if chosen.job:
        result = warm_tower(chosen.out) if chosen.job == "tower" else work(chosen.out, chosen.job, chosen.tokens)
        partial = chosen.out / f"{chosen.job}.part"
        partial.write_text(json.dumps({"job": chosen.job, **result}))
        partial.replace(chosen.out / f"{chosen.job}.json")
        return
    if chosen.report:
        report({result["job"]: result for result in json.loads(chosen.report.read_text())})
        return
    chosen.out.mkdir(parents=True, exist_ok=True)
    prepared()
    todo = [Job("tower"), *(Job(job.name, ("tower", *job.needs)) for job in jobs(chosen.seeds))]
    results = side_by_side(chosen, todo)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{claim}-{chosen.tokens // 1000}k.json").write_text(
        "[\n" + ",\n".join(json.dumps(result) for result in results.values()) + "\n]\n"
    )
    report(results)


def side_by_side(chosen: argparse.Namespace, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """All results by job, in the order of `jobs`."""

    def file(name: str) -> Path:
        return chosen.out / f"{name}.json"

    waiting = [job for job in jobs if not file(job.name).exists()]
    running: dict[str, tuple[subprocess.Popen[bytes], float]] = {}
    print(f"{len(jobs) - len(waiting)} of {len(jobs)} runs are done already", flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    while waiting or running:
        for job in [job for job in waiting if all(file(need).exists() for need in job.needs)]:
            if len(running) < chosen.processes:
                command = [sys.executable, sys.argv[0], "--out", str(chosen.out), "--tokens", str(chosen.tokens), "--job", job.name]
                running[job.name] = subprocess.Popen(command, env=environment), time.monotonic()
                waiting.remove(job)
        time.sleep(0.5)
        for name, (process, started) in list(running.items()):
            if process.poll() is not None:
                del running[name]
                if process.returncode:
                    raise SystemExit(f"run {name!r} failed with exit status {process.returncode}; see {chosen.out}. Finished runs are kept")
                left = len(waiting) + len(running)
                print(f"{name}: {time.monotonic() - started:.0f} s; {left} to go", flush=True)
    return {job.name: json.loads(file(job.name).read_text()) for job in jobs}


# --- numbers ----------------------------------------------------------------------------------------------------------------------

# Student's t, 97.5 %, by degrees of freedom.
_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


class Interval(NamedTuple):
    """A mean over seeds with the half-width of its 95 % t interval (NaN for one seed)."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ± {self.half:.4f}"

    @property
    def is_nil(self) -> bool:
        """Whether zero lies in the interval."""
        return not abs(self.mean) > self.half


def interval(values: Sequence[float]) -> Interval:
    if len(values) < 2:
        return Interval(statistics.mean(values), math.nan)
    return Interval(statistics.mean(values), _T[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values)))


def paired(results: Mapping[str, dict[str, Any]], arm: str, other: str, read: Callable[[dict[str, Any]], float]) -> Interval:
    """The mean difference `arm - other` over the seeds that both have; runs are called ARM-SEED. Same seed, same data and same start."""
    seeds = [name.rpartition("-")[2] for name in results if name.rpartition("-")[0] == arm]
    return interval([read(results[f"{arm}-{seed}"]) - read(results[f"{other}-{seed}"]) for seed in seeds])


def of_arm(results: Mapping[str, dict[str, Any]], arm: str, read: Callable[[dict[str, Any]], float]) -> Interval:
    return interval([read(result) for name, result in results.items() if name.rpartition("-")[0] == arm])


# --- plots ------------------------------------------------------------------------------------------------------------------------


def figure(columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A figure and its axes side by side, in inches. Needs matplotlib (the extra "claims")."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "puna", "svg.fonttype": "none", "font.size": 8}  # the same bytes each time; text stays text
    from matplotlib import pyplot

    return pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")


def save(drawn: Any, name: str) -> None:
    """`docs/images/claim-NAME.svg`."""
    from matplotlib import pyplot

    drawn.savefig(IMAGES / f"claim-{name}.svg", metadata={"Date": None})
    pyplot.close(drawn)
