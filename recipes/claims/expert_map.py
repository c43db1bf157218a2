"""One picture: which experts took which modality and language, without being told.

    PUNA_DATA_MIRROR=DIR python recipes/claims/expert_map.py --model scout-nano

Held-out prose in 12 languages and fresh renderings of pictures go through a trained model; the experts' shares of each are counted layer by
layer. Routers were never told what a token is, and balancing only asks that all experts work. One number goes with the picture: how far
from even the experts' shares are. It is the mutual information between expert and group in bits, mean over layers, beside what it is when
the tokens' groups are shuffled, and the most that it could be.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

import puna
from puna.data.chance import generator
from puna.data.emoji import artists_of, codes, render_emoji
from puna.data.languages import LANGUAGES
from puna.data.row import chat
from puna.data.samples import to_stream
from puna.data.text import language_documents
from puna.model import Batch
from puna.pipeline import Pipeline
from puna.stream import Stream
from puna.train.expert_map import ExpertMap, draw
from puna.train.packing import GROUPINGS, Row, TrainingBatch

IMAGES = Path(__file__).parents[2] / "docs" / "images"
TOKENS = 6000  # of each language
WINDOW = 256
PICTURES = 400


def rows_of_language(model: Pipeline, language: str) -> list[Row]:
    """Windows of held-out prose, `TOKENS` tokens in all, a few from each document so that no one book decides."""
    rows: list[Row] = []
    total = 0
    for document in language_documents(language, "held_out"):
        ids = model.tokenizer.encode(document.text[:4000])[: 3 * WINDOW]
        for first in range(0, len(ids), WINDOW):
            piece = np.array([model.config.bos_id, *ids[first : first + WINDOW]], dtype=np.int64)
            rows.append(Row("prose", Stream(piece), language=language))
            total += len(piece)
            if total >= TOKENS:
                return rows
    return rows


def rows_with_pictures(model: Pipeline) -> list[Row]:
    """Things and flags, each asked for in English: their patches are counted apart from their words."""
    rows = []
    for kind in ("emoji", "flag"):
        for index in range(PICTURES // 2):
            rng = generator("eval", 31, index + (kind == "flag") * PICTURES)
            code = rng.choice(codes(kind))
            sample = chat(f"{kind}s", [("What is this?", "")], (render_emoji(code, rng, rng.choice(artists_of(code))),))
            rows.append(Row(sample.kind, to_stream(sample, model.chat_format)))
    return rows


def batch_of(rows: list[Row]) -> TrainingBatch:
    batch = Batch.from_streams([row.stream for row in rows])
    size = sum(batch.lengths)
    groups = {grouping: tuple(row.group(grouping) for row in rows) for grouping in GROUPINGS}
    return TrainingBatch(batch, torch.zeros(size, dtype=torch.int64), torch.ones(size), groups, tuple(batch.lengths), 0)


@torch.no_grad()
def counted(model: Pipeline) -> ExpertMap:
    experts = ExpertMap(model.model)
    for rows in (*(rows_of_language(model, language) for language in LANGUAGES), rows_with_pictures(model)):
        for first in range(0, len(rows), 16):
            data = batch_of(rows[first : first + 16])
            with experts.watching(data):
                model.model(data.batch)
    return experts


def information(tables_LGE: np.ndarray) -> float:
    """Mutual information of group and expert in bits, mean over layers, from counts `[L, G, E]`."""
    total = 0.0
    for table_GE in tables_LGE:
        joint = table_GE / table_GE.sum()
        even = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        seen = joint > 0
        total += float((joint[seen] * np.log2(joint[seen] / even[seen])).sum())
    return total / len(tables_LGE)


def by_chance(tables_LGE: np.ndarray, rng: np.random.Generator) -> float:
    """The same if groups said nothing: every group draws its experts from the layer's own shares."""
    shuffled = [
        np.stack([rng.multinomial(int(row.sum()), table.sum(0) / table.sum()) for row in table]).astype(float) for table in tables_LGE
    ]
    return information(np.stack(shuffled))


def main() -> None:
    parser = argparse.ArgumentParser(description="Which experts took which modality and language.")
    parser.add_argument("--model", default="scout-nano", help="name or directory")
    parser.add_argument("--picture", type=Path, help="default: docs/images/experts-MODEL.png")
    options = parser.parse_args()
    model = puna.load(options.model)
    experts = counted(model)
    # Only what the picture is about: kinds say the same as languages and modalities here.
    experts.counts = {group: counts for group, counts in experts.counts.items() if group.grouping != "kind"}
    groups, shares = experts.table()
    title = f"{model.config.name}: experts by modality and language"
    picture = options.picture or IMAGES / f"experts-{Path(options.model).name}.png"
    draw(title, experts.layers, groups, shares).save(picture, optimize=True)

    def tables(grouping: str) -> np.ndarray:
        return np.stack([experts.counts[group] for group in groups if group.grouping == grouping], axis=1)

    facts: dict[str, object] = {"claim": "expert_map", "model": model.config.name, "picture": picture.name}
    for grouping in ("modality", "language"):
        counts = tables(grouping)
        most = min(math.log2(experts.num_experts), -sum(p * math.log2(p) for p in counts[0].sum(1) / counts[0].sum()))
        found, chance = information(counts), by_chance(counts, np.random.default_rng(0))
        facts[grouping] = {"bits": round(found, 4), "by_chance": round(chance, 4), "most": round(most, 3)}
        print(f"{grouping}: the expert tells {found:.3f} bits about it (by chance {chance:.4f}; at most {most:.2f})")
    for name in ("picture patches", *LANGUAGES):
        group = next((group for group in groups if group.name == name), None)
        if group is None:
            continue
        ratio = shares[groups.index(group)] * experts.num_experts
        layer, expert = np.unravel_index(int(ratio.argmax()), ratio.shape)
        print(f"  {name:<16} most its own: expert {expert} of layer {experts.layers[layer]}, {ratio.max():.1f} times the even share")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
