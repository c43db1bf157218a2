"""Pages as numbers: pools, holders, and what a sequence needs and gives back."""

from random import Random

import pytest

from puna.engine.pages import OutOfPages, PageLayout, PagePool, SequencePages
from puna.testing.models import tiny_config

LAYOUTS = [
    PageLayout(4, 8, (1,), (0,)),
    PageLayout(3, 8, (1,), (0,)),
    PageLayout(16, 8, (1,), (0,)),
    PageLayout(1, 5, (1,), (0,)),
    PageLayout(4, None, (0, 1), ()),
    PageLayout(4, 8, (), (0, 1)),
]


def test_a_page_is_free_when_the_last_holder_lets_go() -> None:
    pool = PagePool(3)
    first, second = pool.take(2)
    assert first != second and pool.num_free == 1
    pool.hold(first)
    pool.drop(first)
    assert pool.num_free == 1 and pool.num_holders(first) == 1
    pool.drop(first)
    assert pool.num_free == 2 and pool.num_holders(first) == 0


def test_more_than_is_free_is_never_given() -> None:
    pool = PagePool(3)
    pool.take(2)
    with pytest.raises(OutOfPages, match="2 pages were asked for and 1 of 3 are free"):
        pool.take(2)
    assert pool.num_free == 1 and pool.take(0) == []


def test_free_pages_cannot_be_held_or_dropped() -> None:
    pool = PagePool(2)
    with pytest.raises(AssertionError, match="page 1 is free"):
        pool.hold(1)
    with pytest.raises(AssertionError, match="page 0 is free already"):
        pool.drop(0)


def test_a_layout_knows_which_layers_share_pages() -> None:
    layout = PageLayout.of(tiny_config(), 4)
    assert layout.global_layers == (3, 7) and layout.local_layers == (0, 1, 2, 4, 5, 6) and layout.chunk == 8
    assert PageLayout.of(tiny_config(chunk=None), 4).local_layers == ()
    assert PageLayout.of(tiny_config(nope_layers=()), 4).global_layers == ()


@pytest.mark.parametrize(
    ("tokens", "num_global", "num_local"), [(0, 0, 0), (1, 1, 1), (4, 1, 1), (5, 2, 2), (8, 2, 2), (9, 3, 2), (400, 100, 2)]
)
def test_local_need_stops_growing_at_a_chunk(tokens: int, num_global: int, num_local: int) -> None:
    assert (LAYOUTS[0].num_global(tokens), LAYOUTS[0].num_local(tokens)) == (num_global, num_local)


@pytest.mark.parametrize(
    ("layout", "places"),
    [(LAYOUTS[0], [4, 8, 12, 16, 20, 24]), (LAYOUTS[1], [3, 6, 24]), (LAYOUTS[2], [16]), (LAYOUTS[4], [4, 8, 12, 16, 20, 24])],
)
def test_a_sequence_can_begin_where_pages_of_both_kinds_end(layout: PageLayout, places: list[int]) -> None:
    assert [at for at in range(1, 25) if layout.can_resume_at(at)] == places


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_what_is_missing_is_what_is_added_and_every_token_has_its_place(layout: PageLayout) -> None:
    """Random pieces and drafts: after each reservation every new token has a page of each kind, and no page is twice there."""
    random = Random(0)
    for _ in range(50):
        pages, pool, done = SequencePages(layout), {"global": PagePool(500), "local": PagePool(500)}, 0
        while done < 60:
            count = random.randint(1, 20)
            for end in (done + count, done + random.randint(1, count)):  # a longer stretch first, then perhaps a shorter one
                missing = pages.missing(done, end)
                given = pool["global"].take(missing.num_global), pool["local"].take(missing.num_local)
                pages.add(done, end, *given)
                assert pages.missing(done, end).num_global == 0 and pages.missing(done, end).num_local <= 0
                if layout.global_layers:
                    assert len(pages.global_pages) * layout.tokens_per_page >= end
                else:
                    assert not pages.global_pages
                for position in range(done, end) if layout.chunk else ():
                    chunk, inside = divmod(position, layout.chunk)
                    assert len(pages.local_pages[chunk]) > inside // layout.tokens_per_page
            done = end
            closed = [page for _, numbers in pages.closed(done) for page in numbers]
            surplus = pages.surplus(done)
            for kind, numbers in (("local", closed), ("global", surplus.global_pages), ("local", surplus.local_pages)):
                for page in numbers:
                    pool[kind].drop(page)
            local = [page for numbers in pages.local_pages.values() for page in numbers]
            assert len(pages.global_pages) == layout.num_global(done)
            assert len(local) == (layout.pages_for(done % layout.chunk) if layout.chunk else 0) <= layout.num_local(done)
            assert (pool["global"].num_free, pool["local"].num_free) == (500 - len(pages.global_pages), 500 - len(local))
        left = pages.clear()
        for page in left.global_pages:
            pool["global"].drop(page)
        for page in left.local_pages:
            pool["local"].drop(page)
        assert pool["global"].num_free == pool["local"].num_free == 500 and not pages.local_pages
