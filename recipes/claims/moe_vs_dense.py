"""Claim: a mixture of experts learns more from the same tokens than a dense model that costs as much a token.

    PUNA_DATA_MIRROR=DIR python recipes/claims/moe_vs_dense.py --out runs/moe_vs_dense

Arms, each with three seeds; same width, layers, attention, data and order of data:

    dense       one feed-forward part of width 256 in every layer
    moe-2       a shared expert of width 128 and two routed ones of 128, of which each token meets one: the same products
    moe-4, moe-8    the same with more routed experts

What differs is the number of parameters that exist, not of those that a token meets; the router's own products are less than one percent.
Tokens and products are equal; seconds are not: routing costs memory traffic that products do not show, so seconds stand beside them.
"""

import json
from pathlib import Path
from typing import Any

from pico import Job, figure, fit, held_out, main, of_arm, paired, save, scout

from puna.config import ModelConfig
from puna.model.count import count_parameters

TOKENS = 300_000
EXPERTS = (2, 4, 8)
METRICS = {"bits_per_byte": "bits per byte of prose", "picture_nats": "nats per answer token on pictures"}


def config_of(arm: str) -> ModelConfig:
    """pico Scout with so many experts, or with dense layers as wide as the two experts that a token meets."""
    if arm == "dense":
        return scout(name="dense-pico", moe_layers=(), num_experts=0)
    return scout(num_experts=int(arm.removeprefix("moe-")))


ARMS = ("dense", *(f"moe-{experts}" for experts in EXPERTS))


def jobs(seeds: int) -> list[Job]:
    return [Job(f"{arm}-{seed}") for seed in range(seeds) for arm in ARMS]


def work(out: Path, job: str, tokens: int) -> dict[str, Any]:
    arm, _, seed = job.rpartition("-")
    config = config_of(arm)
    trained = fit(out / job, {"model": config}, tokens=tokens, seed=int(seed))
    parameters = count_parameters(config)
    return {
        "tokens": trained.counted.tokens,
        "flops": trained.counted.flops(config),
        "seconds": trained.seconds,
        "parameters": parameters.text,
        "active": parameters.active_without_embedding,
        "scores": held_out(trained.models["model"]),
    }


def report(results: dict[str, dict[str, Any]]) -> None:
    seeds = sum(name.startswith("dense-") for name in results)
    facts: dict[str, Any] = {"claim": "moe_vs_dense", "seeds": seeds}
    print(f"{seeds} seeds, 95 % intervals; differences from dense are paired by seed\n")
    for arm in ARMS:
        one = next(result for name, result in results.items() if name.startswith(f"{arm}-"))
        seconds = of_arm(results, arm, lambda result: result["seconds"]).mean
        print(f"{arm:<7} {one['parameters']:>9,} parameters, {one['active']:,} active, {one['flops']:.2e} FLOP, {seconds:.0f} s of a core")
        for which, words in METRICS.items():
            score = of_arm(results, arm, lambda result, which=which: result["scores"][which])
            line = f"    {words}: {score.mean:.4f} ± {score.half:.4f}"
            if arm != "dense":
                apart = paired(results, arm, "dense", lambda result, which=which: result["scores"][which])
                facts[f"{which}: {arm} - dense"] = [round(apart.mean, 4), round(apart.half, 4)]
                line += f"   against dense: {apart}{'  nil' if apart.is_nil else ''}"
            print(line)
    plot(results)
    print(json.dumps(facts))


def plot(results: dict[str, dict[str, Any]]) -> None:
    drawn, axes = figure(2, 8, 3)
    for axis, (which, words) in zip(axes, METRICS.items(), strict=True):
        scores = [of_arm(results, arm, lambda result, which=which: result["scores"][which]) for arm in ARMS]
        axis.errorbar(
            range(len(ARMS)), [score.mean for score in scores], [score.half for score in scores], color="tab:blue", marker="o", capsize=3
        )
        axis.axhline(scores[0].mean, color="gray", linewidth=0.8, linestyle=":")
        axis.set_xticks(range(len(ARMS)), ARMS)
        axis.set_ylabel(words)
    tokens = round(of_arm(results, "dense", lambda result: result["tokens"]).mean / 1e5) * 100
    drawn.suptitle(f"{tokens:,} thousand tokens, equal products a token; 95 % intervals", fontsize=9)
    save(drawn, f"moe-vs-dense-{tokens}k")


if __name__ == "__main__":
    main(__doc__ or "", TOKENS, jobs, work, report)
