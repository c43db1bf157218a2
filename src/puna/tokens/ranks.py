"""Meta's vocabulary file, and BPE by rank: of all neighbouring pairs, join the one whose joined bytes have the lowest rank.

`tokenizer.model` is text: one token a line, base64 bytes, a space, its rank. The rank is the id. [meta]
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path

import tiktoken

from puna.tokens.errors import TokenizerError
from puna.tokens.split import LLAMA4_PATTERN


def read_ranks(path: Path) -> list[bytes]:
    """The tokens of a tiktoken file in the order of their ranks."""
    ranks: dict[int, bytes] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[int(rank)] = base64.b64decode(token, validate=True)
        except (ValueError, binascii.Error) as error:
            raise TokenizerError(f"{path}, line {number}: {line[:40]!r} is not 'base64-token rank'; is this a tiktoken file?") from error
    missing = next((rank for rank in range(len(ranks)) if rank not in ranks), None)
    if missing is not None:
        raise TokenizerError(f"{path}: rank {missing} is missing among {len(ranks)} tokens; ranks must run from 0 without a gap")
    return [ranks[rank] for rank in range(len(ranks))]


class RankedBpe:
    """Plain-text BPE over a list of tokens in rank order."""

    def __init__(self, tokens: Sequence[bytes]) -> None:
        self.tokens = tuple(tokens)
        ranks = {token: rank for rank, token in enumerate(self.tokens)}
        if len(ranks) != len(self.tokens):
            raise TokenizerError(f"{len(self.tokens) - len(ranks)} tokens stand twice in the vocabulary; every rank needs its own bytes")
        absent = [value for value in range(256) if bytes([value]) not in ranks]
        if absent:
            raise TokenizerError(f"byte 0x{absent[0]:02x} is not in the vocabulary; byte-level BPE needs all 256 single bytes")
        # No special tokens are given to tiktoken: it cannot produce what it does not know.
        self._encoding = tiktoken.Encoding(name="puna", pat_str=LLAMA4_PATTERN, mergeable_ranks=ranks, special_tokens={})

    def encode(self, text: str) -> list[int]:
        return self._encoding.encode_ordinary(text)


def merges_of(tokens: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The pairs that BPE by rank may join, in the order in which it prefers them: what a `tokenizer.json` needs to give the same ids.

    Every way to cut a token into two known tokens counts, since by rank it does not matter how its two halves came about.
    """
    rank_of: Callable[[bytes], int | None] = {token: rank for rank, token in enumerate(tokens)}.get
    merges: list[tuple[bytes, bytes]] = []
    for token in tokens:
        halves = ((rank_of(token[:cut]), rank_of(token[cut:])) for cut in range(1, len(token)))
        pairs = sorted((left, right) for left, right in halves if left is not None and right is not None)
        merges += [(tokens[left], tokens[right]) for left, right in pairs]
    return merges
