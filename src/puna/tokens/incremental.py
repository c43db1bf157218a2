"""Ids to text one at a time, for streaming: a character whose bytes are spread over several ids comes out when it is whole."""

import codecs

from puna.tokens.bpe import Tokenizer


class IncrementalDecoder:
    """The pieces that `push` returns, and the last one of `flush`, joined, are exactly `tokenizer.decode` of all ids. Those behind the
    vocabulary, which a model has where its tables were filled up, stand for no text here.

    U+FFFD appears only for bytes that cannot become UTF-8 any more, or at `flush` for a character that never ended.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token_id: int) -> str:
        """The text that `token_id` completes; a special id, or one behind the vocabulary, completes nothing."""
        return self._decoder.decode(self._tokenizer.token_bytes(int(token_id))) if token_id < self._tokenizer.vocab_size else ""

    def flush(self) -> str:
        """What is left at the end of a sequence. The decoder may then be used again."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
