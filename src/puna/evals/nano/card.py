"""The card's tasks by name, and the program that runs them. Each score is printed with its 95 % Wilson interval.

python -m puna.evals.nano --model scout-nano --task naming --json
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.progress import track

from puna.data.emoji import TRAIN_ARTISTS
from puna.data.languages import LANGUAGES
from puna.evals.nano import naming, reading, scenes, video, words
from puna.evals.nano.bits import bits_per_byte, simple_english
from puna.evals.nano.language import asked_language, lists
from puna.evals.nano.replies import OPEN_PROMPTS, starters, stopping
from puna.evals.nano.sentences import sentences
from puna.evals.nano.tables import markdown
from puna.evals.score import Question, exact, part

Result = dict[str, Any]

# Tasks whose questions have one right answer. Each file of questions lists its own.
QUESTIONS: dict[str, Callable[[], Iterable[Question]]] = {
    **naming.QUESTIONS,
    **scenes.QUESTIONS,
    **reading.QUESTIONS,
    **video.QUESTIONS,
    **words.QUESTIONS,
}


def _exact(task: str, pipeline: Any, scale: float) -> Result:
    whole = list(QUESTIONS[task]())
    return asdict(exact(task, pipeline, part(whole, scale)))


def _bits_per_byte(task: str, pipeline: Any, scale: float) -> Result:
    rows = {language: bits_per_byte(pipeline, language, int(40_000 * scale)) for language in track(LANGUAGES, description=task)}
    rows = {"simple": simple_english(pipeline, int(60_000 * scale)), **rows}
    return {"task": task, "bits_per_byte": {k: round(v[0], 4) for k, v in rows.items()}, "bytes": {k: v[1] for k, v in rows.items()}}


# Every task: (its name, pipeline, share of the questions) -> its result as plain data.
TASKS: dict[str, Callable[[str, Any, float], Result]] = {
    **dict.fromkeys(QUESTIONS, _exact),
    "stopping": lambda _, pipeline, scale: asdict(stopping(pipeline, max(len(OPEN_PROMPTS), int(200 * scale)))),
    "starters": lambda _, pipeline, scale: asdict(starters(pipeline, scale)),
    "asked-language": lambda _, pipeline, scale: asdict(asked_language(pipeline, scale)),
    "lists": lambda _, pipeline, scale: asdict(lists(pipeline, max(36, int(180 * scale)))),
    "sentences": lambda _, pipeline, scale: sentences(pipeline, scale),
    "bits-per-byte": _bits_per_byte,
}


def run_task(task: str, pipeline: Any, scale: float = 1.0) -> Result:
    """One task's result as plain data. `scale` below 1 asks that share of the questions."""
    if task not in TASKS:
        raise ValueError(f"no nano task is called {task!r}; there are {', '.join(TASKS)}")
    return TASKS[task](task, pipeline, scale)


def _line(result: dict[str, Any]) -> str:
    if "bits_per_byte" in result:
        return f"{result['task']:<18}" + "  ".join(f"{language} {value:.2f}" for language, value in result["bits_per_byte"].items())
    if "chrf" in result:
        by_direction = "  ".join(f"{direction} {value:.0f}" for direction, value in result["by_direction"].items())
        beside = f"of {result['total']}, copying {result['chrf_of_copying']:.1f}"
        return f"{result['task']:<18}chrF {result['chrf']:.1f} ({beside})   {by_direction}"
    groups = "  ".join(f"{group} {right}/{seen}" for group, (right, seen) in result["groups"].items())
    share = f"{result['rate']:.1%} [{result['low']:.1%}, {result['high']:.1%}]"
    return f"{result['task']:<18}{result['correct']}/{result['total']} = {share}   {groups}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=f"Score a nano on held-out questions. Training artists: {', '.join(TRAIN_ARTISTS)}.")
    parser.add_argument("--model", default="scout-nano", help="name or directory")
    parser.add_argument("--task", action="append", choices=[*TASKS, "all"], help="may be given several times; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the questions to ask, e.g. 0.2 for a quick look")
    parser.add_argument("--misses", action="store_true", help="also print wrong answers")
    parser.add_argument("--json", action="store_true", help="print one JSON object per task")
    parser.add_argument("--markdown", action="store_true", help="print the tables of a card at the end")
    options = parser.parse_args(arguments)
    from puna.pipeline import load

    pipeline = load(options.model)
    chosen = options.task or ["all"]
    results = []
    for task in TASKS if "all" in chosen else chosen:
        result = run_task(task, pipeline, options.scale)
        misses = result.pop("misses", [])
        print(json.dumps({"model": options.model, **result}, ensure_ascii=False) if options.json else _line(result), flush=True)
        if options.misses:
            for question, expected, said in misses:
                print(f"    {question!r}: expected {expected!r}, said {said!r}")
        results.append(result)
    if options.markdown:
        print(f"\n{markdown(results)}")
