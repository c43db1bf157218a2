"""The engine on this machine: tokens a second by number of streams, how long anybody waits, and what its options cost or gain.

    python benchmarks/throughput.py [--only decode] [--rounds 5] [--threads 2] [--model scout-nano] [--bf16]

Sections, each to be chosen with --only (several times, if need be):

- *decode*: 1 to 32 streams of mixed lengths, every fourth with a picture, beside the naive loop (`puna.engine.generate`), one stream;
- *stall*: eight streams run while a prompt of 4,096 tokens comes in: the longest time between two of their tokens, for pieces of 128
  tokens, of 512 (the default), and for the prompt in one piece;
- *invariant*: what `Settings(batch_invariant=True)` costs, decoding and on a prompt of 512 tokens;
- *prefix*: time to the first token, and the same prompt again when its pages are kept;
- *speculation*: `PromptLookup` on a text that repeats itself and on tales that do not. Exit code 1 if it changes a token.

--bf16 adds a section: the rate in bf16, and near ties (greedy choices within bf16 rounding). On a CPU without bf16 products it is slow.
Rounds are interleaved, so that a neighbour on the machine hits all contestants alike; one that warms up is not counted. Figures are
medians over rounds, ratios medians of each round's ratio. Beside busy neighbours measure with --threads 1: torch's threads wait for the
slowest. Prints a card, and one JSON line last.
"""

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

import puna
from puna.config import ModelConfig
from puna.engine import Engine, Generation, PromptLookup, Request, Sampling, Settings, generate
from puna.model import Model
from puna.pipeline import Pipeline
from puna.stream import Stream

SECTIONS = ("decode", "stall", "invariant", "prefix", "speculation")
# What a nano knows how to say, so that its greedy answer is text, and no loop.
_TALE = (
    "Long ago, a brave cat called Ben lived in a green forest. Ben was afraid of the rain. Ben had a friend, Milo the pig. "
    '"Do not be afraid," said Milo. "I am with you." Ben closed both eyes and counted to three. "It is not so bad!" said Ben.\n'
)
_QUESTIONS = tuple(f"Tell me a story about a {animal}." for animal in ("cat", "kangaroo", "pig", "horse", "bird"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much is measured. Lengths in tokens."""

    rounds: int = 5
    kv_bytes: int = 256 << 20
    streams: tuple[int, ...] = (1, 4, 8, 16, 32)
    lengths: tuple[int, int] = (32, 256)
    steps: int = 16
    running: int = 8
    long_prompt: int = 4096
    pieces: tuple[int, ...] = (128, 512, 4096 + 8)
    prefill: int = 512
    first_tokens: tuple[int, ...] = (128, 512, 2000)


class Report(NamedTuple):
    """A section's card and its figures."""

    lines: list[str]
    figures: dict[str, Any]
    is_sound: bool = True


@dataclass(slots=True)
class Times:
    """One value a round, of each of several contestants."""

    values: dict[Any, list[float]] = field(default_factory=dict)

    def add(self, name: Any, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def __getitem__(self, name: Any) -> float:
        return float(np.median(self.values[name]))

    def ratio(self, name: Any, to: Any) -> float:
        """Median over rounds of one contestant's value over another's."""
        return float(np.median(np.array(self.values[name]) / np.array(self.values[to])))


def prose_like(config: ModelConfig, rng: np.random.Generator, length: int) -> np.ndarray:
    """Random ids, the first ones often and the last ones seldom, as in a text."""
    shares = 1 / (10 + np.arange(config.bos_id))
    return rng.choice(config.bos_id, length, p=shares / shares.sum()).astype(np.int64)


def mixed_prompts(config: ModelConfig, count: int, lengths: tuple[int, int], seed: int = 0) -> list[Stream]:
    """Prompts of evenly spread lengths in any order, one of middling length first; every fourth begins with a picture."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(*lengths, count).astype(int)
    order = rng.permutation(count)
    order = np.concatenate([[count // 2], order[order != count // 2]])
    prompts = []
    for place, length in enumerate(spread[order]):
        ids, tiles = prose_like(config, rng, length), None
        if config.vision is not None and place % 4 == 3 and length > config.vision.tokens_per_tile + 2:
            picture = [config.image_start_id, *[config.patch_id] * config.vision.tokens_per_tile, config.image_end_id]
            ids[: len(picture)] = picture
            tiles = rng.standard_normal((1, 3, config.vision.tile_size, config.vision.tile_size)).astype(np.float32)
        prompts.append(Stream(ids, tiles))
    return prompts


def start(engine: Engine, prompts: Sequence[Stream]) -> list[Generation]:
    """Submit endless answers and step until each has a token: from then on all decode."""
    endless = Sampling(max_tokens=engine.config.max_positions)
    generations = [engine.submit(Request(prompt=prompt, sampling=endless)) for prompt in prompts]
    while not all(generation.token_ids for generation in generations):
        engine.step()
    return generations


def seconds_a_step(engine: Engine, prompts: Sequence[Stream], steps: int) -> float:
    """Mean over `steps` decode steps of all prompts side by side."""
    generations = start(engine, prompts)
    before, started = engine.counters.tokens_sampled, time.perf_counter()
    for _ in range(steps):
        engine.step()
    taken = time.perf_counter() - started
    sampled = engine.counters.tokens_sampled - before
    assert sampled == len(prompts) * steps, f"{len(prompts)} streams gave {sampled} tokens in {steps} steps: kv_bytes is too small"
    for generation in generations:
        engine.cancel(generation)
    return taken / steps


def seconds_to_first(engine: Engine, prompt: Stream) -> float:
    started = time.perf_counter()
    (generation,) = start(engine, [prompt])
    taken = time.perf_counter() - started
    engine.cancel(generation)
    return taken


def naive_seconds(model: Model, prompt: Stream, steps: int) -> float:
    """Seconds a token of the naive loop, the prompt left out."""
    tokens = generate(model, prompt, Sampling(max_tokens=steps + 1), ())
    next(tokens)
    started = time.perf_counter()
    count = sum(1 for _ in tokens)
    return (time.perf_counter() - started) / count


def decode(model: Model, sizes: Sizes) -> Report:
    most = max(sizes.streams)
    engine = Engine(model, Settings(max_streams=most, kv_bytes=sizes.kv_bytes))
    prompts = mixed_prompts(model.config, most, sizes.lengths)
    rates = Times()
    for place in range(1 + sizes.rounds):
        for count in sizes.streams:
            rate = count / seconds_a_step(engine, prompts[:count], sizes.steps)
            if place:
                rates.add(count, rate)
        rate = 1 / naive_seconds(model, prompts[0], sizes.steps)
        if place:
            rates.add("naive", rate)
    one = min(sizes.streams)
    ratio = rates.ratio(most, one)
    lines = [f"decode, prompts of {sizes.lengths[0]} to {sizes.lengths[1]} tokens, every fourth with a picture"]
    for count in sizes.streams:
        lines.append(f"  {count:3d} streams  {rates[count]:8,.1f} tokens/s in all   {1e3 * count / rates[count]:7.1f} ms a step")
    over_naive = rates.ratio(most, "naive")
    lines.append(f"  naive loop   {rates['naive']:8,.1f} tokens/s; one stream of the engine is {rates.ratio(one, 'naive'):.2f} x it")
    lines.append(f"  {most} streams give {ratio:.1f} x the tokens of {one} (target for 32 and 1: 6 x), {over_naive:.1f} x the naive loop's")
    figures = {
        "tokens_per_s": {str(count): round(rates[count], 1) for count in sizes.streams},
        "naive_tokens_per_s": round(rates["naive"], 1),
        "most_over_one": round(ratio, 2),
        "most_over_naive": round(over_naive, 2),
    }
    return Report(lines, figures)


class Stall(NamedTuple):
    """Seconds. `gaps`: the longest time between two tokens of each running stream; `steps`: all steps of the prompt."""

    step: float
    steps: list[float]
    gaps: list[float]
    first_token: float


def watch_prompt(engine: Engine, running: Sequence[Stream], prompt: Stream, steps: int) -> Stall:
    """Let streams run alone, then put a prompt in line and look at them until it has its first token."""
    generations = start(engine, running)
    plain, during = [], []
    for _ in range(steps):
        began = time.perf_counter()
        engine.step()
        plain.append(time.perf_counter() - began)
    counts = [len(generation.token_ids) for generation in generations]
    submitted = time.perf_counter()
    last, gaps = [submitted] * len(generations), [0.0] * len(generations)
    long = engine.submit(Request(prompt=prompt))
    while not long.token_ids:
        began = time.perf_counter()
        engine.step()
        now = time.perf_counter()
        during.append(now - began)
        for i, generation in enumerate(generations):
            if len(generation.token_ids) > counts[i]:
                gaps[i], last[i], counts[i] = max(gaps[i], now - last[i]), now, len(generation.token_ids)
    assert engine.counters.preempted == 0, "streams were preempted: kv_bytes is too small"
    engine.cancel_all()
    return Stall(float(np.median(plain)), during, gaps, now - submitted)


def stall(model: Model, sizes: Sizes) -> Report:
    running = mixed_prompts(model.config, sizes.running, sizes.lengths)
    prompt = Stream(prose_like(model.config, np.random.default_rng(1), sizes.long_prompt))
    settings: dict[str, Any] = dict(max_streams=sizes.running + 1, kv_bytes=sizes.kv_bytes, keep_prefixes=False)
    engines = {piece: Engine(model, Settings(step_tokens=piece, **settings)) for piece in sizes.pieces}
    times, num_steps = Times(), {}
    for place in range(1 + sizes.rounds):
        for piece, engine in engines.items():
            seen = watch_prompt(engine, running, prompt, sizes.steps)
            num_steps[piece] = len(seen.steps)
            if place:
                times.add("step", seen.step)
                times.add(("gap", piece), max(seen.gaps))
                times.add(("gap in steps", piece), max(seen.gaps) / seen.step)
                times.add(("step", piece), float(np.median(seen.steps)))
                times.add(("gap in its steps", piece), max(seen.gaps) / float(np.median(seen.steps)))
                times.add(("first", piece), seen.first_token)
    lines = [
        f"stall: {sizes.running} streams run ({1e3 * times['step']:.1f} ms a step) while a prompt of {sizes.long_prompt:,} tokens comes in"
    ]
    figures: dict[str, Any] = {"step_ms": round(1e3 * times["step"], 2), "pieces": {}}
    for piece in sizes.pieces:
        gap, step, first = (1e3 * times[name, piece] for name in ("gap", "step", "first"))
        plain, own = times["gap in steps", piece], times["gap in its steps", piece]
        lines.append(
            f"  {piece:5,} tokens a step: {num_steps[piece]:3d} steps of {step:7.1f} ms; longest gap between tokens {gap:7.1f} ms "
            f"({own:.2f} of these steps, {plain:.1f} plain ones); first token of the prompt after {first:7,.0f} ms"
        )
        figures["pieces"][str(piece)] = {
            "steps": num_steps[piece],
            "step_ms": round(step, 2),
            "largest_gap_ms": round(gap, 2),
            "gap_over_step": round(own, 2),
            "gap_over_plain_step": round(plain, 2),
            "first_token_ms": round(first, 1),
        }
    return Report(lines, figures)


def invariant(model: Model, sizes: Sizes) -> Report:
    most = max(sizes.streams)
    prompts = mixed_prompts(model.config, most, sizes.lengths)
    long = Stream(prose_like(model.config, np.random.default_rng(2), sizes.prefill))
    settings: dict[str, Any] = dict(max_streams=most, step_tokens=max(512, sizes.prefill), kv_bytes=sizes.kv_bytes)
    engines = {on: Engine(model, Settings(batch_invariant=on, **settings)) for on in (False, True)}
    times = Times()
    for place in range(1 + sizes.rounds):
        for on, engine in engines.items():
            measured = {f"{count} streams": seconds_a_step(engine, prompts[:count], sizes.steps) for count in (1, most)}
            engine.memory.prefixes.clear()
            measured[f"prompt of {sizes.prefill}"] = seconds_to_first(engine, long)
            for name, seconds in measured.items():
                if place:
                    times.add((name, on), seconds)
    lines, figures = ["batch_invariant, against without"], {}
    for name in dict.fromkeys(name for name, _ in times.values):
        ratio = times.ratio((name, True), (name, False))
        lines.append(f"  {name:16s} {1e3 * times[name, True]:8.1f} ms against {1e3 * times[name, False]:8.1f}: {ratio:.2f} x the time")
        figures[name] = {"ms": round(1e3 * times[name, True], 2), "plain_ms": round(1e3 * times[name, False], 2), "ratio": round(ratio, 2)}
    return Report(lines, figures)


def prefix(model: Model, sizes: Sizes) -> Report:
    engine = Engine(model, Settings(kv_bytes=sizes.kv_bytes))
    prompts = [Stream(prose_like(model.config, np.random.default_rng(length), length)) for length in sizes.first_tokens]
    times, cached = Times(), 0
    for place in range(1 + sizes.rounds):
        for prompt in prompts:
            engine.memory.prefixes.clear()
            cold = seconds_to_first(engine, prompt)
            before = engine.counters.tokens_cached
            warm = seconds_to_first(engine, prompt)
            cached = engine.counters.tokens_cached - before
            if place:
                times.add((len(prompt), "cold"), cold)
                times.add((len(prompt), "warm"), warm)
    lines, figures = ["time to the first token, nothing else running; and again, with the beginning kept"], {}
    for length in sizes.first_tokens:
        cold, warm = 1e3 * times[length, "cold"], 1e3 * times[length, "warm"]
        gain = times.ratio((length, "cold"), (length, "warm"))
        lines.append(f"  {length:6,} tokens  {cold:8.1f} ms cold   {warm:8.1f} ms warm   {gain:5.1f} x sooner")
        figures[str(length)] = {"cold_ms": round(cold, 1), "warm_ms": round(warm, 1), "gain": round(gain, 1)}
    lines.append(f"  of the longest, {cached:,} tokens were at hand")
    figures["cached_tokens"] = cached
    return Report(lines, figures)


class Answers(NamedTuple):
    token_ids: list[list[int]]
    seconds: float
    steps: int
    drafted: int
    accepted: int


def answer_alone(engine: Engine, requests: Sequence[Request]) -> Answers:
    """Each by itself, one after the other; seconds and steps without the prompts."""
    token_ids, seconds, steps, drafted, accepted = [], 0.0, 0, 0, 0
    for request in requests:
        generation = engine.submit(request)
        while not generation.token_ids:
            engine.step()
        began, steps_before = time.perf_counter(), engine.counters.steps
        engine.wait(generation)
        seconds += time.perf_counter() - began
        steps += engine.counters.steps - steps_before
        token_ids.append(generation.result())
        drafted += generation.drafted
        accepted += generation.accepted
    return Answers(token_ids, seconds, steps, drafted, accepted)


def speculation(model: Model, sizes: Sizes, texts: dict[str, list[Request]]) -> Report:
    """`texts`: requests by the name of what they show."""
    settings = Settings(kv_bytes=sizes.kv_bytes)
    engines = {"plain": Engine(model, settings), "lookup": Engine(model, settings, drafter=PromptLookup())}
    times, last = Times(), {}
    for place in range(1 + sizes.rounds):
        for text, (name, engine) in itertools.product(texts, engines.items()):
            answers = last[text, name] = answer_alone(engine, texts[text])
            if place:
                times.add((text, name), answers.seconds)
    lines, figures, is_sound = ["speculation: PromptLookup, one stream"], {}, True
    for text in texts:
        plain, lookup = last[text, "plain"], last[text, "lookup"]
        tokens = sum(map(len, plain.token_ids)) - len(plain.token_ids)  # the first of each belongs to its prompt
        same, gain = plain.token_ids == lookup.token_ids, times.ratio((text, "plain"), (text, "lookup"))
        accepted = lookup.accepted / lookup.drafted if lookup.drafted else 0.0
        is_sound &= same
        lines.append(
            f"  {text:28s} {tokens / times[text, 'lookup']:7.1f} tokens/s against {tokens / times[text, 'plain']:7.1f}: {gain:.2f} x; "
            f"{accepted:4.0%} of {lookup.drafted} drafts accepted, {tokens / max(1, lookup.steps):.2f} tokens a step; "
            f"answers {'identical' if same else 'DIFFER'}"
        )
        figures[text] = {
            "gain": round(gain, 2),
            "drafted": lookup.drafted,
            "acceptance": round(accepted, 3),
            "tokens_per_step": round(tokens / max(1, lookup.steps), 2),
            "identical": same,
        }
    return Report(lines, figures, is_sound)


def texts_of(pipeline: Pipeline, max_tokens: int = 128) -> dict[str, list[Request]]:
    """A tale said three times, to go on from; questions for tales, greedy and drawn."""
    config, stop_ids = pipeline.config, frozenset(pipeline.config.eos_ids)
    again = Stream(np.array([config.bos_id, *pipeline.tokenizer.encode(3 * _TALE)], dtype=np.int64))
    asked = [pipeline.encode([{"role": "user", "content": question}]) for question in _QUESTIONS]
    drawn = Sampling(max_tokens=max_tokens, temperature=0.8, seed=0)
    return {
        "a tale said three times": [Request(prompt=again, sampling=Sampling(max_tokens=max_tokens))],
        "tales": [Request(prompt=prompt, sampling=Sampling(max_tokens=max_tokens), stop_ids=stop_ids) for prompt in asked],
        "tales, temperature 0.8": [Request(prompt=prompt, sampling=drawn, stop_ids=stop_ids) for prompt in asked],
    }


def low_precision(model: Model, low: Model, sizes: Sizes) -> Report:
    """Rates of `low` beside `model`'s, and how often its two best logits lay within its rounding."""
    most = max(sizes.streams)
    prompts = mixed_prompts(model.config, most, sizes.lengths)
    engines = {name: Engine(each, Settings(max_streams=most, kv_bytes=sizes.kv_bytes)) for name, each in (("fp32", model), ("bf16", low))}
    rates = Times()
    for place in range(1 + sizes.rounds):
        for name, engine in engines.items():
            for count in (1, most):
                rate = count / seconds_a_step(engine, prompts[:count], sizes.steps)
                if place:
                    rates.add((name, count), rate)
    counters = engines["bf16"].counters
    share = counters.near_ties / counters.tokens_sampled
    lines = ["bf16 against fp32"]
    for count in (1, most):
        ratio = rates.ratio(("bf16", count), ("fp32", count))
        lines.append(f"  {count:3d} streams {rates['bf16', count]:8.1f} tokens/s, {ratio:.2f} x")
    lines.append(f"  near ties: {counters.near_ties:,} of {counters.tokens_sampled:,} greedy choices ({share:.1%})")
    figures = {"tokens_per_s": {str(count): round(rates["bf16", count], 1) for count in (1, most)}, "near_ties": round(share, 4)}
    return Report(lines, figures)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tokens a second and waiting times of the engine.")
    parser.add_argument("--model", default="scout-nano", help="a shipped name or a directory")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be repeated")
    parser.add_argument("--rounds", type=int, default=Sizes().rounds, help="timed rounds, after one that warms up")
    parser.add_argument("--steps", type=int, default=Sizes().steps, help="decode steps a round")
    parser.add_argument("--kv-mib", type=int, default=Sizes().kv_bytes >> 20, help="memory for keys and values of each engine")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action="store_true", help="also in bf16: rates, near ties")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    sizes = Sizes(rounds=options.rounds, steps=options.steps, kv_bytes=options.kv_mib << 20)
    pipeline = puna.load(options.model)
    model = pipeline.model
    sections: dict[str, Callable[[], Report]] = {
        "decode": lambda: decode(model, sizes),
        "stall": lambda: stall(model, sizes),
        "invariant": lambda: invariant(model, sizes),
        "prefix": lambda: prefix(model, sizes),
        "speculation": lambda: speculation(model, sizes, texts_of(pipeline)),
    }
    wanted = [name for name in sections if not options.only or name in options.only]
    if options.bf16:
        sections["bf16"] = lambda: low_precision(model, puna.load(options.model, "bfloat16").model, sizes)
        wanted.append("bf16")
    precision = str(model.dtype).removeprefix("torch.")
    machine = platform.processor() or platform.machine()
    print(f"{pipeline.name} in {precision}; {machine}, {options.threads} threads, torch {torch.__version__}")
    summary: dict[str, Any] = {"model": pipeline.name, "precision": precision, "threads": options.threads, "rounds": options.rounds}
    broken = []
    for name in wanted:
        report = sections[name]()
        print("\n".join(report.lines), flush=True)
        summary[name] = report.figures
        if not report.is_sound:
            broken.append(name)
    print(json.dumps(summary))
    if broken:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
