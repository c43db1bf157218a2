"""Muon against AdamW alone, and balancing against none, on a pico model of Scout's shape: prose in 12 languages, one core, some minutes.

    OMP_NUM_THREADS=1 python benchmarks/optimizers.py [--steps 150] [--seeds 3]

Each optimiser first gets the best of its learning rates (another seed, the same steps); then every arm runs with each seed on the same
batches. Prints a card with means and 95 % intervals, and one JSON line last. Scores: nats a token on held-out prose after the decay, and
the load of the experts while training (the mean of the log's lines).
"""

import argparse
import io
import json
import math
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.console import Console

from puna.data.chance import generator
from puna.data.pack import TextShards, prepare
from puna.model import Batch, Model
from puna.model.loss import next_token_loss
from puna.presets import pico_scout
from puna.stream import Stream
from puna.train import Run, Stage, train
from puna.train.objective import hidden_states
from puna.train.optimizer import OptimizerName
from puna.train.packing import Row, next_tokens

NUM_RANKS = 2048
TOKENS_PER_BATCH = 2048
HELD_OUT_WINDOWS = 64
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantiles by number of seeds


@dataclass(frozen=True)
class Prose:
    """Windows of 128 stored tokens; the seed is the run's."""

    shards: TextShards
    seed: int

    def row(self, index: int) -> Row:
        return Row("text", Stream(self.shards.window(generator("train", self.seed, index), 128).astype(np.int64)))

    def filler(self, index: int, num_tokens: int) -> Row:
        rng = generator("train", self.seed + 1000, index)
        windows = [self.shards.window(rng, num_tokens)]
        while (missing := num_tokens - sum(map(len, windows))) > 0:
            windows.append(self.shards.window(rng, missing))
        return Row("text", Stream(np.concatenate(windows).astype(np.int64)))


class Arm(NamedTuple):
    """One way to train."""

    name: str
    optimizer: OptimizerName
    rates: tuple[float, ...]
    balance_rate: float = 1e-2


class Score(NamedTuple):
    held_out: float
    entropy: float
    largest_share: float
    dead: float
    seconds: float


ARMS = (
    Arm("Muon and AdamW", "muon", (4e-3, 8e-3, 16e-3)),
    Arm("AdamW alone", "adamw", (2e-3, 4e-3, 8e-3)),
    Arm("Muon, nothing balanced", "muon", (), balance_rate=0.0),
)


def measure(arm: Arm, rate: float, seed: int, steps: int, shards: TextShards, held_out: TextShards) -> Score:
    """Train one model and score it."""
    stage = Stage(name="prose", steps=steps, warmup=max(1, steps // 15), decay=steps // 3, source=Prose(shards, seed))
    run = Run(
        config=pico_scout(NUM_RANKS),
        stages=[stage],
        tokens_per_batch=TOKENS_PER_BATCH,
        lr=rate,
        optimizer=arm.optimizer,
        weight_decay=0.05,
        balance_rate=arm.balance_rate,
        seed=seed,
        fuse=False,  # losses are compared, not speed: nothing to wait for a compiler
        checkpoint_every_s=math.inf,
    )
    with tempfile.TemporaryDirectory() as directory:
        started = time.process_time()
        model = train(run, Path(directory), console=Console(file=io.StringIO())).model
        seconds = time.process_time() - started
        lines = [json.loads(line) for line in (Path(directory) / "log.jsonl").read_text().splitlines()]

    def mean(key: str) -> float:
        return statistics.fmean(line[key] for line in lines)

    return Score(held_out_loss(model, held_out), mean("router_entropy"), mean("largest_expert_share"), mean("dead_experts"), seconds)


@torch.no_grad()
def held_out_loss(model: Model, shards: TextShards) -> float:
    """Nats a token."""
    streams = [Stream(shards.window(generator("eval", 0, place), 128).astype(np.int64)) for place in range(HELD_OUT_WINDOWS)]
    targets, weights = (np.concatenate(parts) for parts in zip(*map(next_tokens, streams), strict=True))
    hidden_TD = hidden_states(model, Batch.from_streams(streams))
    return float(next_token_loss(hidden_TD, model.text.head.weight, torch.from_numpy(targets), torch.from_numpy(weights)).total)


def interval(values: list[float]) -> str:
    """Mean and half of the 95 % interval."""
    if len(values) < 2:
        return f"{values[0]:.4f}"
    half = _STUDENT.get(len(values), 1.96) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.fmean(values):.4f} ± {half:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Muon against AdamW alone, and balancing against none.")
    parser.add_argument("--steps", type=int, default=150, help="of 2,048 tokens")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=Path("data_cache/pico"), help="tokenizer and shards; made if they are not there")
    options = parser.parse_args()
    _, shards = prepare(options.data, NUM_RANKS, max_bytes_per_language=1_000_000)
    held_out = TextShards(options.data, "held_out")

    def run(arm: Arm, rate: float, seed: int) -> Score:
        score = measure(arm, rate, seed, options.steps, shards, held_out)
        print(f"  {arm.name:24s} lr {rate:<7g} seed {seed}: {score.held_out:.4f} nats, {score.seconds:.0f} s", flush=True)
        return score

    best: dict[OptimizerName, float] = {}
    for arm in ARMS:
        if arm.rates:
            tried = {rate: run(arm, rate, 100).held_out for rate in arm.rates}
            best[arm.optimizer] = min(tried, key=lambda rate: tried[rate])
    scores = {arm.name: [run(arm, best[arm.optimizer], seed) for seed in range(options.seeds)] for arm in ARMS}
    tokens = options.steps * TOKENS_PER_BATCH
    print(f"{tokens:,} tokens a run, {options.seeds} seeds, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for arm in ARMS:
        of_arm = scores[arm.name]
        entropy, share, dead = (statistics.fmean(values) for values in list(zip(*of_arm, strict=True))[1:4])
        print(
            f"  {arm.name:24s} lr {best[arm.optimizer]:<7g} held out {interval([score.held_out for score in of_arm])} nats; load: entropy "
            f"{entropy:.3f}, largest share {share:.2f}, dead {dead:.1f}; {statistics.fmean(score.seconds for score in of_arm):.0f} CPU s"
        )
    pairs = zip(scores[ARMS[0].name], scores[ARMS[1].name], strict=True)
    print(f"  AdamW alone minus Muon, seed by seed: {interval([other.held_out - one.held_out for one, other in pairs])} nats")
    named = {name: [score._asdict() for score in of_arm] for name, of_arm in scores.items()}
    print(json.dumps({"tokens": tokens, "lr": best, "scores": named}))


if __name__ == "__main__":
    main()
