"""The herd: behemoth-nano learns first, then teaches scout-nano and maverick-nano at once, one teacher forward for both.

    PUNA_DATA_MIRROR=DIR puna train recipes/herd.py --out runs/herd                    # two cores, about two and a half hours
    PUNA_DATA_MIRROR=DIR puna train recipes/herd.py --out runs/herd --set size=gpu     # one H200, about half an hour

On two cores a teacher does not pay: two students would need its training's time themselves (docs/claims.md measures from how many students
on it would). So the cpu size leaves it out, unless asked: `--set teacher_minutes=55`. Without it the students need not share batches, and
one core each is faster than two cores for both (a step has thousands of small parallel regions):

    OMP_NUM_THREADS=1 taskset -c 0 puna train recipes/herd.py --out runs/herd --set students=scout-nano
    OMP_NUM_THREADS=1 taskset -c 1 puna train recipes/herd.py --out runs/herd --resume --set students=maverick-nano   # when the tower sees

The road, in the order of the file: raw files become shards; one vision tower learns to see on labelled pictures, and all three models
start from a copy of it; the teacher trains; the students train under it by codistillation. Teacher and students take the same four
stages: *words* (everything, prose and names first), *first names* (what is this, in English: the shortest way from a picture to a word),
*pictures* (everything that pictures and videos ask), *chat tuning* (conversations, while the rate falls to zero). Stages end by
the clock, so that a slow machine gives a weaker herd and not a late one. Stopped at any moment (SIGTERM, or a kill), `--resume` goes on;
only the tower's warm-up begins anew.

Legs: a machine that is lent for a while takes its checkpoint along as weights alone. Weights in `RUN/start/NAME` (a Hugging Face
directory, int8 or bf16, of the same tokenizer) are what NAME begins from, its optimiser rebuilt by the warm-up of the first stage;
`--set first_stage=3` begins with the third. They may be of another pattern of layers: maverick-nano can begin from scout-nano's. Their
tower stays as it is, unless `--set see_steps=N` lets it learn on; then the decoder meets it as a new one. `--set place_steps=N` teaches
towers that stay where their rows stand, if they had dropped that.

Over half of the tokens go to four skills and video: naming things in 12 languages, counting and placing, what simple things are, sums and
number words. A quarter is prose. Every number below is [ours].
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from puna.checkpoint import load_model, save_model
from puna.config import ModelConfig, every_nth_layer
from puna.data.emoji import Which
from puna.data.labels import LETTERS, NUM_COUNTS, classes, labelled_pictures
from puna.data.pack import TextShards, prepare
from puna.data.row import tiles_of
from puna.data.samples import NANO_WEIGHTS, TEXT_KIND, Mixture
from puna.data.scenes import COLOUR_VALUES
from puna.model import Model
from puna.model.init import initialize
from puna.presets import nano_behemoth, nano_maverick, nano_scout, with_vocabulary
from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat
from puna.train import NextToken, Objective, Outcome, Run, Stage, train
from puna.train.distill import Codistillation, Fixed
from puna.train.inherit import inherit
from puna.train.mixture_rows import ANSWER_WEIGHT, PICTURE_ANSWER_WEIGHT, MixtureRows
from puna.train.packing import pack
from puna.train.places import add_places
from puna.train.projector import fit_projector
from puna.train.settings import RecipeError, choose, with_overrides
from puna.train.state import has_state
from puna.train.vision import Classes, warm_up

SEED = 1
ENGLISH = 2.0  # times its usual share of prose: most questions are asked in it
PANGRAMS = "Quick zephyrs blow, vexing daft Jim. Съешь ещё этих мягких булок. いろはにほへと。 नमस्ते دنيا 你好 안녕 ¿Qué? Ça va? 1234"
Tower = dict[str, torch.Tensor]
TRUST = Fixed(0.5)  # in the teacher: the half won over rules that trust it less as training goes on (docs/claims.md)


class Plan(NamedTuple):
    """One stage: its name, its share of the time, what it changes in the mixture, how much answers about pictures weigh."""

    name: str
    share: float
    changes: Mapping[str, float]
    picture_answer_weight: float = PICTURE_ANSWER_WEIGHT


PICTURES: dict[str, float] = {
    **{"first_name": 6, "naming": 28, "caption": 6, "verify": 2, "which": 2, "scene_caption": 1, "number": 24, "word": 5},
    **{"counting": 20, "placing": 14, "side": 9, "shapes": 3, "comparing": 6, TEXT_KIND: 16},
    **{"video_moving": 13, "video_order": 6, "video_appear": 6, "video_change": 5, "book_page": 1},
    **{"sums": 14, "sums_text": 7, "translate": 18, "into_english": 4, "number_words": 6},
    **{"card": 5, "free": 4, "what_is": 5, "form": 4, "repeat": 4, "geography": 3},
}
TUNING: dict[str, float] = {
    **{"caption": 2, "scene_caption": 1, "first_name": 4, "number": 24, "names_list": 0, "story_text": 0},
    **{"video_moving": 18, "side": 10, "sums": 16, "sums_text": 9, "story": 3, "card": 10, "free": 8, "what_is": 7},
}
PLANS = (
    Plan("words", 0.42, {TEXT_KIND: 9}, ANSWER_WEIGHT),
    Plan("first names", 0.07, {"first_name": 110, "naming": 10, "counting": 25, "number": 8, "video_moving": 8, TEXT_KIND: 2}),
    Plan("pictures", 0.26, PICTURES),
    Plan("chat tuning", 0.25, PICTURES | TUNING),
)


@dataclass(frozen=True, kw_only=True)
class Size:
    """One of the recipe's two sizes. Minutes are of the training clock; data and the tower's warm-up come on top. 0: no teacher."""

    data: str
    things: Which
    teacher: ModelConfig
    students: Mapping[str, ModelConfig]
    tokens_per_batch: int
    see_steps: int
    see_minutes: int
    pictures_per_step: int
    teacher_minutes: int
    student_minutes: int
    lr: float
    device: str
    row_processes: int


def gpu_students() -> dict[str, ModelConfig]:
    """At most 30 M parameters each over 16,384 BPE ids (untied, 32,768 ids would be more than half of a student)."""
    shape = dict(width=256, num_layers=12, num_heads=4, nope_layers=every_nth_layer(4, 12))
    scout = replace(nano_scout(), **shape, moe_layers=every_nth_layer(1, 12), expert_width=192, dense_width=384)
    maverick = replace(nano_maverick(), **shape, moe_layers=every_nth_layer(2, 12), expert_width=96, dense_width=384)
    return {each.name: with_vocabulary(each, 16_384) for each in (scout, maverick)}


def gpu_teacher() -> ModelConfig:
    """Three times the students' active size."""
    shape = dict(width=512, num_layers=12, num_heads=8, num_kv_heads=2, nope_layers=every_nth_layer(4, 12))
    wide = replace(nano_behemoth(), **shape, moe_layers=every_nth_layer(1, 12), expert_width=512, dense_width=1024)
    return with_vocabulary(wide, 16_384)


SIZES: dict[str, Size] = {
    "cpu": Size(
        data="cpu",
        things="chosen",
        teacher=nano_behemoth(),
        students={"scout-nano": nano_scout(), "maverick-nano": nano_maverick()},
        tokens_per_batch=8192,
        see_steps=2400,
        see_minutes=30,
        pictures_per_step=64,  # a picture teaches twice as much as in steps of 256 (docs/log.md)
        teacher_minutes=0,
        student_minutes=120,
        lr=4e-3,
        device="cpu",
        row_processes=0,
    ),
    "gpu": Size(
        data="gpu",
        things="all",
        teacher=gpu_teacher(),
        students=gpu_students(),
        tokens_per_batch=65_536,
        see_steps=3000,
        see_minutes=5,
        pictures_per_step=256,
        teacher_minutes=8,
        student_minutes=16,
        lr=3e-3,
        device="cuda",
        row_processes=14,
    ),
}


class Material(NamedTuple):
    """What every phase reads."""

    size: Size
    tokenizer: Tokenizer
    shards: TextShards
    console: Console

    def rows(self, plan: Plan) -> MixtureRows:
        weights = NANO_WEIGHTS | dict(plan.changes)
        if self.size.things == "all":  # the kinds that name things have twins that know all of them
            for kind in ("naming", "first_name", "caption"):
                weights[f"{kind}_all"], weights[kind] = weights[kind], 0
        chat_format = ChatFormat(self.tokenizer, self.size.teacher.vision)
        return MixtureRows(Mixture(weights, self.shards), self.shards, chat_format, SEED, plan.picture_answer_weight)


def pictures(seed: int, place: int, count: int, material: Material) -> torch.Tensor:
    """`count` pictures of what the tower learns to see, as tiles."""
    return torch.from_numpy(tiles_of(list(labelled_pictures(seed, place, count, material.size.things).pictures)))


def see(model: Model, steps: int, minutes: int, out: Path, material: Material) -> Tower:
    """The tower that all models start from: `model`'s, after `steps` steps of pictures of what stands where, or `minutes` minutes. Kept
    in `out/tower.safetensors`.
    """
    kept = out / "tower.safetensors"
    if not kept.is_file():
        material.console.print("the tower learns to see; stopped before it is done, it begins anew")
        (out / "vision.jsonl").unlink(missing_ok=True)
        things = material.size.things
        warm_up(
            model.to(material.size.device).vision,
            lambda step: labelled_pictures(SEED, step, material.size.pictures_per_step, things),
            num=Classes(1 + len(classes(things)), NUM_COUNTS, len(COLOUR_VALUES), len(LETTERS)),
            steps=steps,
            minutes=minutes,
            lr=3e-3,
            log=out / "vision.jsonl",
            console=material.console,
        )
        fresh = kept.with_suffix(".new")
        save_file({name: tensor.cpu().contiguous() for name, tensor in model.vision.state_dict().items()}, fresh)
        fresh.rename(kept)
    return load_file(kept)


class Begun(NamedTuple):
    """Models that do not begin from nothing: their names, the folder of their weights, whether their towers learn on, and for how many
    batches of pictures towers that stay learn where their rows stand.
    """

    folder: Path
    names: Sequence[str]
    learns_on: bool
    place_steps: int = 0

    def model(self, name: str) -> Model:
        return load_model(self.folder / name, dtype="float32")

    def put(self, model: Model, material: Material) -> None:
        """The weights kept for `model` into it, whatever their pattern of layers."""
        name = model.config.name
        given, spoken = self.model(name), Tokenizer.from_hf(self.folder / name)
        if spoken.encode(PANGRAMS) != material.tokenizer.encode(PANGRAMS):
            raise RecipeError(f"{self.folder / name} has another tokenizer than the data; build it with puna data build --tokenizer")
        sample = pack(material.rows(PLANS[0]), 0, 0, material.size.tokens_per_batch).to(material.size.device)
        inherit(model, given.to(material.size.device), sample.batch)
        if self.place_steps:
            off = add_places(model, lambda step: pictures(SEED + 2, step, 32, material), steps=self.place_steps, console=material.console)
            material.console.print(f"{model.config.name}: rows learned their places, off by {off:.0%} of what was to learn")


def begun_from(folder: Path, names: Sequence[str], size: Size, learns_on: bool, place_steps: int) -> Begun:
    """Which of `names` have weights in `folder`. What lies there and can begin nothing is refused: a misspelt name costs a whole run."""
    known = [size.teacher.name, *size.students]
    given = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if useless := [name for name in given if name not in known or not (folder / name / "config.json").is_file()]:
        raise RecipeError(f"{folder / useless[0]} holds no model that could begin; models are looked for as {', '.join(known)}")
    begun = Begun(folder, [name for name in names if name in given], learns_on, place_steps)
    if place_steps and (learns_on or not begun.names):
        raise RecipeError("--set place_steps is for towers that begin from weights and stay as they are, without see_steps")
    return begun


def save_whole(model: Model, directory: Path, tokenizer: Tokenizer) -> None:
    """Saved beside, then renamed: a folder that is there is whole."""
    fresh = directory.with_name(directory.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    save_model(model, fresh, tokenizer=tokenizer)
    fresh.rename(directory)


class Timing(NamedTuple):
    """How long a run trains, by the clock or (where `steps` is not 0) by steps, from which stage on (the first is 1), at which rate."""

    minutes: int
    steps: int
    first_stage: int
    lr: float


def run_of(
    configs: Mapping[str, ModelConfig], timing: Timing, tower: Tower | None, begun: Begun, material: Material, teacher: Model | None = None
) -> Run:
    """The stages for these models, under a teacher if there is one. `tower` None: all begin from weights with a tower of their own."""
    size = material.size

    def prepare(*models: Model) -> None:
        some = [pictures(SEED + 1, place, 128, material) for place in range(8)]
        for model in models:
            if model.config.name in begun.names:
                begun.put(model, material)
            if tower is not None and (begun.learns_on or model.config.name not in begun.names):
                model.vision.load_state_dict(tower)
                fit_projector(model, some, rms=1.0)

    plans = PLANS[timing.first_stage - 1 :]
    whole = sum(plan.share for plan in plans)
    stages = []
    for plan in plans:
        objective: Objective = NextToken() if teacher is None else Codistillation(teacher, TRUST)
        is_last = plan is PLANS[-1]
        if timing.steps:
            count = max(1, round(plan.share / whole * timing.steps))
            length: dict[str, Any] = dict(steps=count, decay=count if is_last else 0)
        else:
            minutes = plan.share / whole * timing.minutes
            length = dict(minutes=minutes, decay_minutes=minutes if is_last else 0.0)
        warmup = 60 if plan is plans[0] else 0
        stages.append(Stage(name=plan.name, source=material.rows(plan), warmup=warmup, objective=objective, **length))
    return Run(
        config=configs,
        tokens_per_batch=size.tokens_per_batch,
        lr=timing.lr,
        weight_decay=0.05,
        balance_rate=1e-2,
        seed=SEED,
        device=size.device,
        row_processes=size.row_processes,
        on_spike="skip",
        log_every=1 if 0 < timing.steps < 100 else 10,  # of so few each stage is to have a line
        prepare=prepare,
        stages=stages,
    )


def main(out: Path, resume: bool, overrides: dict[str, str]) -> Outcome | None:
    """Teacher, then students; each ends as the Hugging Face directory `out/NAME`. A phase that is done is not done again. The
    outcome of a phase that was stopped, None if all were done.
    """
    console = Console(stderr=True)
    overrides = dict(overrides)
    size = choose("size", SIZES, overrides, "cpu")
    alone = {name: {name: config} for name, config in size.students.items()}
    students = choose("students", {"both": size.students, **alone}, overrides, "both")
    learns_on = "see_steps" in overrides
    lr = with_overrides({"lr": size.lr}, {"lr": overrides.pop("lr")} if "lr" in overrides else {})["lr"]
    defaults = {
        name: getattr(size, name) for name in ("see_steps", "see_minutes", "teacher_minutes", "student_minutes", "tokens_per_batch")
    }
    counts = defaults | {"teacher_steps": 0, "student_steps": 0, "first_stage": 1, "place_steps": 0}
    settings = with_overrides(counts, overrides, off=("teacher_minutes",), others=("size", "students", "lr"))
    size = replace(size, tokens_per_batch=settings["tokens_per_batch"])
    phases = [("student", students)]
    if settings["teacher_minutes"] or settings["teacher_steps"]:
        phases.insert(0, ("teacher", {size.teacher.name: size.teacher}))
    names = [name for _, configs in phases for name in configs]
    if not 1 <= settings["first_stage"] <= len(PLANS):
        listed = ", ".join(f"{place} {plan.name}" for place, plan in enumerate(PLANS, 1))
        raise RecipeError(f"--set first_stage={settings['first_stage']}: the stages are {listed}")
    begun = begun_from(out / "start", names, size, learns_on, settings["place_steps"])
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    def done(what: str) -> None:
        console.print(f"{(time.monotonic() - started) / 60:6.1f} min  {what}")

    done(f"begin from weights: {', '.join(begun.names) or 'none'}")
    tokenizer, shards = prepare(Path("data_cache") / size.data, num_ranks=size.teacher.bos_id, size=size.data, english=ENGLISH)
    material = Material(size, tokenizer, shards, console)
    done(f"data: {sum(shards.num_windows(language) for language in shards.languages):,} windows of prose")
    tower: Tower | None = None
    if learns_on or len(begun.names) < len(names):
        first = begun.model(begun.names[0]) if begun.names else initialize(Model(size.teacher), torch.Generator().manual_seed(SEED))
        tower = see(first, settings["see_steps"], settings["see_minutes"], out, material)
        done("the tower sees")
    teacher: Model | None = None
    for phase, configs in phases:
        missing = [name for name in configs if not (out / name / "config.json").is_file()]
        if missing:
            run_folder = out / f"{'-'.join(configs)}-run"
            # With a state, the run was killed between saving one model and the next.
            if len(missing) < len(configs) and not has_state(run_folder / "state"):
                raise RecipeError(f"{out} has some of {', '.join(configs)} already; train {missing[0]} alone, or move those away")
            timing = Timing(settings[f"{phase}_minutes"], settings[f"{phase}_steps"], settings["first_stage"], lr)
            run = run_of(configs, timing, tower, begun, material, teacher)
            trained = train(run, run_folder, resume=resume, console=console)
            if not trained.finished:
                return trained
            for name in missing:
                save_whole(trained.models[name].cpu(), out / name, tokenizer)
        done(f"{phase}: {', '.join(str(out / name) for name in configs)}")
        if phase == "teacher":
            teacher = load_model(out / size.teacher.name, dtype="float32").to(size.device)
    console.print(f"try puna chat {out / next(iter(students))}")
    return None
