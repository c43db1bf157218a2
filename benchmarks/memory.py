"""What the engine's memory report promises, measured: weights, pools, pages in use, workspace, smaller pages, and the edge.

    python benchmarks/memory.py [--only run] [--threads 2] [--model scout-nano]

- *start*: the report, and how far resident memory grew when weights and pools were made;
- *run*: 32 streams of 50 to 4,000 tokens, eight of which begin alike. Pages are counted in the pools after every step; the most that each
  stream held is compared with `Plan.stream_bytes`, its pages shared with others counted once. What remains of the growth of resident
  memory is workspace. And what the same streams would take in a plain cache, all tokens in all layers;
- *pages*: keys and values in bf16 and int8 against fp32: bytes a token, distributions of the next token, greedy answers. The largest
  differences stand where rounding turns a router's choice of expert;
- *edge*: far more requests than fit: who waits, is preempted, is refused; all others finish.

Exit code 1 if weights and pools, or pages in use, are more than 5 % from what the report says, if a page is lost, or if a request dies.
Resident memory is anonymous memory, from /proc (Linux). Prints a card, and one JSON line last.
"""

import argparse
import ctypes
import gc
import json
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import puna
from puna.config import ModelConfig
from puna.engine import CapacityError, Engine, Generation, Plan, Request, Sampling, Settings
from puna.engine.memory import KVDtype
from puna.engine.pages import SequencePages
from puna.engine.storage import bytes_per_token
from puna.model import Batch, Model
from puna.pipeline import Pipeline
from puna.stream import Stream

BOUND = 0.05
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much is measured. Lengths in tokens."""

    streams: int = 32
    lengths: tuple[int, int] = (50, 4000)
    alike: int = 8
    beginning: int = 1024
    prompts: int = 8
    prompt: int = 600
    answer: int = 64
    edge_requests: int = 64
    edge_lengths: tuple[int, int] = (50, 2000)
    edge_tokens: int = 6000
    edge_answer: int = 64


class Report(NamedTuple):
    """A section's card and its figures."""

    lines: list[str]
    figures: dict[str, Any]
    is_sound: bool = True


def resident() -> tuple[int, int]:
    """Bytes of anonymous and of all resident memory of this process. Torch's own code, which is read in as it is used, is in the latter."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    anonymous, whole = (re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE) for name in ("RssAnon", "VmRSS"))
    if anonymous is None or whole is None:
        raise SystemExit("resident memory is read from /proc/self/status, which has no RssAnon here; run this on Linux")
    return int(anonymous[1]) * 1024, int(whole[1]) * 1024


def settled() -> int:
    """Anonymous resident memory once what nobody uses is back with the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps freed memory else
    if trim is not None:
        trim(0)
    return resident()[0]


def mib(num_bytes: float) -> str:
    return f"{num_bytes / (1 << 20):,.1f} MiB"


def off(measured: float, promised: float) -> float:
    """How far from the promise, as a share of it."""
    return measured / promised - 1


def random_ids(config: ModelConfig, rng: np.random.Generator, length: int) -> np.ndarray:
    return rng.integers(0, config.bos_id, length).astype(np.int64)


def start(load: Callable[[], Model], settings: Settings) -> tuple[Engine, Report]:
    """Make weights and pools, and look at what that took."""
    before = settled()
    model = load()
    with_weights = settled()
    engine = Engine(model, settings)
    with_pools = settled()
    plan = engine.plan
    assert engine.memory.num_bytes == plan.kv_bytes, f"pools of {engine.memory.num_bytes} bytes, {plan.kv_bytes} were planned"
    weights, pools = with_weights - before, with_pools - with_weights
    apart = off(weights + pools, plan.weight_bytes + plan.kv_bytes)
    lines = ["start: the report", *(f"  | {line}" for line in plan.report().splitlines())]
    lines.append(
        f"  resident memory grew by {mib(weights)} for weights and tokenizer (report {mib(plan.weight_bytes)}) "
        f"and by {mib(pools)} for pools (report {mib(plan.kv_bytes)}): {apart:+.1%} together"
    )
    figures = {
        "weight_bytes": plan.weight_bytes,
        "kv_bytes": plan.kv_bytes,
        "weight_growth": weights,
        "kv_growth": pools,
        "apart": round(apart, 4),
    }
    return engine, Report(lines, figures, abs(apart) <= BOUND)


def mixed_prompts(config: ModelConfig, sizes: Sizes, rng: np.random.Generator) -> list[Stream]:
    """Prompts of evenly spread lengths. The longest `alike` begin with the same tokens, one of them first in line."""
    lengths = np.linspace(*sizes.lengths, sizes.streams).astype(int)[::-1]
    beginning = random_ids(config, rng, sizes.beginning)
    assert lengths[sizes.alike - 1] > sizes.beginning, "prompts that begin alike are longer than their beginning"
    prompts = []
    for place, length in enumerate(lengths):
        ids = random_ids(config, rng, length)
        if place < sizes.alike:
            ids[: sizes.beginning] = beginning
        prompts.append(Stream(ids))
    return prompts


@dataclass(slots=True)
class Held:
    """The most pages that each stream held between two steps, by the generation's number; global and local."""

    most: dict[int, list[int]] = field(default_factory=dict)
    lost: int = 0

    def look(self, engine: Engine) -> int:
        """Count pages; returns the bytes that running streams hold now, shared ones once."""
        used = {"global": set[int](), "local": set[int]()}
        for sequence in engine.scheduler.running:
            local = [page for pages in sequence.pages.local_pages.values() for page in pages]
            most = self.most.setdefault(sequence.generation.id, [0, 0])
            most[:] = max(most[0], len(sequence.pages.global_pages)), max(most[1], len(local))
            used["global"].update(sequence.pages.global_pages)
            used["local"].update(local)
        for kind, pool in engine.memory.pools.items():
            self.lost += abs(pool.num_pages - pool.num_free - engine.memory.prefixes.num_spare(kind) - len(used[kind]))
        return len(used["global"]) * engine.plan.global_page_bytes + len(used["local"]) * engine.plan.local_page_bytes


def plain_bytes(plan: Plan, config: ModelConfig, num_tokens: int) -> int:
    """Keys and values of one sequence in a cache that keeps all tokens in all layers."""
    return num_tokens * config.num_layers * bytes_per_token(config, plan.kv_dtype)


def run(engine: Engine, sizes: Sizes) -> Report:
    """Mixed streams, until each has decoded through a whole chunk, so that each has held the most that its length allows."""
    config, plan, layout = engine.config, engine.plan, engine.plan.layout
    prompts = mixed_prompts(config, sizes, np.random.default_rng(0))
    decoded = (layout.chunk or 0) + layout.tokens_per_page
    before, before_whole = resident()
    peak, held, num_steps, began = before, Held(), 0, time.perf_counter()
    endless = Sampling(max_tokens=config.max_positions)
    generations = [engine.submit(Request(prompt=prompts[0], sampling=endless))]
    while not all(len(generation.token_ids) > decoded for generation in generations) or len(generations) < len(prompts):
        engine.step()
        num_steps += 1
        held.look(engine)
        peak = max(peak, resident()[0])
        if generations[0].token_ids and len(generations) == 1:  # the others find its beginning kept
            generations += [engine.submit(Request(prompt=prompt, sampling=endless)) for prompt in prompts[1:]]
    taken = time.perf_counter() - began
    after_whole = resident()[1]
    shared_bytes = sum(g.cached_tokens for g in generations) // layout.tokens_per_page * plan.global_page_bytes
    lengths = [each.num_computed for each in engine.scheduler.running]
    assert len(lengths) == len(prompts), "streams were preempted: the machine has too little memory for this run"
    promised = sum(map(plan.stream_bytes, lengths))
    most = sum(held.most[g.id][0] * plan.global_page_bytes + held.most[g.id][1] * plan.local_page_bytes for g in generations)
    now, plain = held.look(engine), sum(plain_bytes(plan, config, length) for length in lengths)
    apart = off(most - shared_bytes, promised - shared_bytes)
    at_once = off(now, promised - shared_bytes)
    engine.cancel_all()
    workspace = peak - before
    lines = [
        f"run: {len(prompts)} streams of {min(lengths):,} to {max(lengths):,} tokens, {sizes.alike} with the same first "
        f"{sizes.beginning:,}; {num_steps:,} steps, {taken:.0f} s",
        f"  pages: the most each held {mib(most - shared_bytes)}, promised {mib(promised - shared_bytes)} ({apart:+.1%}); "
        f"sharing saves {mib(shared_bytes)}; pages lost: {held.lost}",
        f"  at the last step {mib(now)} ({at_once:+.1%}): the promise counts a full chunk a stream, and chunks are open at all places",
        f"  resident memory beyond weights and pools: {mib(workspace)} of workspace at the peak; "
        f"with code read in as it was used, {mib(before_whole)} before and {mib(after_whole)} after",
        f"  a plain cache (all tokens, all layers): {mib(plain)}, {plain / promised:.2f} x the promise without sharing, "
        f"{plain / now:.2f} x the pages in use",
    ]
    figures = {
        "held_bytes": most - shared_bytes,
        "promised_bytes": promised - shared_bytes,
        "apart": round(apart, 4),
        "held_at_the_end": now,
        "apart_at_the_end": round(at_once, 4),
        "shared_bytes": shared_bytes,
        "lost_pages": held.lost,
        "workspace_bytes": workspace,
        "plain_cache_bytes": plain,
        "plain_over_promised": round(plain / promised, 3),
    }
    return Report(lines, figures, abs(apart) <= BOUND and not held.lost)


def paged_logits(engine: Engine, ids: np.ndarray, piece: int = 64) -> Tensor:
    """Logits `[T, V]` of a text whose keys and values go through the pages of an engine that keeps no prefixes."""
    memory, pages, logits = engine.memory, SequencePages(engine.plan.layout), []
    try:
        for first in range(0, len(ids), piece):
            part = Stream(ids[first : first + piece])
            assert memory.reserve(pages, first, first + len(part)), "the text does not fit into the pools"
            batch = Batch.from_streams([part], [first])
            engine.runner.cache.plan([pages], batch)
            with torch.inference_mode():
                logits.append(engine.model.logits(engine.model(batch, engine.runner.cache)).float())
            memory.commit(pages, (), first, first + len(part))
    finally:
        memory.release(pages)
    return torch.cat(logits)


class Apart(NamedTuple):
    """How far distributions of the next token lie from exact ones: KL in nats, logits, and the share whose best token is the same."""

    kl_mean: float
    kl_most: float
    logit_most: float
    same_best: float


def apart_from(exact: list[Tensor], other: list[Tensor]) -> Apart:
    p, q = torch.cat(exact), torch.cat(other)
    kl_T = (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)
    return Apart(float(kl_T.mean()), float(kl_T.max()), float((p - q).abs().max()), float((p.argmax(-1) == q.argmax(-1)).float().mean()))


def common_start(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))


def smaller_pages(model: Model, prompts: list[np.ndarray], sizes: Sizes) -> Report:
    """Pages in bf16 and int8 against fp32 ones, under the same model, on texts."""
    logits: dict[str, list[Tensor]] = {}
    answers: dict[str, list[list[int]]] = {}
    per_token: dict[str, int] = {}
    for dtype in ("float32", "bfloat16", "int8"):
        name: KVDtype = dtype
        room = sizes.prompts * (len(prompts[0]) + sizes.answer + 64) * model.config.num_layers
        kv_bytes = room * bytes_per_token(model.config, torch.float32)
        engine = Engine(model, Settings(max_streams=sizes.prompts, kv_dtype=name, kv_bytes=kv_bytes, keep_prefixes=False))
        per_token[name] = bytes_per_token(model.config, engine.plan.kv_dtype) * model.config.num_layers
        logits[name] = [paged_logits(engine, ids) for ids in prompts]
        requests = [Request(prompt=Stream(ids), sampling=Sampling(max_tokens=sizes.answer)) for ids in prompts]
        answers[name] = engine.generate(requests)
    places, most = sum(map(len, prompts)), per_token["float32"]
    lines = [f"pages: {len(prompts)} texts, {places:,} places; answers of {sizes.answer} tokens; float32 takes {most:,} B a token"]
    figures: dict[str, Any] = {"float32": {"bytes_per_token": most}}
    for name in ("bfloat16", "int8"):
        apart = apart_from(logits["float32"], logits[name])
        agreed = [common_start(*pair) for pair in zip(answers["float32"], answers[name], strict=True)]
        whole = sum(length == sizes.answer for length in agreed)
        lines.append(
            f"  {name:8s} {per_token[name]:6,} B a token ({per_token[name] / most:.0%}); KL {apart.kl_mean:.1e} nats "
            f"(most {apart.kl_most:.1e}), logits within {apart.logit_most:.3f}, best token {apart.same_best:.2%} the same; "
            f"{whole} of {len(agreed)} greedy answers the same throughout, {np.mean(agreed):.0f} tokens on average"
        )
        figures[name] = {"bytes_per_token": per_token[name], **{key: float(f"{value:.4g}") for key, value in apart._asdict().items()}}
        figures[name] |= {"same_answers": whole, "answers": len(agreed), "same_tokens_mean": round(float(np.mean(agreed)), 1)}
    return Report(lines, figures)


def edge(model: Model, sizes: Sizes) -> Report:
    """Far more requests than fit into small pools, some of which never could."""
    config = model.config
    probe = Engine(model, Settings(max_streams=sizes.streams, kv_bytes=None)).plan
    layout = probe.layout
    # Room for so many tokens in global layers, and as much for local ones: pools are cut in halves at most.
    kv_bytes = 2 * max(
        layout.pages_for(sizes.edge_tokens) * probe.global_page_bytes, layout.num_local(config.max_positions) * probe.local_page_bytes
    )
    engine = Engine(model, Settings(max_streams=sizes.streams, kv_bytes=kv_bytes))
    rng = np.random.default_rng(3)
    lengths = rng.integers(*sizes.edge_lengths, sizes.edge_requests)
    too_long = min(engine.plan.tokens_per_stream, config.max_positions - 1)
    lengths[:: max(1, len(lengths) // 4)] = too_long
    before, peak, waiting, refused, running = settled(), 0, 0, 0, 0
    generations: list[Generation] = []
    began = time.perf_counter()
    for length in lengths:
        try:
            sampling = Sampling(max_tokens=sizes.edge_answer)
            generations.append(engine.submit(Request(prompt=Stream(random_ids(config, rng, int(length))), sampling=sampling)))
        except CapacityError:
            refused += 1
    held = Held()
    while engine.has_work:
        engine.step()
        held.look(engine)
        waiting, running = max(waiting, len(engine.scheduler.waiting)), max(running, len(engine.scheduler.running))
        peak = max(peak, resident()[0])
    finished = sum(g.finish_reason == "length" and g.error is None for g in generations)
    died = len(generations) - finished
    tokens = sum(len(g.token_ids) for g in generations)
    asked = sum(engine.plan.stream_bytes(len(g.request.prompt) + len(g.token_ids)) for g in generations)
    preempted, taken = engine.counters.preempted, time.perf_counter() - began
    lines = [
        f"edge: {len(lengths)} requests at once, {asked / engine.plan.kv_bytes:.1f} x what the pools hold ({mib(engine.plan.kv_bytes)}, "
        f"{engine.plan.tokens_per_stream:,} tokens of one stream)",
        f"  {finished} finished ({tokens:,} tokens, {taken:.0f} s), {died} died, {refused} refused as too long for the memory; "
        f"at most {running} ran and {waiting} waited, {preempted} preemptions; pages lost: {held.lost}",
        f"  resident memory at its peak {mib(peak)}: {mib(peak - before)} above the start",
    ]
    figures = {
        "requests": len(lengths),
        "asked_over_pools": round(asked / engine.plan.kv_bytes, 2),
        "finished": finished,
        "died": died,
        "refused": refused,
        "most_running": running,
        "most_waiting": waiting,
        "preempted": preempted,
        "lost_pages": held.lost,
        "peak_rss": peak,
        "growth": peak - before,
    }
    return Report(lines, figures, not died and not held.lost)


def texts_of(pipeline: Pipeline, sizes: Sizes) -> list[np.ndarray]:
    """Beginnings of this repository's pages, as ids."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(_ROOT.glob("docs/*.md"))]
    ids = np.array(pipeline.tokenizer.encode("\n".join(pages)), dtype=np.int64)
    starts = np.linspace(0, len(ids) - sizes.prompt, sizes.prompts).astype(int)
    return [np.concatenate([[pipeline.config.bos_id], ids[first : first + sizes.prompt - 1]]) for first in starts]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The engine's memory against its report.")
    parser.add_argument("--model", default="scout-nano", help="a shipped name or a directory")
    parser.add_argument("--only", action="append", choices=("run", "pages", "edge"), help="beside the start; may be repeated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    sizes, pipelines = Sizes(), []

    def load() -> Model:
        pipelines.append(puna.load(options.model))
        return pipelines[0].model

    puna.load(options.model)  # once for nothing: what Python and torch keep for themselves is there already
    engine, first = start(load, Settings(max_streams=sizes.streams))
    (pipeline,) = pipelines
    print(f"{pipeline.name}; {platform.processor() or platform.machine()}, {options.threads} threads, torch {torch.__version__}")
    sections: dict[str, Callable[[], Report]] = {
        "run": lambda: run(engine, sizes),
        "pages": lambda: smaller_pages(pipeline.model, texts_of(pipeline, sizes), sizes),
        "edge": lambda: edge(pipeline.model, sizes),
    }
    summary: dict[str, Any] = {"model": pipeline.name, "start": first.figures}
    print("\n".join(first.lines), flush=True)
    is_sound = first.is_sound
    for name, section in sections.items():
        if not options.only or name in options.only:
            report = section()
            print("\n".join(report.lines), flush=True)
            summary[name] = report.figures
            is_sound &= report.is_sound
    print(json.dumps(summary))
    if not is_sound:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
