"""Training on this machine: tokens a second of a scout-nano step, against the machine's matrix limit and against plain torch.

    python benchmarks/training.py [--steps 6] [--threads 2]

Rounds are interleaved, so that a neighbour on the machine hits all contestants alike: ours; ours with torch's own attention backward and
`grouped_mm`; ours without fused elementwise steps. Prints a card, and one JSON line last.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import puna.model.attention as attention_layer
import puna.model.experts as expert_layer
from puna.config import ModelConfig
from puna.kernels.attention import PackingPlan
from puna.kernels.fusion import fused_elementwise
from puna.model import Batch, Model
from puna.model.count import count_parameters
from puna.model.init import initialize
from puna.model.loss import next_token_loss
from puna.presets import nano_scout
from puna.stream import Stream
from puna.train.optimizer import build_optimizers

TOKENS = 8192


@dataclass(frozen=True)
class Contestant:
    name: str
    fuse: bool
    torch_ops: bool


CONTESTANTS = (
    Contestant("puna", fuse=True, torch_ops=False),
    Contestant("puna, nothing fused", fuse=False, torch_ops=False),
    Contestant("torch's attention backward and grouped_mm", fuse=True, torch_ops=True),
)


def mixed_streams(config: ModelConfig, seed: int) -> list[Stream]:
    """Rows like a nano's: two thirds short ones with a picture, the rest prose; exactly TOKENS tokens."""
    rng = np.random.default_rng(seed)
    assert config.vision is not None
    size, patches = config.vision.tile_size, config.vision.tokens_per_tile
    streams: list[Stream] = []
    room = TOKENS
    while room:
        is_picture = rng.random() < 0.9 and room > 100
        length = int(rng.integers(40, 90)) if is_picture else min(room, int(rng.integers(200, 512)))
        ids = rng.integers(0, config.bos_id, length)
        tiles = None
        if is_picture:
            ids[2 : 2 + patches] = config.patch_id
            tiles = rng.standard_normal((1, 3, size, size)).astype(np.float32)
        streams.append(Stream(ids, tiles))
        room -= length
    return streams


def torch_attention(q: Tensor, k: Tensor, v: Tensor, plan: PackingPlan, scale: float) -> Tensor:
    """The same attention by torch's own kernel, forward and backward, bucket by bucket."""
    groups = q.shape[1] // k.shape[1]
    outputs = []
    for bucket in plan.buckets:
        n, width = bucket.rows.shape
        one, two, three = (x[bucket.rows.flatten()].unflatten(0, (n, width)).transpose(1, 2) for x in (q, k, v))
        two, three = (x.repeat_interleave(groups, dim=1) for x in (two, three))
        out = F.scaled_dot_product_attention(one, two, three, is_causal=True, scale=scale)
        outputs.append(out.transpose(1, 2).flatten(0, 1)[bucket.kept])
    return torch.cat(outputs)[plan.order]


def torch_experts(x: Tensor, expert_ids: Tensor, scores: Tensor, w_gate_up: Tensor, w_down: Tensor) -> Tensor:
    """The same experts by torch's `grouped_mm`, forward and backward."""
    order = torch.argsort(expert_ids, stable=True)
    offsets = torch.bincount(expert_ids, minlength=w_gate_up.shape[0]).cumsum(0).to(torch.int32)
    gate, up = F.grouped_mm(x[order] * scores[order, None], w_gate_up, offs=offsets).chunk(2, dim=-1)
    y = F.grouped_mm(F.silu(gate) * up, w_down, offs=offsets)
    return torch.empty_like(y).index_copy(0, order, y)


@contextmanager
def ops(contestant: Contestant) -> Iterator[None]:
    """Put a contestant's ops in place."""
    with fused_elementwise(contestant.fuse):
        if not contestant.torch_ops:
            yield
            return
        swap = patch.object
        with swap(attention_layer, "packed_attention", torch_attention), swap(expert_layer, "grouped_experts", torch_experts):
            yield


class Trainer:
    """One contestant's model and optimisers."""

    def __init__(self, contestant: Contestant, config: ModelConfig) -> None:
        self.contestant = contestant
        self.model = initialize(Model(config), torch.Generator().manual_seed(0))
        self.optimizers = build_optimizers(self.model, lr=1e-3, weight_decay=0.0)

    def step(self, batch: Batch) -> float:
        """Seconds of one whole step."""
        started = time.perf_counter()
        targets = batch.token_ids.roll(-1) % self.model.config.bos_id
        with ops(self.contestant):
            with torch.autocast("cpu", torch.bfloat16):
                hidden = self.model(batch).to(torch.bfloat16)
            next_token_loss(hidden, self.model.text.head.weight, targets, torch.ones(len(batch)), 1e-4).total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return time.perf_counter() - started


def matmul_gflops() -> float:
    """The machine's bf16 limit at the size of one large product."""
    a, b = torch.randn(4096, 1024, dtype=torch.bfloat16), torch.randn(1024, 1024, dtype=torch.bfloat16)
    seconds = best_seconds(lambda: a @ b, 20)
    return 2 * 4096 * 1024 * 1024 / seconds / 1e9


def best_seconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tokens a second of a scout-nano training step.")
    parser.add_argument("--steps", type=int, default=6, help="timed rounds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "30000")  # as `puna.train` does: kernels of all contestants stay compiled
    config = nano_scout()
    trainers = [Trainer(contestant, config) for contestant in CONTESTANTS]
    batches = [Batch.from_streams(mixed_streams(config, seed)) for seed in range(2)]
    seconds: dict[str, list[float]] = {contestant.name: [] for contestant in CONTESTANTS}
    limit = matmul_gflops()
    for round_number in range(len(batches) + options.steps):
        for trainer in trainers:
            taken = trainer.step(batches[round_number % len(batches)])
            if round_number >= len(batches):
                seconds[trainer.contestant.name].append(taken)
    flops = 6 * count_parameters(config).active_without_embedding * TOKENS
    rates = {name: TOKENS / float(np.median(taken)) for name, taken in seconds.items()}
    ours = rates["puna"]
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {options.threads} threads, torch {torch.__version__}; bf16 matmul limit {limit:,.0f} GFLOP/s")
    for name, rate in rates.items():
        print(f"  {name:44s} {rate:8,.0f} tokens/s   puna is {ours / rate:.2f} x")
    share = flops / TOKENS * ours / 1e9 / limit
    print(f"  the step's products (text part) use {share:.0%} of the limit")
    rounded = {name: round(rate) for name, rate in rates.items()}
    print(json.dumps({"tokens_per_s": rounded, "limit_gflops": round(limit), "share_of_limit": round(share, 3)}))


if __name__ == "__main__":
    main()
