"""What training reads, as one HTML page: rows of every kind with their pictures, token by token, and the kinds' shares of a batch.

Shown is the stream itself, not what a kind was meant to be: special tokens by name, patches where pictures stand, and in colour what
the loss is taken over. The page holds all it needs; no script, nothing loaded from elsewhere.
"""

import base64
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from PIL import Image

from puna.data.pack import TextShards
from puna.data.row import Sample
from puna.data.samples import NANO_WEIGHTS, Mixture, to_stream
from puna.presets import preset
from puna.stream import Stream
from puna.tokens.bpe import Tokenizer
from puna.tokens.chat import ChatFormat

_MEASURED = 24  # rows of a kind that its length is the mean of

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --loss: #0a7a3b; --chip: #5561c9; }
@media (prefers-color-scheme: dark) { :root { --loss: #5fd38d; --chip: #a9b1ff; } }
body { font: 15px/1.55 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: .15rem .9rem .15rem 0; text-align: right; border-bottom: 1px solid var(--line); }
td:first-child, th:first-child { text-align: left; }
td:last-child { width: 14rem; }
.bar { display: block; height: .7rem; background: var(--chip); border-radius: 2px; }
h2 { margin: 2.5rem 0 .3rem; } h2 a, td a { color: inherit; }
.rows { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: .8rem; }
.row { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem; overflow-wrap: anywhere; max-height: 26rem; overflow-y: auto; }
.row img { width: 6rem; image-rendering: pixelated; border-radius: .25rem; }
figure { display: inline-block; margin: 0 .3rem .3rem 0; } figcaption { font-size: .75rem; opacity: .7; }
.text { white-space: pre-wrap; unicode-bidi: plaintext; }
.loss { color: var(--loss); font-weight: 600; background: var(--soft); }
.chip { font-size: .72rem; color: var(--chip); }
.note { opacity: .75; }
"""


class _Shown(NamedTuple):
    """A kind and its weight, rows to show, and over those that were measured the mean numbers of tokens and of tokens in the loss."""

    kind: str
    weight: float
    rows: list[tuple[Sample, Stream]]
    tokens: float
    in_loss: float


def samples_page(directory: Path, each: int = 4, seed: int = 1, weights: Mapping[str, float] = NANO_WEIGHTS) -> str:
    """The page of a built folder: `each` rows of every kind of a mixture, with the folder's vocabulary and prose.

    Rows are drawn as training draws them, by (seed, index). Raises `DataError` if the folder or a source that a kind draws from is
    missing, ValueError for a kind that there is not.
    """
    shards = TextShards(directory)
    mixture = Mixture(weights, shards)
    chat_format = ChatFormat(Tokenizer.from_hf(directory / "tokenizer"), preset("scout-nano").vision)
    shown = [_shown(kind, weight, each, seed, shards, chat_format) for kind, weight in mixture.weights.items()]
    shown.sort(key=lambda one: one.weight * one.tokens, reverse=True)
    sections = "".join(_section(one, chat_format.tokenizer) for one in shown)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What training reads</title><style>{_STYLE}</style></head><body>'
        f"<h1>What training reads</h1>{_table(shown)}"
        '<p class="note">Weights are those of the mixture that recipes start from; their stages change some. A row is one conversation, '
        'document or window of prose. <span class="loss">Coloured</span>: tokens in the loss. '
        '<span class="chip">Small</span>: special tokens by name.</p>'
        f"{sections}</body></html>"
    )


def _shown(kind: str, weight: float, each: int, seed: int, shards: TextShards, chat_format: ChatFormat) -> _Shown:
    rows = []
    for index in range(max(each, _MEASURED)):
        sample = Mixture({kind: weight}, shards).sample(seed, index)
        rows.append((sample, to_stream(sample, chat_format)))
    in_loss = fmean(len(stream) if stream.loss_mask is None else int(stream.loss_mask.sum()) for _, stream in rows)
    return _Shown(kind, weight, rows[:each], fmean(len(stream) for _, stream in rows), in_loss)


def _table(shown: Sequence[_Shown]) -> str:
    """Kinds, the largest share of tokens first."""
    all_rows = sum(one.weight for one in shown)
    all_tokens = sum(one.weight * one.tokens for one in shown)
    most = shown[0].weight * shown[0].tokens
    lines = []
    for one in shown:
        tokens = one.weight * one.tokens
        lines.append(
            f'<tr><td><a href="#{one.kind}">{one.kind}</a></td><td>{one.weight / all_rows:.1%}</td><td>{one.tokens:,.0f}</td>'
            f"<td>{one.in_loss:,.0f}</td><td>{tokens / all_tokens:.1%}</td>"
            f'<td><span class="bar" style="width:{100 * tokens / most:.0f}%"></span></td></tr>'
        )
    head = "<tr><th>kind</th><th>of rows</th><th>tokens a row</th><th>in the loss</th><th>of tokens</th><th></th></tr>"
    return f"<table>{head}{''.join(lines)}</table>"


def _section(one: _Shown, tokenizer: Tokenizer) -> str:
    rows = "".join(
        f'<div class="row">{_pictures(sample)}<div class="text">{_text(stream, tokenizer)}</div></div>' for sample, stream in one.rows
    )
    return f'<h2 id="{one.kind}">{one.kind}</h2><div class="rows">{rows}</div>'


def _pictures(sample: Sample) -> str:
    figures = []
    for place, picture in enumerate(sample.pictures):
        data = io.BytesIO()
        Image.fromarray(picture).save(data, "PNG")
        caption = f"{sample.timestamps[place]:g} s" if sample.timestamps else ""
        source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
        figures.append(f'<figure><img alt="" src="{source}"><figcaption>{caption}</figcaption></figure>')
    return "".join(figures)


def _text(stream: Stream, tokenizer: Tokenizer) -> str:
    """The stream's tokens as HTML: runs of text, special tokens and patches."""
    return "".join(_run(name, ids, in_loss, tokenizer) for name, in_loss, ids in _runs(stream, tokenizer))


def _runs(stream: Stream, tokenizer: Tokenizer) -> Iterator[tuple[str, bool, list[int]]]:
    """(name of the special token or "", whether in the loss, ids) for tokens in a row that share the first two."""
    special = tokenizer.special
    mask = np.ones(len(stream), bool) if stream.loss_mask is None else stream.loss_mask
    named = ((special.name(int(i)) if int(i) in special else "", bool(m), int(i)) for i, m in zip(stream.token_ids, mask, strict=True))
    for (name, in_loss), run in groupby(named, key=lambda token: token[:2]):
        yield name, in_loss, [token_id for *_, token_id in run]


def _run(name: str, ids: Sequence[int], in_loss: bool, tokenizer: Tokenizer) -> str:
    if name:
        times = f" × {len(ids)}" if len(ids) > 1 else ""
        return f'<span class="chip{" loss" if in_loss else ""}">{html.escape(name)}{times}</span>'
    written = html.escape(tokenizer.decode(ids))
    return f'<span class="loss">{written}</span>' if in_loss else written
