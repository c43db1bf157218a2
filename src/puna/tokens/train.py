"""Training a new byte-level BPE vocabulary with Llama 4's split pattern and the compact special tokens on top.

As a program: `python -m puna.tokens.train --num-ranks 8192 --out DIR FILE...` with UTF-8 texts, or JSONL whose rows have a "text".
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Split
from tokenizers.pre_tokenizers import Sequence as InOrder
from tokenizers.trainers import BpeTrainer

from puna.tokens.bpe import Tokenizer
from puna.tokens.errors import TokenizerError
from puna.tokens.hf import unspell
from puna.tokens.ranks import RankedBpe
from puna.tokens.special import SpecialTokens, compact_layout
from puna.tokens.split import LLAMA4_PATTERN


def train_tokenizer(
    texts: Iterable[str],
    num_ranks: int,
    *,
    special: SpecialTokens | None = None,
    min_frequency: int = 2,
    max_token_bytes: int | None = 32,
    show_progress: bool = False,
) -> Tokenizer:
    """A tokenizer of exactly `num_ranks` BPE ids, 256 bytes first, learned from `texts`.

    Ids stand in the order of their merges, so that Meta's form (rank = id) and Hugging Face's (list of merges) say the same.
    """
    if num_ranks < 256:
        raise TokenizerError(f"num_ranks={num_ranks} is too small: byte-level BPE starts from 256 single bytes")
    learner = tokenizers.Tokenizer(BPE())
    words = Split(tokenizers.Regex(LLAMA4_PATTERN), "isolated")
    learner.pre_tokenizer = InOrder([words, ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = BpeTrainer(
        vocab_size=num_ranks,
        min_frequency=min_frequency,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=[],
        max_token_length=max_token_bytes,
        show_progress=show_progress,
    )
    learner.train_from_iterator(texts, trainer)
    vocab = learner.get_vocab(with_added_tokens=False)
    if len(vocab) != num_ranks:
        raise TokenizerError(
            f"the texts gave {len(vocab)} ids, fewer than num_ranks={num_ranks}: "
            f"no other pair occurs {min_frequency} times; give more text or ask for fewer ids"
        )
    ranks = [unspell(token) for token in sorted(vocab, key=vocab.__getitem__)]
    return Tokenizer(RankedBpe(ranks), special or compact_layout(num_ranks))


def read_texts(paths: Sequence[Path]) -> Iterator[str]:
    """The texts of UTF-8 files, one a file, or of `.jsonl` files, one a row."""
    for path in paths:
        if path.suffix == ".jsonl":
            with path.open(encoding="utf-8") as rows:
                yield from (json.loads(row)["text"] for row in rows if row.strip())
        else:
            yield path.read_text(encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a byte-level BPE vocabulary with Llama 4's split pattern.")
    parser.add_argument("files", nargs="+", type=Path, help="UTF-8 texts, or JSONL whose rows have a 'text'")
    parser.add_argument("--num-ranks", type=int, default=8192, help="BPE ids, the 256 bytes included")
    parser.add_argument("--out", type=Path, required=True, help="Hugging Face directory to write")
    options = parser.parse_args(arguments)
    tokenizer = train_tokenizer(read_texts(options.files), options.num_ranks, show_progress=True)
    tokenizer.save_hf(options.out)
    print(f"{options.out}: {options.num_ranks} BPE ids and {tokenizer.special.count} special ones, {tokenizer.vocab_size} in all")


if __name__ == "__main__":
    main()
