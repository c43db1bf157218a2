"""The first nano: scout-nano from nothing in under two hours on two cores.

Its vision tower warms up on labelled pictures; then text and pictures train together from the decoder's first step; then a chat tuning.

    PUNA_DATA_MIRROR=DIR puna train recipes/scout_nano_first.py --out runs/scout-nano

Four things it should do well: name 220 emoji and flags in 12 languages, count and place things in composed scenes, say what simple
things are and tell a very short story in English, do small sums and number words. Each step of the way is below; nothing is hidden.

Measured on two cores with AMX (bf16): see src/puna/weights/scout-nano/README.md for steps, tokens, seconds and held-out scores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from puna.checkpoint import save_model
from puna.config import ModelConfig
from puna.data.chance import generator
from puna.data.labels import LETTERS, NUM_COUNTS, classes, labelled_pictures
from puna.data.pack import TextShards, prepare
from puna.data.row import Sample, tiles_of
from puna.data.samples import NANO_WEIGHTS, TEXT_KIND, Mixture, to_stream
from puna.data.scenes import COLOUR_VALUES
from puna.model import Model
from puna.presets import nano_scout
from puna.stream import Stream
from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat
from puna.train import Outcome, Run, Stage, train
from puna.train.packing import Row
from puna.train.projector import fit_projector
from puna.train.settings import with_overrides
from puna.train.vision import Classes, warm_up

SEED = 1
PICTURES_PER_STEP = 256
TOKENS_PER_BATCH = 8192
STEPS = {"warm_up_steps": 800, "words_steps": 1058, "names_steps": 140, "pictures_steps": 602, "tune_steps": 748}

# Answers are a few tokens long and prose is hundreds: without these weights nine tenths of the gradient would be prose.
ANSWER_WEIGHT = 3.0
PICTURE_ANSWER_WEIGHT = 6.0


@dataclass(frozen=True)
class NanoRows:
    """Rows of the mixture as training reads them, and prose to fill batches up."""

    mixture: Mixture
    shards: TextShards
    chat_format: ChatFormat
    picture_answer_weight: float = ANSWER_WEIGHT

    def row(self, index: int) -> Row:
        sample = self.mixture.sample(SEED, index)
        return Row(sample.kind, to_stream(sample, self.chat_format), self.weight_of(sample))

    def weight_of(self, sample: Sample) -> float:
        if sample.kind == TEXT_KIND:
            return 1.0
        return self.picture_answer_weight if sample.pictures and sample.messages else ANSWER_WEIGHT

    def filler(self, index: int, num_tokens: int) -> Row:
        rng = generator("train", SEED + 1, index)
        windows = [self.shards.window(rng, num_tokens)]
        while (missing := num_tokens - sum(map(len, windows))) > 0:  # a short window: go on with the next
            windows.append(self.shards.window(rng, missing))
        return Row(TEXT_KIND, Stream(np.concatenate(windows)))


# What each stage changes in the mixture.
FIRST_NAMES: dict[str, float] = {"first_name": 110, "naming": 10, "counting": 25, TEXT_KIND: 2}
PICTURES_FIRST: dict[str, float] = {
    **{"first_name": 20, "naming": 30, "caption": 6, "verify": 2, "which": 2, "scene_caption": 1},
    **{"counting": 26, "placing": 8, "side": 4, "shapes": 5, TEXT_KIND: 2},
}
CHAT_TUNING: dict[str, float] = {
    **{"caption": 2, "scene_caption": 1, "first_name": 8, "naming": 22, "counting": 70, TEXT_KIND: 1.5},
    **{"names_list": 0, "story_text": 0, "story": 4, "card": 5, "what_is": 7},
}


def learn_to_see(model: Model, out: Path, steps: int, console: Console) -> None:
    """Stage 0: the tower learns what stands where in 205,000 pictures. Without it names stayed at chance for 700 steps (docs/log.md)."""
    warm_up(
        model.vision,
        lambda step: labelled_pictures(SEED, step, PICTURES_PER_STEP),
        num=Classes(1 + len(classes()), NUM_COUNTS, len(COLOUR_VALUES), len(LETTERS)),
        steps=steps,
        lr=3e-3,
        log=out / "vision.jsonl",
        console=console,
    )
    fit_projector(
        model, (torch.from_numpy(tiles_of(list(labelled_pictures(SEED + 1, index, 128).pictures))) for index in range(4)), rms=1.0
    )


def recipe(
    tokenizer: Tokenizer,
    shards: TextShards,
    see: Callable[[Model], None],
    *,
    words_steps: int,
    names_steps: int,
    pictures_steps: int,
    tune_steps: int,
) -> Run:
    """Stages 1 to 4: all rows together, most weight on words; English names of pictures; most weight on pictures; then mostly
    conversations while the rate falls to zero.
    """
    config: ModelConfig = nano_scout()
    chat_format = ChatFormat(tokenizer, config.vision)

    def rows(changes: dict[str, float], picture_answer_weight: float) -> NanoRows:
        return NanoRows(Mixture(NANO_WEIGHTS | changes, shards), shards, chat_format, picture_answer_weight)

    return Run(
        config=config,
        tokens_per_batch=TOKENS_PER_BATCH,
        lr=4e-3,
        weight_decay=0.05,
        balance_rate=1e-2,
        seed=SEED,
        prepare=see,
        stages=[
            Stage(name="words", steps=words_steps, warmup=60, source=rows({}, ANSWER_WEIGHT)),
            Stage(name="first names", steps=names_steps, source=rows(FIRST_NAMES, PICTURE_ANSWER_WEIGHT)),
            Stage(name="pictures", steps=pictures_steps, source=rows(PICTURES_FIRST, PICTURE_ANSWER_WEIGHT)),
            Stage(
                name="chat tuning",
                steps=tune_steps,
                decay=tune_steps,
                source=rows(PICTURES_FIRST | CHAT_TUNING, PICTURE_ANSWER_WEIGHT),
            ),
        ],
    )


def main(out: Path, resume: bool, overrides: dict[str, str]) -> Outcome:
    """Train, then write the Hugging Face directory `out/hf`."""
    console = Console(stderr=True)
    steps = with_overrides(STEPS, overrides)
    tokenizer, shards = prepare(Path("data_cache/nano"))
    warm_up_steps = steps.pop("warm_up_steps")
    run = recipe(tokenizer, shards, lambda model: learn_to_see(model, out, warm_up_steps, console), **steps)
    trained = train(run, out, resume=resume, console=console)
    if trained.finished:
        save_model(trained.model, out / "hf", tokenizer=tokenizer)
        console.print(f"wrote {out / 'hf'}: try puna chat {out / 'hf'}")
    return trained
