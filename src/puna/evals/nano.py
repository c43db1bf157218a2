"""The nano's card: what it names, counts, places, adds and spells, held out, each score with its counts and a 95 % interval.

Questions come from the drills of `puna.data`, drawn with the "eval" purpose, whose generators training cannot reach. Pictures are new
renderings; `--artist fxemoji` shows an artist who was never trained on. Answers are greedy and must match the whole expected text but
for case, spaces and a closing full stop. As a program:

    python -m puna.evals.nano --model scout-nano --task naming --json
"""

import argparse
import json
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from rich.progress import track

import puna
from puna.data import phrases, scenes, skills
from puna.data.cards import CARDS
from puna.data.chance import generator
from puna.data.emoji import TRAIN_ARTISTS, UNSEEN_ARTIST, album, artists_of, codes, inventory, render_emoji
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.row import picture_part
from puna.data.text import language_documents
from puna.stream import Message, Text

SEED = 1
_MAX_ANSWER_TOKENS = 40
_PAGES_PER_SOURCE = 8


class Answerer(Protocol):
    """What the scores need of a pipeline."""

    def chat(self, messages: Sequence[Message], *, max_tokens: int) -> Any: ...


class Question(NamedTuple):
    """One question, its pictures, what counts as right, and the group that its result is counted under."""

    text: str
    pictures: tuple[np.ndarray, ...]
    expected: str
    group: str


@dataclass(frozen=True, slots=True)
class Score:
    """`correct` of `total`, with a 95 % Wilson interval, and the same by group. `misses` are a few (question, expected, said)."""

    task: str
    correct: int
    total: int
    rate: float
    low: float
    high: float
    groups: dict[str, tuple[int, int]] = field(default_factory=dict)
    misses: list[tuple[str, str, str]] = field(default_factory=list)


def interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if total == 0:
        return 0.0, 1.0
    z, share = 1.96, correct / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def score_of(task: str, results: Iterable[tuple[str, bool]], misses: Sequence[tuple[str, str, str]] = ()) -> Score:
    """A score from (group, right or wrong) pairs."""
    groups: dict[str, tuple[int, int]] = {}
    for group, is_right in results:
        right, seen = groups.get(group, (0, 0))
        groups[group] = (right + is_right, seen + 1)
    correct, total = sum(right for right, _ in groups.values()), sum(seen for _, seen in groups.values())
    return Score(task, correct, total, correct / total if total else 0.0, *interval(correct, total), groups, list(misses))


def normalised(text: str) -> str:
    """For comparing: one case, single spaces, no leading English article, no closing full stop."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return re.sub(r"^(?:an?|the) ", "", folded.rstrip(" .。।!"))


def ask(answerer: Answerer, question: Question) -> str:
    """The greedy reply to one question."""
    content = (*(picture_part(picture) for picture in question.pictures), Text(question.text))
    return answerer.chat([Message("user", content)], max_tokens=_MAX_ANSWER_TOKENS).text


def exact(task: str, answerer: Answerer, questions: Sequence[Question]) -> Score:
    """Ask all; right means equal after `normalised`."""
    results: list[tuple[str, bool]] = []
    misses: list[tuple[str, str, str]] = []
    for question in track(questions, description=task):
        said = ask(answerer, question)
        is_right = normalised(said) == normalised(question.expected)
        results.append((question.group, is_right))
        if not is_right and len(misses) < 40:
            misses.append((question.text, question.expected, said))
    return score_of(task, results, misses)


# --- questions ----------------------------------------------------------------------------------------------------------------


def naming_questions(language: str, views: int = 1, artist: str | None = None) -> Iterator[Question]:
    """Each emoji and flag in `views` new renderings; flags are asked for their country. Groups: emoji, flag."""
    for place, code in enumerate(codes()):
        if artist == UNSEEN_ARTIST and code not in album(UNSEEN_ARTIST):
            continue
        emoji = inventory()[code]
        for view in range(views):
            # The language is in the index, so that no two languages share a rendering.
            rng = generator("eval", SEED, (LANGUAGES.index(language) * 1000 + place) * 10 + view)
            drawn_by = artist or rng.choice(artists_of(code))
            text = rng.choice((phrases.ASK_COUNTRY if emoji.is_flag else phrases.ASK_NAME)[language])
            yield Question(text, (render_emoji(code, rng, drawn_by),), emoji.names[language], "flag" if emoji.is_flag else "emoji")


def counting_questions(each: int = 40) -> Iterator[Question]:
    """1 to 5 equal emoji, `each` of every number, in English. Groups: the number."""
    for number in range(1, 6):
        for view in range(each):
            rng = generator("eval", SEED + 1, number * 1000 + view)
            scene = scenes.counting_scene(rng, number)
            yield Question(rng.choice(phrases.ASK_COUNT["en"]), (scenes.draw(scene, rng),), str(number), str(number))


def placing_questions(total: int = 200) -> Iterator[Question]:
    """Two things in a row: what is on a side, in English. Groups: left, right, top, bottom."""
    for index in range(total):
        rng = generator("eval", SEED + 2, index)
        side = index % 4
        scene = scenes.row_scene(rng, 2, vertical=side >= 2)
        answer = inventory()[scene.at_side(side).code].names["en"]
        yield Question(phrases.ASK_AT["en"][side], (scenes.draw(scene, rng),), answer, ("left", "right", "top", "bottom")[side])


def where_questions(total: int = 120) -> Iterator[Question]:
    """One thing: on the left or on the right, at the top or at the bottom; in all languages. Groups: the language."""
    for index in range(total):
        rng = generator("eval", SEED + 3, index)
        side, language = rng.randrange(4), LANGUAGES[index % len(LANGUAGES)]
        scene = scenes.side_scene(rng, side)
        yield Question(phrases.ASK_SIDE[language][side // 2], (scenes.draw(scene, rng),), phrases.SIDES[language][side], language)


def shape_questions(total: int = 120) -> Iterator[Question]:
    """Colour and form of one shape, in English. Groups: colour, form."""
    for index in range(total):
        rng = generator("eval", SEED + 4, index)
        scene = scenes.shape_scene(rng, 1)
        item, asks_colour = scene.items[0], index % 2 == 0
        table = phrases.ASK_COLOUR if asks_colour else phrases.ASK_SHAPE
        answer = phrases.COLOURS["en"][item.colour] if asks_colour else phrases.SHAPES["en"][item.shape]
        yield Question(rng.choice(table["en"]), (scenes.draw(scene, rng),), answer, "colour" if asks_colour else "form")


def sum_questions(total: int = 300) -> Iterator[Question]:
    """Sums as in training's ranges. Training draws from the same few hundred pairs: this measures that they are known, not transfer."""
    for index in range(total):
        rng = generator("eval", SEED + 5, index)
        expression, value = skills.sum_pair(rng)
        numbers = [int(number) for number in re.findall(r"\d+", expression)]
        sign = expression.split()[1]
        group = "times" if sign not in "+-" else "to 20" if max(*numbers, int(value)) <= 20 else "to 100"
        yield Question(rng.choice(phrases.ASK_SUM["en"]).format(sum=expression), (), value, group)


def number_word_questions() -> Iterator[Question]:
    """Every drilled number in words, in every language. Groups: the language."""
    for language in LANGUAGES:
        for number in phrases.SPOKEN_NUMBERS:
            yield Question(phrases.ASK_WORDS[language][0].format(number=number), (), phrases.number_word(number, language), language)


def translation_questions(total: int = 330) -> Iterator[Question]:
    """How do you say a name in another language, asked in English. Groups: the language asked for."""
    names = [emoji.names for emoji in inventory().values()]
    for index in range(total):
        rng = generator("eval", SEED + 6, index)
        target = LANGUAGES[1 + index % (len(LANGUAGES) - 1)]
        entry = rng.choice(names)
        text = phrases.ASK_SAY["en"][0].format(word=entry["en"], language=LANGUAGE_NAMES["en"][target])
        yield Question(text, (), entry[target], target)


def card_questions() -> Iterator[Question]:
    """Every wording of every set card. Groups: the language."""
    for language in LANGUAGES:
        for card in CARDS[language]:
            for text in card.questions:
                yield Question(text, (), card.answer, language)


def fact_questions(total: int = 200) -> Iterator[Question]:
    """The commonest topics, as drilled: what the model remembers of its training."""
    for text, answer in skills.facts()[:total]:
        yield Question(text, (), answer, "fact")


# --- well-formed replies ------------------------------------------------------------------------------------------------------

_OPEN_PROMPTS = (
    "Tell me a story about a cat.",
    "Tell me a story about a brave mouse and a river.",
    "What is water?",
    "What is a tree?",
    "Why is the sky blue?",
    "Write a poem.",
    "Who was Napoleon?",
    "Give me three animals.",
    "What should I eat today?",
    "Explain rain.",
    "Do you like music?",
    "Tell me a joke.",
    "What is love?",
    "Where is Paris?",
    "Say something nice.",
    "I am sad.",
    "Can you help me with homework?",
    "What is 1000 + 1?",
    "asdf qwer",
    "???",
    "Name a fruit.",
    "What is the capital of France?",
    "Is the earth round?",
    "Sing a song.",
    "Translate into French: dog",
)


def mixed_prompts(total: int = 200) -> list[str]:
    """Prompts of all kinds, drilled and free."""
    drills: tuple[Callable[..., skills.Drill], ...] = (skills.translate, skills.number_words, skills.sums, skills.tell_story, skills.card)
    prompts: list[str] = list(_OPEN_PROMPTS)
    for index in range(total - len(prompts)):
        rng = generator("eval", SEED + 7, index)
        prompts.append(drills[index % len(drills)](rng).turns[0][0])
    return prompts


def is_well_formed(text: str, finish_reason: str) -> bool:
    """Stopped by itself, said something, left no special token's name or broken character, and is not stuck repeating."""
    if finish_reason != "stop" or not text.strip() or "<|" in text or "\ufffd" in text:
        return False
    return not has_loop(text)


def has_loop(text: str, times: int = 4) -> bool:
    """Whether some run of one to eight words, or of one to twelve letters without spaces, comes `times` times in a row."""
    words = text.casefold().split()
    for length in range(1, 9):
        for start in range(len(words) - length * times + 1):
            first = words[start : start + length]
            if all(words[start + k * length : start + (k + 1) * length] == first for k in range(1, times)):
                return True
    return re.search(r"(\S{1,12}?)\1{5,}", text.translate(str.maketrans("", "", string.digits + ".…-"))) is not None


def stopping(answerer: Answerer, total: int = 200) -> Score:
    """Share of well-formed replies to `mixed_prompts`."""
    results, misses = [], []
    for prompt in track(mixed_prompts(total), description="stopping"):
        reply = answerer.chat([Message("user", (Text(prompt),))], max_tokens=200)
        is_right = is_well_formed(reply.text, reply.finish_reason)
        results.append(("all", is_right))
        if not is_right:
            misses.append((prompt, "a well-formed reply", f"[{reply.finish_reason}] {reply.text[:120]}"))
    return score_of("stopping", results, misses[:40])


# --- the page's starters -------------------------------------------------------------------------------------------------------


def starters(pipeline: Any, scale: float = 1.0) -> Score:
    """The web page's own pictures and questions, read from their files as a visitor's would be. Groups: the language."""
    folder = Path(puna.__path__[0]) / "serve" / "web" / "starters"
    listed = json.loads((folder / "starters.json").read_text(encoding="utf-8"))["starters"]
    expected = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    asked = [
        (starter["file"], language, question, answer)
        for starter in listed
        for language, questions in starter["questions"].items()
        for question, answer in zip(questions, expected[starter["file"]]["answers"][language], strict=True)
    ]
    results, misses = [], []
    for file, language, question, answer in track(asked[:: max(1, round(1 / scale))], description="starters"):
        content = [{"type": "image", "image": folder / file}, {"type": "text", "text": question}]
        said = pipeline.chat([{"role": "user", "content": content}], max_tokens=_MAX_ANSWER_TOKENS).text
        is_right = normalised(said) == normalised(answer)
        results.append((language, is_right))
        if not is_right:
            misses.append((f"{file}: {question}", answer, said))
    return score_of("starters", results, misses[:40])


# --- bits per byte ------------------------------------------------------------------------------------------------------------


def bits_per_byte(pipeline: Any, language: str, max_bytes: int = 40_000, window: int = 512) -> tuple[float, int]:
    """Held-out bits per UTF-8 byte in one language, and how many bytes were read. Each window starts from begin-of-text alone."""
    special = pipeline.tokenizer.special
    bits, num_bytes = 0.0, 0
    # The openings of a few held-out pages of each source, so that no one book decides.
    pages: Counter[str] = Counter()
    for document in language_documents(language, "held_out"):
        pages[document.source] += 1
        if pages[document.source] > _PAGES_PER_SOURCE:
            continue
        ids = pipeline.tokenizer.encode(document.text[:2000])[: window - 1]
        scores = np.asarray(pipeline.logits([special.bos, *ids]), dtype=np.float32)[:-1]
        top = scores.max(axis=1, keepdims=True)
        log_total = np.log(np.exp(scores - top).sum(axis=1)) + top[:, 0]
        bits += float((log_total - scores[np.arange(len(ids)), ids]).sum()) / math.log(2)
        num_bytes += len(pipeline.tokenizer.decode_bytes(ids))
        if num_bytes >= max_bytes:
            break
    return (bits / num_bytes if num_bytes else math.nan), num_bytes


# --- the program --------------------------------------------------------------------------------------------------------------

TASKS: tuple[str, ...] = (
    "naming",
    "naming-languages",
    "naming-unseen",
    "counting",
    "placing",
    "where",
    "shapes",
    "sums",
    "number-words",
    "translation",
    "cards",
    "facts",
    "stopping",
    "starters",
    "bits-per-byte",
)


def run_task(task: str, pipeline: Any, scale: float = 1.0) -> dict[str, Any]:
    """One task's result as plain data. `scale` below 1 asks that share of the questions, evenly spread."""

    def some(questions: Iterable[Question]) -> list[Question]:
        whole = list(questions)
        return whole if scale >= 1 else [whole[int(k / scale)] for k in range(int(len(whole) * scale))]

    if task == "bits-per-byte":
        rows = {language: bits_per_byte(pipeline, language, int(40_000 * scale)) for language in track(LANGUAGES, description=task)}
        return {"task": task, "bits_per_byte": {k: round(v[0], 4) for k, v in rows.items()}, "bytes": {k: v[1] for k, v in rows.items()}}
    if task == "stopping":
        return asdict(stopping(pipeline, max(len(_OPEN_PROMPTS), int(200 * scale))))
    if task == "starters":
        return asdict(starters(pipeline, scale))
    if task == "naming-languages":
        each = {language: exact(f"naming in {language}", pipeline, some(naming_questions(language))) for language in LANGUAGES}
        results = [(language, k < score.correct) for language, score in each.items() for k in range(score.total)]
        return asdict(score_of(task, results, [miss for score in each.values() for miss in score.misses[:5]]))
    questions: dict[str, Callable[[], Iterable[Question]]] = {
        "naming": lambda: naming_questions("en", views=2),
        "naming-unseen": lambda: naming_questions("en", artist=UNSEEN_ARTIST),
        "counting": counting_questions,
        "placing": placing_questions,
        "where": where_questions,
        "shapes": shape_questions,
        "sums": sum_questions,
        "number-words": number_word_questions,
        "translation": translation_questions,
        "cards": card_questions,
        "facts": fact_questions,
    }
    if task not in questions:
        raise ValueError(f"no nano task is called {task!r}; there are {', '.join(TASKS)}")
    return asdict(exact(task, pipeline, some(questions[task]())))


def _line(result: dict[str, Any]) -> str:
    if "bits_per_byte" in result:
        return f"{result['task']:<18}" + "  ".join(f"{language} {value:.2f}" for language, value in result["bits_per_byte"].items())
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
    options = parser.parse_args(arguments)
    from puna.pipeline import load

    pipeline = load(options.model)
    chosen = options.task or ["all"]
    for task in TASKS if "all" in chosen else chosen:
        result = run_task(task, pipeline, options.scale)
        misses = result.pop("misses", [])
        print(json.dumps({"model": options.model, **result}, ensure_ascii=False) if options.json else _line(result), flush=True)
        if options.misses:
            for question, expected, said in misses:
                print(f"    {question!r}: expected {expected!r}, said {said!r}")


if __name__ == "__main__":
    main()
