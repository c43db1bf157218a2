"""Whether replies end well whatever is asked, and whether the web page's own starters are answered."""

import json
import re
import string
from pathlib import Path
from typing import Any

from rich.progress import track

import puna
from puna.data import text_rows
from puna.evals.ask import Answerer, replies
from puna.evals.score import MAX_ANSWER_TOKENS, MAX_MISSES, Score, normalised, part, question_rng, score_of
from puna.stream import Message, Text

OPEN_PROMPTS = (
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
    kinds = ("translate", "number_words", "sums", "story", "card", "geography", "form")
    prompts: list[str] = list(OPEN_PROMPTS)
    for index in range(total - len(prompts)):
        rng = question_rng("prompts", index)
        prompts.append(text_rows.KINDS[kinds[index % len(kinds)]](rng).messages[0].text)
    return prompts


def is_well_formed(text: str, finish_reason: str) -> bool:
    """Stopped by itself, said something, left no special token's name or broken character, and is not stuck repeating."""
    if finish_reason != "stop" or not text.strip() or "<|" in text or "\ufffd" in text:
        return False
    return not has_loop(text)


def has_loop(text: str, times: int = 4) -> bool:
    """Whether some run of one to eight words, or of three to twelve letters without spaces, comes `times` times in a row; of one or two
    letters ("hahaha", "ooooh") six times.
    """
    words = text.casefold().split()
    for length in range(1, 9):
        for start in range(len(words) - length * times + 1):
            first = words[start : start + length]
            if all(words[start + k * length : start + (k + 1) * length] == first for k in range(1, times)):
                return True
    letters = text.translate(str.maketrans("", "", string.digits + ".…-"))
    return re.search(rf"(\S{{3,12}}?)\1{{{times - 1},}}|(\S{{1,2}}?)\2{{5,}}", letters) is not None


def stopping(answerer: Answerer, total: int = 200) -> Score:
    """Share of well-formed replies to `mixed_prompts`."""
    prompts = mixed_prompts(total)
    said = replies(answerer, [[Message("user", (Text(prompt),))] for prompt in prompts], 200, "stopping")
    results = [("all", is_well_formed(*reply)) for reply in said]
    misses = [
        (prompt, "a well-formed reply", f"[{reply.finish_reason}] {reply.text[:120]}")
        for prompt, reply, (_, is_right) in zip(prompts, said, results, strict=True)
        if not is_right
    ]
    return score_of("stopping", results, misses[:MAX_MISSES])


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
    for file, language, question, answer in track(part(asked, scale), description="starters"):
        content = [{"type": "image", "image": folder / file}, {"type": "text", "text": question}]
        said = pipeline.chat([{"role": "user", "content": content}], max_tokens=MAX_ANSWER_TOKENS).text
        is_right = normalised(said) == normalised(answer)
        results.append((language, is_right))
        if not is_right:
            misses.append((f"{file}: {question}", answer, said))
    return score_of("starters", results, misses[:MAX_MISSES])
