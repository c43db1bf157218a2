"""Claim: for the same compute, text and pictures together from the first step see better than a tower bolted onto a frozen text model.

    PUNA_DATA_MIRROR=DIR python recipes/claims/early_fusion.py --out runs/early_fusion

Words are prose, and the questions about pictures asked of pictures that are told in words ("red star. Which colour do you see?"): a text
model that had never been asked anything could not answer, whatever its tower showed it. Arms, each with three seeds; all start from the
same warmed-up tower (`pico.py`) and read equally many words:

    early       words and pictures mixed from the first step, every weight trains
    bolted      words alone, to the end of their own schedule; then the text model is frozen, and tower and projector train on pictures with
                the compute that is left. A frozen decoder needs no gradient of its weights, so a token costs two thirds: half as many
                pictures again as the other arm sees
    mended      as bolted, but in the second part the text model trains too, on pictures alone (two thirds of bolted's pictures)

The last arm shows what freezing protects: its prose is scored after the pictures.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pico import ANSWER_WEIGHT, PICTURE_KINDS, TOKENS_PER_BATCH, Job, PicoRows, figure, fit, held_out, main, of_arm, paired, save, scout
from safetensors.torch import load_file, save_file

from puna.model import Model
from puna.train import Losses, NextToken
from puna.train.machine import flops_per_token
from puna.train.packing import Row, TrainingBatch, pack

TOKENS = 300_000
ARMS = ("early", "bolted", "mended")
METRICS = {
    "right": "answers right about pictures",
    "picture_nats": "nats per answer token on pictures",
    "bits_per_byte": "bits per byte of prose",
}


def mixed(seed: int) -> PicoRows:
    """Of ten rows three are prose, two are told, five have pictures."""
    return PicoRows(seed, text_share=0.3, told_share=0.2)


def words(seed: int) -> PicoRows:
    """The same without the pictures."""
    return PicoRows(seed, text_share=0.6, told_share=0.4)


@dataclass(frozen=True)
class PictureRows(PicoRows):
    """Pictures alone. The end of a batch is filled with prose of next to no weight: a frozen text model learns nothing from it."""

    def filler(self, index: int, num_tokens: int) -> Row:
        return super().filler(index, num_tokens)._replace(weight=ANSWER_WEIGHT * 1e-6)


class FrozenText:
    """Next tokens, but the decoder stays as it is: only tower and projector take gradients."""

    def __call__(self, models: Mapping[str, Model], data: TrainingBatch, step: int, progress: float) -> Mapping[str, Losses]:
        for model in models.values():
            model.text.requires_grad_(False)
        return NextToken()(models, data, step, progress)


def picture_share(seed: int) -> float:
    """The share of tokens that stand in rows with pictures, in the mixture's first 20 batches."""
    total, pictures, cursor = 0, 0, 0
    for step in range(20):
        data = pack(mixed(seed), cursor, step, TOKENS_PER_BATCH)
        cursor = data.cursor
        for kind, length in zip(data.kinds, data.batch.lengths, strict=True):
            total, pictures = total + length, pictures + (length if kind in PICTURE_KINDS else 0)
    return pictures / total


def jobs(seeds: int) -> list[Job]:
    return [
        job
        for seed in range(seeds)
        for job in (
            Job(f"early-{seed}"),
            Job(f"text-{seed}"),
            Job(f"bolted-{seed}", (f"text-{seed}",)),
            Job(f"mended-{seed}", (f"text-{seed}",)),
        )
    ]


def work(out: Path, job: str, tokens: int) -> dict[str, Any]:
    arm, _, number = job.rpartition("-")
    seed, config = int(number), scout()
    share = picture_share(seed)
    if arm == "early":
        trained = fit(out / job, {"model": config}, tokens=tokens, seed=seed, rows=mixed(seed))
        flops = trained.counted.flops(config)
    elif arm == "text":
        trained = fit(out / job, {"model": config}, tokens=round((1 - share) * tokens), seed=seed, rows=words(seed))
        flops = trained.counted.flops(config)
        save_file(trained.models["model"].state_dict(), out / f"{job}.safetensors")
    else:

        def start(model: Model) -> None:
            model.load_state_dict(load_file(out / f"text-{seed}.safetensors"))

        frozen = arm == "bolted"
        trained = fit(
            out / job,
            {"model": config},
            tokens=round(share * tokens * (1.5 if frozen else 1)),
            seed=seed,
            rows=PictureRows(seed, text_share=0.0),
            objective=FrozenText() if frozen else None,
            start=start,
            balance_rate=0.0 if frozen else 1e-2,  # a bias that moves would change the frozen model's choices
        )
        flops = trained.counted.flops(config)
        if frozen:  # two of six products fewer for each of the text model's weights
            flops -= trained.counted.tokens * flops_per_token(config) / 3
        flops += json.loads((out / f"text-{seed}.json").read_text())["flops"]
    return {
        "tokens": trained.counted.tokens,
        "pictures": trained.counted.tiles,
        "flops": flops,
        "seconds": trained.seconds,
        "scores": held_out(trained.models["model"]),
    }


def report(results: dict[str, dict[str, Any]]) -> None:
    seeds = sum(name.startswith("early-") for name in results)
    facts: dict[str, Any] = {"claim": "early_fusion", "seeds": seeds}
    print(f"{seeds} seeds, 95 % intervals; differences from early fusion are paired by seed\n")
    for arm in ("early", "text", "bolted", "mended"):
        flops, pictures = (of_arm(results, arm, lambda result, key=key: result[key]).mean for key in ("flops", "pictures"))
        print(f"{arm:<7} {flops:.2e} FLOP in all, {pictures:,.0f} pictures seen")
        for which, label in METRICS.items():
            score = of_arm(results, arm, lambda result, which=which: result["scores"][which])
            line = f"    {label}: {score.mean:.4f} ± {score.half:.4f}"
            if arm in ("bolted", "mended"):
                apart = paired(results, "early", arm, lambda result, which=which: result["scores"][which])
                facts[f"{which}: early - {arm}"] = [round(apart.mean, 4), round(apart.half, 4)]
                line += f"   early minus {arm}: {apart}{'  nil' if apart.is_nil else ''}"
            print(line)
    plot(results)
    print(json.dumps(facts))


def plot(results: dict[str, dict[str, Any]]) -> None:
    drawn, axes = figure(3, 9, 2.8)
    for axis, (which, label) in zip(axes, METRICS.items(), strict=True):
        scores = [of_arm(results, arm, lambda result, which=which: result["scores"][which]) for arm in ARMS]
        colours = ["tab:blue", "tab:orange", "tab:gray"]
        axis.bar(ARMS, [score.mean for score in scores], yerr=[score.half for score in scores], color=colours, capsize=4)
        axis.set_ylabel(label)
    axes[2].set_ylim(bottom=0.9 * min(of_arm(results, arm, lambda result: result["scores"]["bits_per_byte"]).mean for arm in ARMS))
    drawn.suptitle("equal compute; 95 % intervals", fontsize=9)
    save(drawn, "early-fusion")


if __name__ == "__main__":
    main(__doc__ or "", TOKENS, jobs, work, report)
