"""Hugging Face's `tokenizer.json`: reading one into plain-text BPE, and writing one with the special tokens on top.

Reading drops the added tokens before the file reaches `tokenizers`, so a typed "<|eot|>" can only become ordinary BPE.
The file writes bytes as printable characters (the ByteLevel mapping of GPT-2): 188 bytes stand for themselves, the other 68 are moved up.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from puna.tokens.errors import TokenizerError
from puna.tokens.ranks import RankedBpe, merges_of
from puna.tokens.special import SpecialTokens
from puna.tokens.split import LLAMA4_PATTERN


def _byte_characters() -> dict[int, str]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [value for value in range(256) if value not in printable]
    return {value: chr(value) for value in printable} | {value: chr(256 + k) for k, value in enumerate(moved)}


BYTE_TO_CHARACTER = _byte_characters()
CHARACTER_TO_BYTE = {character: value for value, character in BYTE_TO_CHARACTER.items()}


def spell(token: bytes) -> str:
    """Bytes as a `tokenizer.json` writes them: `spell(b" a")` is "Ġa"."""
    return "".join(BYTE_TO_CHARACTER[value] for value in token)


def unspell(token: str) -> bytes:
    unknown = [character for character in token if character not in CHARACTER_TO_BYTE]
    if unknown:
        raise TokenizerError(f"token {token!r} holds {unknown[0]!r}, which stands for no byte; only byte-level vocabularies can be read")
    return bytes(CHARACTER_TO_BYTE[character] for character in token)


# Options of a BPE model that make it another algorithm than byte-level BPE by rank, or a random one.
_CHANGING_OPTIONS = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", "byte_fallback")


class JsonBpe:
    """Plain-text BPE as a `tokenizer.json` defines it, without its added tokens, post-processor, truncation and padding."""

    def __init__(self, model: Mapping[str, Any], pre_tokenizer: Mapping[str, Any] | None) -> None:
        self.model = dict(model)
        self.pre_tokenizer = pre_tokenizer
        by_id = {token_id: token for token, token_id in self.model["vocab"].items()}
        missing = next((i for i in range(len(by_id)) if i not in by_id), None)
        if missing is not None:
            raise TokenizerError(f"id {missing} is missing among {len(by_id)} BPE tokens; plain ids must run from 0 without a gap")
        self.tokens = tuple(unspell(by_id[i]) for i in range(len(by_id)))
        option = next((name for name in _CHANGING_OPTIONS if self.model.get(name)), None)
        if option is not None:
            raise TokenizerError(f"the BPE model sets {option}={self.model[option]!r}; Llama 4 tokenizers set it to null or false")
        empty = _document({"type": "BPE", "vocab": {}, "merges": []}, pre_tokenizer, added_tokens=[], post_processor=None)
        self._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(empty))
        # Given as objects: writing a large vocabulary as JSON a second time would double the time to load.
        merges = [tuple(merge.split(" ") if isinstance(merge, str) else merge) for merge in self.model["merges"]]
        ignore_merges = bool(self.model.get("ignore_merges"))
        self._tokenizer.model = tokenizers.models.BPE(vocab=self.model["vocab"], merges=merges, ignore_merges=ignore_merges)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids


def read_json(path: Path) -> tuple[JsonBpe, SpecialTokens]:
    """The BPE and the special tokens of a `tokenizer.json`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise TokenizerError(f"{path} is not JSON ({error}); a Hugging Face tokenizer.json is expected") from error
    model = document.get("model") or {}
    if model.get("type") != "BPE" or "ByteLevel" not in json.dumps(document.get("pre_tokenizer")):
        raise TokenizerError(f"{path}: model type {model.get('type')!r} is not byte-level BPE; Llama 4 tokenizers are")
    if document.get("normalizer"):
        raise TokenizerError(f"{path} has a normalizer, which changes text before BPE; Llama 4 has none, so the file is not byte-exact")
    added = {token["id"]: token["content"] for token in document.get("added_tokens", [])}
    vocab = {token: token_id for token, token_id in model["vocab"].items() if token_id not in added}
    base = len(vocab)
    gap = next((i for i in range(base, base + len(added)) if i not in added), None)
    if gap is not None:
        raise TokenizerError(f"{path}: {len(added)} added tokens over {base} BPE ids, but id {gap} has none; they must follow each other")
    special = SpecialTokens(base, tuple(added[base + offset] for offset in range(len(added))))
    return JsonBpe({**model, "vocab": vocab}, document["pre_tokenizer"]), special


def json_document(bpe: RankedBpe | JsonBpe, special: SpecialTokens) -> dict[str, Any]:
    """A whole `tokenizer.json`. Like Llama 4's, it puts begin_of_text before plain text that is encoded with special tokens. [hf]"""
    if isinstance(bpe, JsonBpe):
        model, pre_tokenizer = bpe.model, bpe.pre_tokenizer
    else:
        model, pre_tokenizer = _model_of(bpe), _PRE_TOKENIZER
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": special.base + k, "content": name, "special": True, **flags} for k, name in enumerate(special.names)]
    return _document(model, pre_tokenizer, added, _begin_of_text(special))


_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": LLAMA4_PATTERN}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}


def _model_of(bpe: RankedBpe) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        # tiktoken looks a whole piece up before it merges; without this flag a token that merging cannot reach would be split.
        "ignore_merges": True,
        "vocab": {spell(token): rank for rank, token in enumerate(bpe.tokens)},
        "merges": [[spell(left), spell(right)] for left, right in merges_of(bpe.tokens)],
    }


def _begin_of_text(special: SpecialTokens) -> dict[str, Any]:
    name = special.name(special.bos)
    first = {"SpecialToken": {"id": name, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [special.bos], "tokens": [name]}},
    }


def _document(
    model: Mapping[str, Any],
    pre_tokenizer: Mapping[str, Any] | None,
    added_tokens: list[dict[str, Any]],
    post_processor: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens,
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": dict(model),
    }


def tokenizer_config(special: SpecialTokens) -> dict[str, Any]:
    """`tokenizer_config.json`. Llama 4's own converter names a pad token that does not exist; this names the real one. [hf]"""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special_tokens_map(special),
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def special_tokens_map(special: SpecialTokens) -> dict[str, str]:
    return {
        "bos_token": special.name(special.bos),
        "eos_token": special.name(special.eot),
        "pad_token": special.name(special.pad),
    }
