"""How text is cut before BPE: the pattern that separates words, numbers, marks and spaces, and Meta's guard against giant runs.

The pattern is the published o200k one [meta]. BPE never merges across a cut, so both cuts are part of the tokenizer's meaning.
"""

import re
from collections.abc import Iterator

_UPPER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"
_LOWER = r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

# In this order: capitalised or lower-case words, words in capitals, numbers of up to three digits, marks, ends of lines, spaces.
LLAMA4_PATTERN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_CONTRACTION}",
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_CONTRACTION}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)

# [meta] Longer inputs made tiktoken's regular expression overflow; the numbers are part of the id contract for such inputs.
MAX_WINDOW = 400_000
MAX_RUN = 25_000

_RUN = re.compile(r"\s+|\S+")


def windows(text: str) -> Iterator[str]:
    """Cut `text` every 400,000 characters, and inside any run of more than 25,000 spaces or non-spaces every 25,000. [meta]"""
    if len(text) <= MAX_RUN:
        yield text
        return
    for start in range(0, len(text), MAX_WINDOW):
        yield from _cut_long_runs(text[start : start + MAX_WINDOW])


def _cut_long_runs(window: str) -> Iterator[str]:
    done = 0
    for run in _RUN.finditer(window):
        for cut in range(run.start() + MAX_RUN, run.end(), MAX_RUN):
            yield window[done:cut]
            done = cut
    yield window[done:]
