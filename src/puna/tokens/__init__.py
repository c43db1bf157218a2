"""Text to ids and back: BPE, special tokens, the chat format and its inverse, tool calls, incremental decoding.

Promises: ids equal Meta's reference; text never becomes a special id; whatever a model samples can be read back. Knows no torch.
Training a vocabulary is `puna.tokens.train`, which is also a program and is therefore not imported here.
"""

from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat
from puna.tokens.errors import ChatError, TokenizerError
from puna.tokens.incremental import IncrementalDecoder
from puna.tokens.special import SpecialTokens, compact_layout, llama4_layout

__all__ = [
    "ChatError",
    "ChatFormat",
    "IncrementalDecoder",
    "SpecialTokens",
    "Tokenizer",
    "TokenizerError",
    "compact_layout",
    "llama4_layout",
]
