"""Claim: a student learns more from the same tokens with a teacher beside the data, and the teacher pays when several students share it.

    PUNA_DATA_MIRROR=DIR python recipes/claims/codistillation.py --out runs/codistillation

Two students (pico Scout and pico Maverick) train side by side; with a teacher (pico Behemoth, trained first, on half as many tokens again)
one forward of it serves both. Arms, each with three seeds (of data, of students and of the teacher):

    hard        the data alone
    fixed       half hard targets, half soft ones, all along
    dynamic     soft targets where the teacher beats the student, and less as training goes on (`puna.train.distill.Dynamic`)
    hard-sunk   the data alone, on as many more tokens as the teacher's forwards cost: the teacher exists already
    hard-paid   the data alone, on as many more tokens as the teacher's forwards and its whole training cost, shared by two students
    fixed-elder, dynamic-elder    a teacher with four times a student's tokens instead of one and a half

Then the report asks from how many students on the teacher would have paid: the curve of the hard arms over compute is drawn as a line
between its points, and the distilled arms' cost falls with the number of students.
"""

import json
import math
from pathlib import Path
from typing import Any

from pico import TOKENS_PER_BATCH, Job, behemoth, figure, fit, held_out, main, maverick, of_arm, paired, save, scout
from safetensors.torch import load_file, save_file

from puna.model import Model
from puna.train.distill import Codistillation, Dynamic, Fixed
from puna.train.machine import flops_per_token

TOKENS = 300_000
TEACHERS = {"teacher": 1.5, "elder": 4.0}  # tokens, as a multiple of a student's
STUDENTS = {"scout": scout(), "maverick": maverick()}
RULES = {"fixed": Fixed(0.5), "dynamic": Dynamic()}
DISTILLED = {f"{rule}{'' if teacher == 'teacher' else '-elder'}": (rule, teacher) for teacher in TEACHERS for rule in RULES}


def extra_cost(teacher: str = "teacher") -> tuple[float, float]:
    """What a teacher adds to a token of both students' training, as a share of it: its forward, and its own training."""
    students = sum(flops_per_token(config) for config in STUDENTS.values())
    cost = flops_per_token(behemoth())
    return cost / 3 / students, TEACHERS[teacher] * cost / students


def tokens_of(arm: str, tokens: int) -> int:
    forward, training = extra_cost()
    more = {**TEACHERS, "hard-sunk": 1 + forward, "hard-paid": 1 + forward + training}.get(arm, 1.0)
    return round(more * tokens / TOKENS_PER_BATCH) * TOKENS_PER_BATCH


def jobs(seeds: int) -> list[Job]:
    """Teachers first, then seed by seed; the longest runs last, so that a run that is cut short has whole seeds."""

    def distilled(seed: int, teacher: str) -> list[Job]:
        return [Job(f"{arm}-{seed}", (f"{teacher}-{seed}",)) for arm, (_, other) in DISTILLED.items() if other == teacher]

    chosen = [Job(f"teacher-{seed}") for seed in range(seeds)]
    for seed in range(seeds):
        chosen += [Job(f"hard-{seed}"), *distilled(seed, "teacher"), Job(f"hard-sunk-{seed}")]
    chosen += [Job(f"hard-paid-{seed}") for seed in range(seeds)]
    for seed in range(seeds):
        chosen += [Job(f"elder-{seed}"), *distilled(seed, "elder")]
    return chosen


def work(out: Path, job: str, tokens: int) -> dict[str, Any]:
    arm, _, number = job.rpartition("-")
    seed = int(number)
    configs = {"behemoth": behemoth()} if arm in TEACHERS else STUDENTS
    objective = None
    if arm in DISTILLED:
        rule, which = DISTILLED[arm]
        teacher = Model(behemoth())
        teacher.load_state_dict(load_file(out / f"{which}-{seed}.safetensors"))
        objective = Codistillation(teacher, RULES[rule])
    # A teacher reads other rows than its students: what it says of theirs is no memory of them.
    trained = fit(out / job, configs, tokens=tokens_of(arm, tokens), seed=seed + (100 if arm in TEACHERS else 0), objective=objective)
    flops = sum(trained.counted.flops(config) for config in configs.values())
    if arm in TEACHERS:
        save_file(trained.models["behemoth"].state_dict(), out / f"{job}.safetensors")
    if arm in DISTILLED:
        flops += trained.counted.flops(behemoth()) / 3
    return {
        "tokens": trained.counted.tokens,
        "flops": flops,
        "seconds": trained.seconds,
        "scores": {name: held_out(model) for name, model in trained.models.items()},
    }


def mean_score(result: dict[str, Any], which: str) -> float:
    """Over the students of a run."""
    return sum(scores[which] for scores in result["scores"].values()) / len(result["scores"])


HARD = ("hard", "hard-sunk", "hard-paid")
METRICS = {"bits_per_byte": "bits per byte of prose", "picture_nats": "nats per answer token on pictures"}


def report(results: dict[str, dict[str, Any]]) -> None:
    seeds = sum(name.startswith("hard-sunk-") for name in results)
    facts: dict[str, Any] = {"claim": "codistillation", "seeds": seeds}
    done = {name.rpartition("-")[0] for name in results}
    against = {"hard": "equal tokens", "hard-sunk": "equal compute, the teacher at hand", "hard-paid": "its training paid by two students"}
    for which, words in METRICS.items():
        print(f"\n{words}: mean of both students, {seeds} seeds, 95 % intervals; differences are paired by seed")

        def read(result: dict[str, Any], which: str = which) -> float:
            return mean_score(result, which)

        for arm in filter(done.__contains__, (*TEACHERS, *against, *DISTILLED)):
            one = of_arm(results, arm, read)
            print(f"  {arm:<13} {one.mean:.4f} ± {one.half:.4f}   {of_arm(results, arm, lambda r: r['flops']).mean:.2e} FLOP")
        for arm, (_, teacher) in distilled_of(results).items():
            for other, words in against.items():
                if other == "hard-paid" and teacher != "teacher":
                    continue  # that arm pays for the other teacher
                apart = paired(results, arm, other, read)
                facts[f"{which}: {arm} - {other}"] = [round(apart.mean, 4), round(apart.half, 4)]
                print(f"  {arm:<13} against {other:<9} ({words}): {apart}{'  nil' if apart.is_nil else ''}")
            facts[f"{which}: students from which {arm} pays"] = students_to_pay(results, arm, which)
            print(f"  {arm:<13} pays from this many students on: {facts[f'{which}: students from which {arm} pays']}")
    plot(results)
    print(json.dumps(facts))


def distilled_of(results: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """The arms of `DISTILLED` that have run."""
    return {arm: made_of for arm, made_of in DISTILLED.items() if any(name.rpartition("-")[0] == arm for name in results)}


def students_to_pay(results: dict[str, dict[str, Any]], arm: str, which: str) -> str:
    """The least number of students with which `arm` does better than hard targets for the same compute a student."""
    curve = hard_curve(results, which)
    reached = of_arm(results, arm, lambda result: mean_score(result, which)).mean
    forward, training = extra_cost(DISTILLED[arm][1])
    for students in (*range(1, 101), math.inf):
        cost = 1 + (forward + training) * 2 / students  # `extra_cost` is a share of two students' training
        if reached < hard_at(curve, cost):
            return "any" if students == 1 else str(students) if students <= 100 else "over 100"
    return "none"


def hard_curve(results: dict[str, dict[str, Any]], which: str) -> list[tuple[float, float]]:
    """(compute as a multiple of the plain run's, score) of the hard arms."""
    base = of_arm(results, "hard", lambda result: result["flops"]).mean
    return [
        (of_arm(results, arm, lambda r: r["flops"]).mean / base, of_arm(results, arm, lambda r: mean_score(r, which)).mean) for arm in HARD
    ]


def hard_at(curve: list[tuple[float, float]], cost: float) -> float:
    """The hard arms' score at a cost, on lines over the logarithm of compute; the outer lines go on."""
    segment = 0 if cost < curve[1][0] else 1
    (x0, y0), (x1, y1) = curve[segment], curve[segment + 1]
    return y0 + (y1 - y0) * math.log(cost / x0) / math.log(x1 / x0)


def plot(results: dict[str, dict[str, Any]]) -> None:
    drawn, axes = figure(2, 9, 3.6)
    for axis, (which, words) in zip(axes, METRICS.items(), strict=True):

        def read(result: dict[str, Any], which: str = which) -> float:
            return mean_score(result, which)

        costs, hard = [cost for cost, _ in hard_curve(results, which)], [of_arm(results, arm, read) for arm in HARD]
        axis.errorbar(
            costs, [one.mean for one in hard], [one.half for one in hard], label="hard targets", color="black", marker="o", capsize=3
        )
        for arm, (rule, teacher) in distilled_of(results).items():
            forward, training = extra_cost(teacher)
            one = of_arm(results, arm, read)
            style = dict(color="tab:orange" if rule == "fixed" else "tab:blue", marker="s" if teacher == "teacher" else "^", capsize=3)
            axis.errorbar([1 + forward, 1 + forward + training], [one.mean] * 2, [one.half] * 2, label=arm, linestyle=":", **style)
        axis.set_xscale("log")
        axis.set_xticks([1, 2, 4], ["1", "2", "4"])
        axis.minorticks_off()
        axis.set_xlabel("compute, times the students' own: teacher at hand ... paid by two")
        axis.set_ylabel(words)
        axis.legend(fontsize=7)
    save(drawn, "codistillation")


if __name__ == "__main__":
    main(__doc__ or "", TOKENS, jobs, work, report)
