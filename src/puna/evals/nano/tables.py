"""A nano's scores as the tables of its card, in Markdown."""

from collections.abc import Iterable, Mapping
from typing import Any

from puna.data.languages import LANGUAGES

# What each task asks, in the order of a card.
WHAT: dict[str, str] = {
    "naming": "what is this: 400 emoji and flags in a new size, place, turn and background, two views each",
    "naming-languages": "the same in 12 languages, one view each",
    "naming-unseen": "the same, drawn by an artist who never trained",
    "naming-all": "what is this: every emoji and flag, also those beside the 400",
    "clothes": "ten kinds of clothes, test photographs",
    "counting": "counting one to nine equal things",
    "placing": "two things: what is left or right, above or below",
    "where": "on which side a thing is, 12 languages",
    "shapes": "colour and form of a shape",
    "comparing": "which is bigger, which smaller, the odd one out",
    "printed-numbers": "printed numbers of one to four digits",
    "printed-words": "printed words, six languages",
    "video-way": "video: which way it moved",
    "video-way-languages": "the same in 12 languages",
    "video-moved": "video: what moved, of two things",
    "video-first": "video: what came first",
    "video-last": "video: what came last",
    "video-appeared": "video: what appeared, what disappeared",
    "video-change": "video: what happens",
    "sums": "sums and differences of two-digit pairs that training never shows",
    "sums-steps": "the same step by step, the whole line",
    "sums-easy": "sums, products and quotients known by heart",
    "number-words": "numbers in words, 12 languages, up to 100 and held-out ones to 9,999",
    "translation": "nouns and countries in another language, held-out directions",
    "geography": "capitals and continents, 12 languages, as drilled",
    "cards": "greetings, identity, abilities, 12 languages, as drilled",
    "facts": "what is X, as drilled",
    "copying": "repeat, reverse, which word stands where, 12 languages",
    "needles": "one code among four in held-out prose",
    "asked-language": "free questions: a whole, well-formed answer in the asked language",
    "lists": "a list of so many different members, in the form asked for",
    "stopping": "answers to mixed prompts that are well formed and stop",
    "starters": "the page's starter pictures, all languages",
}


def markdown(results: Iterable[Mapping[str, Any]]) -> str:
    """Results as `run_task` gives them: a table of scores with 95 % intervals, then one row a task that counts by language."""
    results = list(results)
    by_task = {result["task"]: result for result in results}
    scores = [by_task[task] for task in WHAT if task in by_task]
    rows = [(WHAT[each["task"]], _share(each), f"{each['correct']:,} of {each['total']:,}", f"`{each['task']}`") for each in scores]
    if (sentences := by_task.get("sentences")) is not None:
        copied = f"{sentences['chrf_of_copying']:.1f} by copying"
        rows.append(("held-out sentences into and out of English", f"chrF **{sentences['chrf']:.1f}**", copied, "`sentences`"))
    parts = [_table(("what", "score", "counts", "task"), rows)] if rows else []
    languages = {each["task"]: {key: f"{right / seen:.0%}" for key, (right, seen) in each["groups"].items()} for each in scores}
    languages = {task: groups for task, groups in languages.items() if set(LANGUAGES) <= set(groups)}
    if languages:
        parts.append(_table(("task", *LANGUAGES), [(f"`{task}`", *(g[key] for key in LANGUAGES)) for task, g in languages.items()]))
    if (bits := by_task.get("bits-per-byte")) is not None:
        per_byte = bits["bits_per_byte"]
        parts.append(_table(("bits per byte", *per_byte), [("held-out prose", *(f"{value:.2f}" for value in per_byte.values()))]))
    return "\n\n".join(parts)


def _share(result: Mapping[str, Any]) -> str:
    return f"**{result['rate']:.1%}** [{result['low']:.1%}, {result['high']:.1%}]"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
