"""A tokenizer that needs no files: one id a byte, and the compact special tokens above them."""

from puna.tokens.bpe import Tokenizer
from puna.tokens.ranks import RankedBpe
from puna.tokens.special import compact_layout


def byte_tokenizer() -> Tokenizer:
    """Ids 0 to 255 are the bytes themselves; 256 to 383 are special.

    >>> byte_tokenizer().encode("Hi")
    [72, 105]
    """
    return Tokenizer(RankedBpe([bytes([value]) for value in range(256)]), compact_layout(256))
