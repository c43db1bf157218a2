"""Text to ids and back: BPE, special tokens, the chat format and its inverse, tool calls, incremental decoding.

Promises: ids equal Meta's reference; text never becomes a special id; whatever a model samples can be read back. Knows no torch.
"""

from puna.tokens.bpe import Tokenizer, TokenizerError
from puna.tokens.chat import ChatError, ChatFormat
from puna.tokens.incremental import IncrementalDecoder
from puna.tokens.special import SpecialTokens, compact_layout, llama4_layout
from puna.tokens.train import train_tokenizer

__all__ = [
    "ChatError",
    "ChatFormat",
    "IncrementalDecoder",
    "SpecialTokens",
    "Tokenizer",
    "TokenizerError",
    "compact_layout",
    "llama4_layout",
    "train_tokenizer",
]
