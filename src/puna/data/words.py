"""Many texts at once as arrays: what kind of character stands where, one 64-bit hash a word, and hashes of runs of words.

Everything that looks at whole corpora (quality, near-duplicates, evaluation overlap) works on these arrays, so that a hundred megabytes
take seconds. An ideograph or a kana is a word of its own; elsewhere a word is a run of letters, marks and digits. Case does not count.
Knows no languages' rules.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

# Classes of characters. Words are made of what stands behind SPACE.
CLASSES: tuple[str, ...] = (
    *("symbol", "space", "digit", "latin", "cyrillic", "arabic", "devanagari", "hangul", "kana", "han", "other letter"),
)
SYMBOL, SPACE, DIGIT, LATIN, CYRILLIC, ARABIC, DEVANAGARI, HANGUL, KANA, HAN, OTHER = range(len(CLASSES))
_BY_NAME = {
    **{"LATIN": LATIN, "CYRILLIC": CYRILLIC, "ARABIC": ARABIC, "DEVANAGARI": DEVANAGARI, "HANGUL": HANGUL},
    **{"HIRAGANA": KANA, "KATAKANA": KANA, "KATAKANA-HIRAGANA": KANA, "CJK": HAN, "IDEOGRAPHIC": HAN},
}
# Odd constants of well-known 64-bit mixers; which ones they are does not matter.
_CHAR, _PLACE, _STIR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0xD6E8FEB86659FD93)
_WORD = 0x9FB21C651E98DF25
_SHIFT = np.uint64(32)


@cache
def _class_table() -> np.ndarray:
    """The class of each code point of the basic plane, uint8 [65536]."""
    table = np.zeros(1 << 16, dtype=np.uint8)
    for code in range(1 << 16):
        character = chr(code)
        category = unicodedata.category(character)
        if character.isspace():
            table[code] = SPACE
        elif category[0] == "N":
            table[code] = DIGIT
        elif category[0] in "LM":
            table[code] = _BY_NAME.get(unicodedata.name(character, "").split(" ")[0], OTHER)
    return table


def _classes_of(points: np.ndarray) -> np.ndarray:
    """uint8 classes of uint32 code points. Above the basic plane: ideographs from U+20000, everything else counts as a symbol."""
    classes = _class_table()[np.minimum(points, 0xFFFF)]
    if points.size and points.max() > 0xFFFF:
        classes = np.where(points > 0xFFFF, np.where((points >= 0x20000) & (points < 0x40000), HAN, SYMBOL), classes).astype(np.uint8)
    return classes


@dataclass(frozen=True, slots=True)
class Words:
    """The words of several texts: `hashes` uint64 [n] in order, `text` int64 [n] (which text each stands in), and per text the number of
    characters of each class, int64 [texts, classes]."""

    hashes: np.ndarray
    text: np.ndarray
    classes: np.ndarray

    @property
    def num_texts(self) -> int:
        return len(self.classes)

    def per_text(self) -> np.ndarray:
        """Words in each text, int64 [texts]."""
        return np.bincount(self.text, minlength=self.num_texts)


def words_of(texts: Sequence[str]) -> Words:
    """The words of `texts`, which hold no lone surrogates."""
    lowered = [text.lower() for text in texts]
    points = np.frombuffer("\n".join([*lowered, ""]).encode("utf-32-le"), dtype=np.uint32)
    ends = np.cumsum([len(text) + 1 for text in lowered])  # the line end belongs to the text before it, as a space
    classes = _classes_of(points)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    counts = np.stack([np.add.reduceat(classes == kind, starts, dtype=np.int64) for kind in range(len(CLASSES))], axis=1)
    counts[:, SPACE] -= 1

    inside = classes > SPACE
    alone = classes >= KANA
    alone &= classes <= HAN
    begins = inside.copy()
    begins[1:] &= ~inside[:-1] | alone[1:] | alone[:-1]
    letters = np.flatnonzero(inside)
    if not len(letters):
        return Words(np.empty(0, np.uint64), np.empty(0, np.int64), counts)
    first = np.flatnonzero(begins[letters])
    place = np.arange(len(letters)) - np.repeat(first, np.diff(first, append=len(letters)))
    mixed = points[letters].astype(np.uint64) * _CHAR
    mixed ^= place.astype(np.uint64) * _PLACE
    mixed ^= mixed >> _SHIFT
    mixed *= _STIR
    mixed ^= mixed >> _SHIFT
    # Which text a word stands in: count the words that begin before each text's end.
    upto = np.searchsorted(letters[first], ends)
    text = np.repeat(np.arange(len(texts)), np.diff(upto, prepend=0))
    return Words(np.add.reduceat(mixed, first), text, counts)


def word_hash(word: str) -> np.uint64:
    """The hash that `words_of` gives to one word."""
    return words_of([word]).hashes[0]


class Runs:
    """Hashes of all runs of `length` words that stand in one text, for any length: prefix sums of a polynomial modulo 2**64.

    A run starting at word i has the value sum of hash[i + j] * P**j, whatever stands before it.
    """

    def __init__(self, words: Words) -> None:
        self._words = words
        n = len(words.hashes)
        powers, inverses = _powers(n)
        self._sums = np.zeros(n + 1, dtype=np.uint64)
        np.cumsum(words.hashes * powers[:n], out=self._sums[1:])
        self._inverses = inverses

    def of(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Hashes uint64 [m] and the text of each, int64 [m]."""
        text = self._words.text
        last = len(text) - length + 1
        if last <= 0:
            return np.empty(0, np.uint64), np.empty(0, np.int64)
        whole = text[:last] == text[length - 1 :]
        hashes = self._sums[length:] - self._sums[:last]
        hashes *= self._inverses[:last]
        hashes = hashes[whole]
        hashes ^= hashes >> _SHIFT
        hashes *= _STIR
        hashes ^= hashes >> _SHIFT
        return hashes, text[:last][whole]


_TABLE_STEP = 1 << 16


@cache
def _power_table(size: int) -> tuple[np.ndarray, np.ndarray]:
    inverse = pow(_WORD, -1, 1 << 64)
    return tuple(np.cumprod(np.array([1] + [base] * (size - 1), dtype=np.uint64)) for base in (_WORD, inverse))  # pyright: ignore[reportReturnType]


def _powers(n: int) -> tuple[np.ndarray, np.ndarray]:
    """P**i and P**-i modulo 2**64 for i < n at least."""
    return _power_table(-(-max(n, 1) // _TABLE_STEP) * _TABLE_STEP)


def batches(texts: Iterable[str], max_chars: int = 300_000) -> Iterator[list[str]]:
    """Lists of about `max_chars` characters: few enough for the processor's cache, many enough for arrays to pay."""
    batch: list[str] = []
    chars = 0
    for text in texts:
        batch.append(text)
        chars += len(text)
        if chars >= max_chars:
            yield batch
            batch, chars = [], 0
    if batch:
        yield batch
