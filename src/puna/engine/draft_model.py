"""A smaller model that drafts for a larger one with the same vocabulary.

It keeps a paged cache of its own. After a refusal it goes on from the last token that both agree on: pages of a chunk that closed are let
go only when the larger model has confirmed the chunk's last token. It is blind: a picture's places hold the patch token's own embedding.

Letters: T tokens, D model width.
"""

from collections import OrderedDict

import numpy as np
import torch

from puna.engine.kv_memory import KVMemory
from puna.engine.memory import Settings, plan_memory
from puna.engine.paged import PagedCache
from puna.engine.pages import SequencePages
from puna.model import Batch, Model


class _Kept:
    """What the draft model has of one sequence: the ids whose keys it holds."""

    def __init__(self, pages: SequencePages) -> None:
        self.pages = pages
        self.ids = np.zeros(0, dtype=np.int64)


class DraftModel:
    """Drafts `num_drafts` greedy tokens. Sequences whose keys do not fit into `kv_bytes` lose them, the least recently drafted first."""

    def __init__(self, model: Model, num_drafts: int = 4, kv_bytes: int | None = None, max_streams: int = 8) -> None:
        if num_drafts < 1:
            raise ValueError(f"num_drafts={num_drafts} must be at least 1")
        self.model, self.num_drafts = model.eval(), num_drafts
        self.device = model.text.embed.weight.device
        settings = Settings(kv_bytes=kv_bytes, max_streams=max_streams, keep_prefixes=False)
        self.plan = plan_memory(model.config, settings, model.dtype, self.device)
        plan = self.plan
        self.memory = KVMemory(model.config, plan.layout, plan.num_global, plan.num_local, plan.kv_dtype, self.device, keeps_prefixes=False)
        self.cache = PagedCache(model.config, plan.layout, self.memory.storages)
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]:
        most = min(most, self.num_drafts, self.plan.tokens_per_stream - len(token_ids))
        if most < 1 or int(token_ids.max()) >= self.model.config.vocab_size:
            return []
        kept = self._kept.setdefault(key, _Kept(SequencePages(self.plan.layout)))
        self._kept.move_to_end(key)
        shared = min(_shared(kept.ids, token_ids), len(token_ids) - 1)
        kept.ids = kept.ids[:shared]
        self.memory.commit(kept.pages, (), shared, shared)
        drafts: list[int] = []
        step = token_ids[shared:].astype(np.int64)
        while len(drafts) < most and (token := self._next(key, kept, step)) is not None:
            drafts.append(token)
            step = np.array([token], dtype=np.int64)
        return drafts

    def forget(self, key: int) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self.memory.release(kept.pages)

    def _next(self, key: int, kept: _Kept, step: np.ndarray) -> int | None:
        """The likeliest token after `step`; None if there is no room for it."""
        for part in np.array_split(step, -(-len(step) // 512)):
            first = len(kept.ids)
            while not self.memory.reserve(kept.pages, first, first + len(part)):
                others = [other for other in self._kept if other != key]
                if not others:
                    return None
                self.forget(others[0])
            batch = self._batch(part, first)
            self.cache.plan([kept.pages], batch)
            with torch.inference_mode():
                hidden_TD = self.model(batch, self.cache)
            kept.ids = np.concatenate([kept.ids, part])
            if len(step) > 1:  # confirmed tokens, no drafts: chunks that closed among them are done with
                self.memory.commit(kept.pages, (), first, len(kept.ids))
        with torch.inference_mode():
            logits_V = self.model.logits(hidden_TD[-1:])[0]
            logits_V[self.model.config.patch_id] = -torch.inf
            return int(logits_V.argmax())

    def _batch(self, ids: np.ndarray, first: int) -> Batch:
        token_ids = torch.from_numpy(ids).to(self.device)
        patches = int((ids == self.model.config.patch_id).sum())
        rows = self.model.text.embed.weight[self.model.config.patch_id].expand(patches, -1) if patches else None
        positions = torch.arange(first, first + len(ids), device=self.device)
        return Batch(token_ids, positions, (len(ids),), (first,), vision_rows=rows)


def _shared(a: np.ndarray, b: np.ndarray) -> int:
    """Length of the common beginning."""
    size = min(len(a), len(b))
    differs = np.flatnonzero(a[:size] != b[:size])
    return int(differs[0]) if len(differs) else size
