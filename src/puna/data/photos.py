"""Pictures from files: pages of picture books with their texts, and photographs of clothes with what they show.

Books are split by the same hash of their id as their texts are (`text.split_of`), so that a book whose prose is held out shows no page in
training either. Knows no questions.
"""

import io
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from PIL import Image, ImageOps

from puna.data.archive import Archive
from puna.data.prose import held_out_pages
from puna.data.sources import fetch
from puna.data.text import rows, split_of

SIZE = 64
# Folders of the clothing photographs; `phrases_seen.CLOTHES_NAMES` has their names in this order.
CLOTHES: tuple[str, ...] = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")
LONGEST_PAGE = 400  # bytes of UTF-8: about a hundred tokens


@dataclass(frozen=True, slots=True)
class Page:
    """One page: where it stands in its book, the name of its picture in the archive, and its text by language."""

    place: int
    picture: str
    texts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Book:
    """A picture book. `pages` are in reading order; pages without a picture, or without a text of at most `LONGEST_PAGE` bytes, are out,
    and from training those whose text stands in a held-out book as well.
    """

    id: str
    pages: tuple[Page, ...]


@cache
def _archive(source: str) -> Archive:
    return Archive(fetch(source))


@cache
def books(split: str) -> tuple[Book, ...]:
    """All books of a split, "train" or "held_out", that have at least one page left."""
    told_elsewhere = held_out_pages() if split == "train" else frozenset()
    drawn = frozenset(_archive("storybooks_144").names)
    found = []
    for row in rows("storybooks"):
        if split_of("storybooks", row["id"]) != split:
            continue
        pages = []
        # A translation of more or fewer pages than the first language's stands beside other pictures somewhere.
        number_of_pages = len(next(iter(row["langs"].values()))["pages"])
        told = {language: book["pages"] for language, book in row["langs"].items() if len(book["pages"]) == number_of_pages}
        for place in range(number_of_pages):
            texts = {language: pages_of[place].strip() for language, pages_of in told.items()}
            short = {language: text for language, text in texts.items() if text and len(text.encode()) <= LONGEST_PAGE}
            is_new = told_elsewhere.isdisjoint(" ".join(text.split()) for text in texts.values())
            # Picture 0 is the cover; the page after it has picture 1.
            number = row["images"][place + 1] if place + 1 < len(row["images"]) else None
            if short and is_new and number is not None and f"{row['id']}/{number}.jpg" in drawn:
                pages.append(Page(place, f"{row['id']}/{number}.jpg", short))
        if pages:
            found.append(Book(row["id"], tuple(pages)))
    return tuple(found)


@lru_cache(maxsize=4096)
def picture(source: str, name: str, mirrored: bool = False) -> np.ndarray:
    """A picture of the archive as uint8 [64, 64, 3]: its longer side 64, black below or on the right, as tiling leaves it."""
    with Image.open(io.BytesIO(_archive(source).read(name))) as image:
        image = ImageOps.mirror(image.convert("RGB")) if mirrored else image.convert("RGB")
        scale = SIZE / max(image.size)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
        canvas[: size[1], : size[0]] = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    canvas.flags.writeable = False
    return canvas


@cache
def clothes(split: str) -> tuple[tuple[str, int], ...]:
    """(name in the archive, class) of each photograph of a split: "train", "validation" or "test", as its publisher split them."""
    names = sorted(name for name in _archive("clothing_128").names if name.startswith(f"{split}/"))
    return tuple((name, CLOTHES.index(name.split("/")[1])) for name in names)
