"""Training steps on this machine: against `transformers`' Llama 4, and against the machine's limit.

    python benchmarks/train_step.py [--rounds 5] [--threads 2] [--device cpu] [--skip-peer]

Forward and backward in the machine's fast precision (bf16 where it has products in it), no optimiser. Rounds are interleaved, so that a
neighbour on the machine hits all contestants alike, and the limit (the best large product in that precision) is measured in every round.
Three shapes: *tiny* (width 256, 4 layers, 16 experts, text; the peer runs it too, on the same tokens), *scout-nano* with its pictures, and
*width 512*. Counted as work are the products of forward and backward that the result needs: weights that a token meets, and the causal
half of attention. On a GPU the step is first checked against the CPU's. Prints a card, and one JSON line last.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from puna.config import ModelConfig, every_nth_layer
from puna.kernels.attention import segments
from puna.kernels.fusion import fused_elementwise
from puna.kernels.precision import fast_dtype, training_precision
from puna.model import Batch, Model
from puna.model.count import count_parameters
from puna.model.init import initialize
from puna.model.loss import next_token_loss
from puna.presets import nano_scout
from puna.stream import Stream
from puna.train.machine import matmul_limit
from puna.train.optimizer import build_optimizers

TOKENS = 8192


def tiny() -> ModelConfig:
    """The peer's shape: width 256, 4 layers, 4 heads, 1 key head, 16 experts of 256, dense 512."""
    shape = dict(width=256, num_layers=4, num_heads=4, num_kv_heads=1, expert_width=256, dense_width=512, num_experts=16)
    pattern = dict(moe_layers=every_nth_layer(1, 4), nope_layers=every_nth_layer(4, 4), vision=None, chunk=8192, floor_scale=8192.0)
    return replace(nano_scout(), name="tiny", **shape, **pattern)


def wide() -> ModelConfig:
    """scout-nano's pattern at width 512."""
    return replace(nano_scout(), name="width 512", width=512, num_heads=8, num_kv_heads=2, expert_width=768, dense_width=1536)


def prose_streams(config: ModelConfig, rows: int, length: int) -> list[Stream]:
    rng = np.random.default_rng(0)
    return [Stream(rng.integers(0, config.bos_id, length)) for _ in range(rows)]


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


def needed_flops(config: ModelConfig, batch: Batch) -> float:
    """Products of forward and backward (three times the forward's) that this batch needs."""
    counts = count_parameters(config)
    forward = 2.0 * counts.active_without_embedding * len(batch)
    for layer in config.layers():
        lengths = np.array(segments(batch.lengths, batch.first_positions, layer.chunk).lengths, dtype=np.float64)
        forward += 2 * 2 * config.num_heads * config.head_width * float((lengths * (lengths + 1) / 2).sum())
    if config.vision is not None and batch.tiles is not None:
        vision, tiles, parts = config.vision, len(batch.tiles), counts.parts
        patches = vision.patches_per_side**2 + 1
        forward += 2.0 * tiles * (parts["vision"] * patches + (parts["adapter"] + parts["projector"]) * vision.tokens_per_tile)
        forward += 2.0 * 2 * tiles * vision.num_layers * vision.width * patches**2
    return 3 * forward


@dataclass
class Contestant:
    """One way to run a step: forward and backward of a batch; `seconds` of each timed round."""

    name: str
    tokens: int
    flops: float
    step: Callable[[], None]
    seconds: list[float] = field(default_factory=list)

    def run(self) -> float:
        started = time.perf_counter()
        self.step()
        return time.perf_counter() - started

    @property
    def rate(self) -> float:
        """Tokens a second, median round."""
        return self.tokens / float(np.median(self.seconds))


def loss_of(model: Model, batch: Batch) -> Tensor:
    """The loss of one batch whose every token is scored, ready for its backward."""
    device = batch.token_ids.device
    dtype = fast_dtype(device.type)
    targets = batch.token_ids.roll(-1) % model.config.bos_id
    with training_precision(device.type):
        hidden = model(batch).to(dtype)
    return next_token_loss(hidden, model.text.head.weight, targets, torch.ones(len(batch), device=device), 1e-4).total


def check_device(streams: list[Stream], device: str) -> None:
    """Loss and gradients of scout-nano on `device` against the CPU's plain fp32."""
    results = []
    for where in ("cpu", device):
        model = initialize(Model(nano_scout()), torch.Generator().manual_seed(0)).to(where)
        loss = loss_of(model, Batch.from_streams(streams, device=where))
        loss.backward()
        results.append((float(loss), {name: p.grad.float().cpu() for name, p in model.named_parameters() if p.grad is not None}))
    (loss, grads), (other_loss, other_grads) = results
    worst = max((float((grads[name] - other_grads[name]).norm() / grads[name].norm().clamp(min=1e-12)), name) for name in grads)
    print(
        f"{device} against cpu: loss {other_loss:.4f} and {loss:.4f}; largest relative difference of a gradient {worst[0]:.1%} ({worst[1]})"
    )
    if abs(loss - other_loss) > 0.02 or worst[0] > 0.2:
        raise SystemExit(f"the step on {device} is not the CPU's: see the line above")


def ours(config: ModelConfig, batches: list[Batch], with_optimizer: bool = False) -> Contestant:
    device = batches[0].token_ids.device
    model = initialize(Model(config), torch.Generator().manual_seed(0)).to(device)
    optimizers = build_optimizers(model, lr=1e-3, weight_decay=0.0)
    turn = 0

    def step() -> None:
        nonlocal turn
        batch = batches[turn % len(batches)]
        turn += 1
        with fused_elementwise():
            loss_of(model, batch).backward()
        for optimizer in optimizers:
            if with_optimizer:
                optimizer.step()
            optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    flops = float(np.mean([needed_flops(config, batch) for batch in batches]))
    return Contestant(config.name + (", with Muon and AdamW" if with_optimizer else ""), len(batches[0]), flops, step)


def peer(config: ModelConfig, streams: list[Stream], device: str) -> Contestant:
    """`transformers` at the same configuration, on the same tokens."""
    from transformers.models.llama4.configuration_llama4 import Llama4TextConfig
    from transformers.models.llama4.modeling_llama4 import Llama4ForCausalLM

    from puna.checkpoint.config_hf import config_to_hf

    settings = config_to_hf(config)
    model = Llama4ForCausalLM(Llama4TextConfig(**settings.get("text_config", settings))).train()
    model.to(device)  # pyright: ignore[reportArgumentType]
    ids = torch.from_numpy(np.stack([stream.token_ids for stream in streams])).to(device)

    def step() -> None:
        with training_precision(device):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        model.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return Contestant("transformers, tiny", ids.numel(), needed_flops(config, Batch.from_streams(streams)), step)


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps against transformers and against the machine's limit.")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds, after two that warm up")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--skip-peer", action="store_true", help="without transformers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "30000")  # as `puna.train` does: kernels of all contestants stay compiled
    if options.device != "cpu":
        check_device(mixed_streams(nano_scout(), 0), options.device)
    prose = prose_streams(tiny(), 4, 512)
    nano = [Batch.from_streams(mixed_streams(nano_scout(), seed), device=options.device) for seed in range(2)]
    contestants = [
        ours(tiny(), [Batch.from_streams(prose, device=options.device)]),
        ours(nano_scout(), nano),
        ours(nano_scout(), nano, with_optimizer=True),
        ours(wide(), nano),
    ]
    if not options.skip_peer:
        contestants.insert(1, peer(tiny(), prose, options.device))
    limit = 0.0
    for place in range(2 + options.rounds):
        for contestant in contestants:
            taken = contestant.run()
            if place >= 2:
                contestant.seconds.append(taken)
        limit = max(limit, matmul_limit(options.device))
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}")
    precision = str(fast_dtype(options.device)).removeprefix("torch.")
    print(f"{precision} matmul limit {limit / 1e9:,.0f} GFLOP/s")
    results = {}
    for each in contestants:
        share = each.flops / each.tokens * each.rate / limit
        results[each.name] = {"tokens_per_s": round(each.rate), "share_of_limit": round(share, 3)}
        print(f"  {each.name:34s} {each.rate:8,.0f} tokens/s   {share:5.1%} of the limit")
    summary: dict[str, object] = {"precision": precision, "limit_gflops": round(limit / 1e9), "steps": results}
    if not options.skip_peer:
        ratio = contestants[0].rate / contestants[1].rate
        summary["times_transformers"] = round(ratio, 2)
        print(f"  tiny: {ratio:.2f} x transformers")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
