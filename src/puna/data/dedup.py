"""Near-duplicates by MinHash: signatures of texts, and which of many texts says what an earlier one has said.

A signature holds, for each of 112 hash functions, the least value over the text's runs of words; two signatures agree in about the share
of runs that the texts have in common (Jaccard). Texts that agree in all 8 values of one of 14 bands are candidates: at 75 % in common 77 %
of the pairs are, at 90 % all but one in 400 [paper: the settings of FineWeb, arXiv:2406.17557]. A candidate counts only if the whole
signatures agree in 70 %. Own numpy because whole batches are hashed at once: a hundred megabytes in seconds.
"""

import numpy as np

from puna.data.words import Runs

NUM_HASHES, NUM_BANDS = 112, 14
SIMILAR = 0.7
_RUN_WORDS = 5
# Where every character is a word, five of them are half a clause.
_RUN_CHARACTERS = 8
_ROWS = NUM_HASHES // NUM_BANDS
_EMPTY = np.uint32(0xFFFFFFFF)


def _functions() -> tuple[np.ndarray, np.ndarray]:
    """Odd factors and offsets of the hash functions x -> a x + b modulo 2**32, always the same."""
    rng = np.random.default_rng(20250405)
    return rng.integers(0, 1 << 32, NUM_HASHES, dtype=np.uint32) | np.uint32(1), rng.integers(0, 1 << 32, NUM_HASHES, dtype=np.uint32)


def run_length(language: str) -> int:
    """How many words a run has in `language`."""
    return _RUN_CHARACTERS if language in ("ja", "zh") else _RUN_WORDS


def signatures(runs: Runs, num_texts: int, language: str) -> np.ndarray:
    """uint32 [texts, NUM_HASHES]. A text with fewer words than a run has has no signature: all values are the largest."""
    hashes, text = runs.of(run_length(language))
    out = np.full((num_texts, NUM_HASHES), _EMPTY, dtype=np.uint32)
    if len(hashes):
        starts = np.flatnonzero(np.diff(text, prepend=-1))
        short = (hashes >> np.uint64(32)).astype(np.uint32)
        value = np.empty_like(short)
        for column, (factor, offset) in enumerate(zip(*_functions(), strict=True)):
            np.multiply(short, factor, out=value)
            value += offset
            out[text[starts], column] = np.minimum.reduceat(value, starts)
    return out


def earlier_twins(signatures: np.ndarray) -> np.ndarray:
    """For each row the index of an earlier row that it repeats, or -1; int64 [rows]. Rows stand in order of preference."""
    twins = np.full(len(signatures), -1, dtype=np.int64)
    rows = np.flatnonzero((signatures != _EMPTY).any(axis=1))
    if not len(rows):
        return twins
    for band in range(NUM_BANDS):
        key = _mixed(signatures[rows, band * _ROWS : (band + 1) * _ROWS])
        order = np.argsort(key, kind="stable")  # rows of one key side by side, earlier ones first
        same = key[order][1:] == key[order][:-1]
        first = np.maximum.accumulate(np.where(np.concatenate([[True], ~same]), np.arange(len(order)), 0))
        for earlier, later in ((first[1:][same], np.flatnonzero(same) + 1), (np.flatnonzero(same), np.flatnonzero(same) + 1)):
            one, other = rows[order[earlier]], rows[order[later]]
            fresh = twins[other] < 0
            one, other = one[fresh], other[fresh]
            for start in range(0, len(one), 65_536):  # a pair costs two signatures of memory
                some = slice(start, start + 65_536)
                alike = (signatures[one[some]] == signatures[other[some]]).mean(axis=1) >= SIMILAR
                twins[other[some][alike]] = one[some][alike]
    return twins


def _mixed(values: np.ndarray) -> np.ndarray:
    """One 64-bit number for each row of uint32 `values`: equal rows, equal numbers. Chance equals are told apart by their signatures."""
    mixed = np.zeros(len(values), dtype=np.uint64)
    for column in range(values.shape[1]):
        mixed = (mixed ^ values[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
