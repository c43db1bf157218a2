"""A sequence's cache as a file: read a long document once, go on from it tomorrow.

One safetensors file: the keys and values of the whole pages at a sequence's beginning (all global ones, and the local ones of the chunk
that is open where they end), the pages' names, and what they are true for: shape of the model, precision, page size, and a fingerprint of
its weights. Loading puts them into the store of kept beginnings, so that a request that begins with the same tokens goes on from there.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from puna.engine.engine import Engine
from puna.engine.request import check_prompt
from puna.engine.sequence import Content
from puna.stream import Stream

_SAMPLED = 1024  # values of each parameter, spread evenly, that the fingerprint reads at most
_NAME_BYTES = 16


class SnapshotError(ValueError):
    """A cache file that this engine cannot use, or tokens of which nothing is kept. The message says what differs."""


class Snapshot(NamedTuple):
    """What a file holds: `num_tokens` of a beginning, in `num_bytes` of keys and values."""

    num_tokens: int
    num_bytes: int


def fingerprint(engine: Engine) -> dict[str, str]:
    """What kept keys are true for: the model's shape and weights (a sample of each parameter), precision, and size of pages."""
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in engine.model.named_parameters():
        digest.update(name.encode())
        values = parameter.detach().flatten()
        digest.update(values[:: -(-len(values) // _SAMPLED)].float().cpu().numpy().tobytes())
    return {
        "model": repr(engine.config),
        "weights": digest.hexdigest(),
        "kv_dtype": str(engine.plan.kv_dtype),
        "tokens_per_page": str(engine.plan.layout.tokens_per_page),
    }


def save_cache(engine: Engine, stream: Stream, path: Path) -> Snapshot:
    """Write what is kept of `stream`'s beginning: as much as a request with these tokens would find at hand."""
    check_prompt(engine.config, stream)
    layout = engine.plan.layout
    with engine._lock:
        content = Content(stream, engine.config.patch_id)
        names = content.name_pages(len(stream), layout.tokens_per_page)
        kept = engine.memory.prefixes.find(names, len(stream))
        if not kept.num_tokens:
            raise SnapshotError(
                f"nothing is kept of these {len(stream)} tokens: run a request that begins with them first "
                f"(whole pages of {layout.tokens_per_page} tokens are kept, as long as there is room)"
            )
        tensors: dict[str, Tensor] = {}
        for kind, pages in (("global", kept.global_pages), ("local", kept.local_pages)):
            if pages:
                tensors |= {f"{kind}.{part}": x for part, x in engine.memory.storages[kind].export(pages).items()}
    held = names[: kept.num_tokens // layout.tokens_per_page]
    tensors["names"] = torch.frombuffer(bytearray(b"".join(held)), dtype=torch.uint8)
    metadata = fingerprint(engine) | {"num_tokens": str(kept.num_tokens), "puna": "cache 1"}
    save_file(tensors, path, metadata=metadata)
    return Snapshot(kept.num_tokens, sum(x.numel() * x.element_size() for x in tensors.values()))


def load_cache(engine: Engine, path: Path) -> Snapshot:
    """Put a file's pages among the kept beginnings. Raises `SnapshotError` for a file of other weights, or one that does not fit."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise SnapshotError(f"{path} cannot be read as a cache: {error}") from error
    own = fingerprint(engine)
    differing = [key for key in own if metadata.get(key) != own[key]]
    if metadata.get("puna") != "cache 1" or differing:
        what = (
            f"its {differing[0]} is {metadata.get(differing[0])!r}, the engine's {own[differing[0]]!r}"
            if differing
            else "no such mark is in it"
        )
        raise SnapshotError(f"{path} is no cache of this engine: {what[:300]}")
    raw = tensors["names"].numpy().tobytes() if "names" in tensors else b""
    names = [raw[at : at + _NAME_BYTES] for at in range(0, len(raw), _NAME_BYTES)]
    num_tokens = len(names) * engine.plan.layout.tokens_per_page
    if (
        not names
        or len(raw) % _NAME_BYTES
        or metadata.get("num_tokens") != str(num_tokens)
        or not engine.plan.layout.can_resume_at(num_tokens)
    ):
        raise SnapshotError(f"{path} is damaged: it names {len(names)} pages for {metadata.get('num_tokens')} tokens")
    if not engine.memory.keeps_prefixes:
        raise SnapshotError("this engine keeps no beginnings (keep_prefixes=False), so nothing would ever go on from a loaded one")
    with engine._lock:
        _place(engine, names, num_tokens, tensors, path)
    return Snapshot(num_tokens, sum(x.numel() * x.element_size() for x in tensors.values()))


def _place(engine: Engine, names: list[bytes], num_tokens: int, tensors: dict[str, Tensor], path: Path) -> None:
    memory, layout = engine.memory, engine.plan.layout
    open_from = 0 if layout.chunk is None else (num_tokens - num_tokens % layout.chunk) // layout.tokens_per_page
    places = {"global": range(len(names)) if layout.global_layers else range(0)}
    places["local"] = range(open_from, len(names)) if layout.local_layers else range(0)
    parts = {kind: {name.removeprefix(f"{kind}."): x for name, x in tensors.items() if name.startswith(f"{kind}.")} for kind in places}
    for kind, wanted in places.items():
        if wanted and not memory.storages[kind].fits(len(wanted), parts[kind]):
            raise SnapshotError(f"{path} is damaged: its {kind} pages are not {len(wanted)} of this engine's")
    for kind, wanted in places.items():
        if wanted and not memory.prefixes.make_room(kind, len(wanted)):
            raise SnapshotError(f"{path} holds {len(wanted)} {kind} pages, more than are free beside running requests; try again later")
    for kind, wanted in places.items():
        if not wanted:
            continue
        pages = memory.pools[kind].take(len(wanted))
        memory.storages[kind].insert(pages, parts[kind])
        for place, page in zip(wanted, pages, strict=True):
            memory.prefixes.offer(names[place], page if kind == "global" else None, page if kind == "local" else None)
            memory.pools[kind].drop(page)  # the store holds it now, unless it had that beginning already
    memory.prefixes.touch(names)
