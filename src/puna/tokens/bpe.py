"""The tokenizer: plain text to ids and back, over Meta's file, a Hugging Face directory or a newly trained vocabulary.

`encode` knows no special tokens: "<|eot|>" typed by a user is five ordinary ids. Special ids are written by `puna.tokens.chat` alone.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Self

from puna.tokens.errors import TokenizerError
from puna.tokens.hf import JsonBpe, json_document, read_json, special_tokens_map, tokenizer_config
from puna.tokens.ranks import RankedBpe, read_ranks
from puna.tokens.special import SpecialTokens, llama4_layout
from puna.tokens.split import windows


class Tokenizer:
    """BPE ids `0 .. special.base - 1`, special ids above them."""

    def __init__(self, bpe: RankedBpe | JsonBpe, special: SpecialTokens) -> None:
        if special.base != len(bpe.tokens):
            raise TokenizerError(f"special ids start at {special.base}, but the BPE has {len(bpe.tokens)} ids; they must follow it")
        self._bpe = bpe
        self.special = special

    @classmethod
    def from_tiktoken(cls, path: str | Path, special: SpecialTokens | None = None) -> Self:
        """Meta's `tokenizer.model`. The file holds no special tokens: Llama 4's layout is put on top unless another is given."""
        path = Path(path)
        if path.is_dir():
            path /= "tokenizer.model"
        if not path.is_file():
            raise TokenizerError(f"no tokenizer at {path}; Meta's vocabulary is a file called tokenizer.model")
        bpe = RankedBpe(read_ranks(path))
        return cls(bpe, special or llama4_layout(len(bpe.tokens)))

    @classmethod
    def from_hf(cls, path: str | Path) -> Self:
        """A Hugging Face directory, or its `tokenizer.json`."""
        path = Path(path)
        if path.is_dir():
            path /= "tokenizer.json"
        if not path.is_file():
            raise TokenizerError(f"no tokenizer at {path}; a Hugging Face directory holds a file called tokenizer.json")
        return cls(*read_json(path))

    def save_hf(self, directory: str | Path) -> None:
        """Write what `transformers` needs: the vocabulary, the special tokens' jobs, and the chat template."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        _write_json(directory / "tokenizer.json", json_document(self._bpe, self.special))
        _write_json(directory / "tokenizer_config.json", tokenizer_config(self.special))
        _write_json(directory / "special_tokens_map.json", special_tokens_map(self.special))
        (directory / "chat_template.jinja").write_text(chat_template(), encoding="utf-8")

    @property
    def vocab_size(self) -> int:
        """All ids, special ones included."""
        return self.special.base + self.special.count

    def encode(self, text: str) -> list[int]:
        """Ids of plain text, all below `special.base`. Lone surrogates, which no UTF-8 can hold, become U+FFFD as in tiktoken."""
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _has_surrogate(text) else text
        return [token_id for window in windows(whole) for token_id in self._bpe.encode(window)]

    def token_bytes(self, token_id: int, *, keep_special: bool = False) -> bytes:
        """The bytes that one id stands for: none for a special id, or its name with `keep_special`."""
        if 0 <= token_id < self.special.base:
            return self._bpe.tokens[token_id]
        if token_id not in self.special:
            raise TokenizerError(f"id {token_id} is outside the vocabulary of {self.vocab_size} ids (0 to {self.vocab_size - 1})")
        return self.special.name(token_id).encode() if keep_special else b""

    def decode_bytes(self, token_ids: Iterable[int], *, keep_special: bool = False) -> bytes:
        return b"".join(self.token_bytes(int(token_id), keep_special=keep_special) for token_id in token_ids)

    def decode(self, token_ids: Sequence[int] | Iterable[int], *, keep_special: bool = False) -> str:
        """Text of `token_ids`; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(token_ids, keep_special=keep_special).decode("utf-8", errors="replace")


def chat_template() -> str:
    """The Jinja template that makes `transformers` write what `puna.tokens.chat` writes."""
    return files("puna.tokens").joinpath("chat_template.jinja").read_text(encoding="utf-8")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
