"""Claim: a student learns more from the same tokens with a teacher beside the data, and the teacher pays when several students share it.

    PUNA_DATA_MIRROR=DIR python recipes/claims/codistillation.py --out runs/codistillation

Two students (pico Scout and pico Maverick) train side by side; with a teacher (pico Behemoth, trained first, on half as many tokens again)
one forward of it serves both. Arms, each with three seeds (of data, of students and of the teacher):

    hard        the data alone
    fixed       half hard targets, half soft ones, all along
    dynamic     soft targets where the teacher beats the student, and less as training goes on (`puna.train.distill.Dynamic`)
    hard-sunk   the data alone, on as many more tokens as the teacher's forwards cost: the teacher exists already
    hard-paid   the data alone, on as many more tokens as the teacher's forwards and its whole training cost, shared by two students

Then the report asks from how many students on the teacher would have paid: the curve of the hard arms over compute is drawn as a line
between its points, and the distilled arms' cost falls with the number of students.
"""

import json
import math
from pathlib import Path
from typing import Any

import matplotlib
import torch
from pico import IMAGES, TOKENS_PER_BATCH, Interval, Job, behemoth, fit, held_out, interval, main, maverick, of_arm, paired, scout
from safetensors.torch import load_file, save_file

from puna.model import Model
from puna.train.distill import Codistillation, Dynamic, Fixed
from puna.train.machine import flops_per_token

TOKENS = 300_000
TEACHER_TOKENS = 1.5  # times a student's
STUDENTS = {"scout": scout(), "maverick": maverick()}
RULES = {"fixed": Fixed(0.5), "dynamic": Dynamic()}


def extra_cost() -> tuple[float, float]:
    """What the teacher adds to a token of both students' training, as a share of it: its forward, and its own training."""
    students = sum(flops_per_token(config) for config in STUDENTS.values())
    teacher = flops_per_token(behemoth())
    return teacher / 3 / students, TEACHER_TOKENS * teacher / students


def tokens_of(arm: str, tokens: int) -> int:
    forward, training = extra_cost()
    more = {"teacher": TEACHER_TOKENS, "hard-sunk": 1 + forward, "hard-paid": 1 + forward + training}.get(arm, 1.0)
    return round(more * tokens / TOKENS_PER_BATCH) * TOKENS_PER_BATCH


def jobs(seeds: int) -> list[Job]:
    """Teachers first, then seed by seed; the longest runs last, so that a run that is cut short has whole seeds."""
    chosen = [Job(f"teacher-{seed}") for seed in range(seeds)]
    for seed in range(seeds):
        chosen.append(Job(f"hard-{seed}"))
        chosen += [Job(f"{rule}-{seed}", (f"teacher-{seed}",)) for rule in RULES]
        chosen.append(Job(f"hard-sunk-{seed}"))
    return chosen + [Job(f"hard-paid-{seed}") for seed in range(seeds)]


def work(out: Path, job: str, tokens: int) -> dict[str, Any]:
    arm, _, number = job.rpartition("-")
    seed = int(number)
    configs = {"behemoth": behemoth()} if arm == "teacher" else STUDENTS
    objective = None
    if arm in RULES:
        teacher = Model(behemoth())
        teacher.load_state_dict(load_file(out / f"teacher-{seed}.safetensors"))
        objective = Codistillation(teacher, RULES[arm])
    # The teacher reads other rows than its students: what it says of theirs is no memory of them.
    trained = fit(out / job, configs, tokens=tokens_of(arm, tokens), seed=seed + (100 if arm == "teacher" else 0), objective=objective)
    flops = sum(trained.counted.flops(config) for config in configs.values())
    if arm == "teacher":
        save_file(trained.models["behemoth"].state_dict(), out / f"{job}.safetensors")
    if arm in RULES:
        flops += trained.counted.flops(behemoth()) / 3
    torch.set_num_threads(1)
    return {
        "tokens": trained.counted.tokens,
        "flops": flops,
        "seconds": trained.seconds,
        "scores": {name: held_out(model) for name, model in trained.models.items()},
    }


def mean_score(result: dict[str, Any], which: str) -> float:
    """Over the students of a run."""
    return sum(scores[which] for scores in result["scores"].values()) / len(result["scores"])


METRICS = {"bits_per_byte": "bits per byte of prose", "picture_nats": "nats per answer token on pictures"}


def report(results: dict[str, dict[str, Any]]) -> None:
    seeds = sum(name.startswith("hard-sunk-") for name in results)
    facts: dict[str, Any] = {"claim": "codistillation", "seeds": seeds}
    for which, words in METRICS.items():
        print(f"\n{words}: mean of both students, {seeds} seeds, 95 % intervals; differences are paired by seed")

        def read(result: dict[str, Any], which: str = which) -> float:
            return mean_score(result, which)

        for arm in ("teacher", "hard", "fixed", "dynamic", "hard-sunk", "hard-paid"):
            one = of_arm(results, arm, read)
            print(f"  {arm:<10} {one.mean:.4f} ± {one.half:.4f}   {of_arm(results, arm, lambda r: r['flops']).mean:.2e} FLOP")
        for rule in RULES:
            for other, words in (
                ("hard", "equal tokens"),
                ("hard-sunk", "equal compute, teacher at hand"),
                ("hard-paid", "teacher's training paid"),
            ):
                apart = paired(results, rule, other, read)
                facts[f"{which}: {rule} - {other}"] = [round(apart.mean, 4), round(apart.half, 4)]
                print(f"  {rule:<8} against {other:<10} ({words}): {apart}{'  nil' if apart.is_nil else ''}")
            facts[f"{which}: students from which {rule} pays"] = students_to_pay(results, rule, which)
            print(f"  {rule} pays from about {facts[f'{which}: students from which {rule} pays']} students on")
    plot(results)
    print(json.dumps(facts))


def students_to_pay(results: dict[str, dict[str, Any]], rule: str, which: str) -> str:
    """The least number of students with which `rule` does better than hard targets for the same compute a student."""
    curve = hard_curve(results, which)
    reached = of_arm(results, rule, lambda result: mean_score(result, which)).mean
    forward, training = extra_cost()
    for students in (*range(1, 101), math.inf):
        cost = 1 + (forward + training) * 2 / students  # `extra_cost` is a share of two students' training
        if reached < hard_at(curve, cost):
            return "any" if students == 1 else str(students) if students <= 100 else "over 100"
    return "none"


def hard_curve(results: dict[str, dict[str, Any]], which: str) -> list[tuple[float, float]]:
    """(compute as a multiple of the plain run's, score) of the hard arms."""
    base = of_arm(results, "hard", lambda result: result["flops"]).mean
    arms = ("hard", "hard-sunk", "hard-paid")
    return [
        (of_arm(results, arm, lambda r: r["flops"]).mean / base, of_arm(results, arm, lambda r: mean_score(r, which)).mean) for arm in arms
    ]


def hard_at(curve: list[tuple[float, float]], cost: float) -> float:
    """The hard arms' score at a cost, on lines over the logarithm of compute; the outer lines go on."""
    segment = 0 if cost < curve[1][0] else 1
    (x0, y0), (x1, y1) = curve[segment], curve[segment + 1]
    return y0 + (y1 - y0) * math.log(cost / x0) / math.log(x1 / x0)


def plot(results: dict[str, dict[str, Any]]) -> None:
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "puna"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    forward, training = extra_cost()
    for axis, (which, words) in zip(axes, METRICS.items(), strict=True):
        arms = {"hard": 1.0, "hard-sunk": 1 + forward, "hard-paid": 1 + forward + training}
        hard = [of_arm(results, arm, lambda result, which=which: mean_score(result, which)) for arm in arms]
        axis.errorbar(
            list(arms.values()),
            [one.mean for one in hard],
            [one.half for one in hard],
            label="hard targets",
            color="black",
            marker="o",
            capsize=3,
        )
        for rule, colour in (("fixed", "tab:orange"), ("dynamic", "tab:blue")):
            reached: Interval = interval([mean_score(result, which) for name, result in results.items() if name.startswith(f"{rule}-")])
            axis.errorbar(
                [1 + forward, 1 + forward + training],
                [reached.mean] * 2,
                [reached.half] * 2,
                label=f"{rule}: teacher at hand, and paid",
                color=colour,
                marker="s",
                linestyle=":",
                capsize=3,
            )
        axis.set_xlabel("compute, times the students' own")
        axis.set_ylabel(words)
        axis.legend(fontsize=7)
    figure.savefig(IMAGES / "claim-codistillation.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(__doc__ or "", TOKENS, jobs, work, report)
