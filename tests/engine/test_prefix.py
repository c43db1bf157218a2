"""What is kept of earlier requests: found again by content, shared, let go of in order, and saved to a file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from puna.engine import Engine, Generation, Request, Sampling, SnapshotError, generate, load_cache, save_cache
from puna.engine.pages import PageLayout, PagePool
from puna.engine.prefix import PrefixStore, name_of
from puna.model import Model
from puna.stream import Stream
from puna.testing.engines import assert_nothing_is_left, assert_pages_add_up, engine_with_pages, small_model, text, tile, with_pictures

BASE = text(40, 1).token_ids


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


def ask(engine: Engine, prompt: Stream, max_tokens: int = 3) -> Generation:
    generation = engine.submit(Request(prompt=prompt, sampling=Sampling(max_tokens=max_tokens)))
    engine.wait(generation)
    assert generation.token_ids == list(generate(engine.model, prompt, Sampling(max_tokens=max_tokens), ()))
    return generation


def begun(length: int, seed: int = 9, tail: int = 3) -> Stream:
    return Stream(np.concatenate([BASE[:length], text(tail, seed).token_ids]))


def names_of(ids: np.ndarray, per_page: int) -> list[bytes]:
    names: list[bytes] = []
    for first in range(0, len(ids) - per_page + 1, per_page):
        names.append(name_of(names[-1] if names else b"", ids[first : first + per_page], b""))
    return names


@pytest.fixture
def engine(model: Model) -> Engine:
    return engine_with_pages(model, 60, 30)


# Reuse


@pytest.mark.parametrize(
    ("shared", "cached"),
    [(3, 0), (4, 4), (7, 4), (8, 8), (9, 8), (12, 12), (13, 12), (16, 16), (30, 28)],
)
def test_whole_pages_of_a_shared_beginning_are_not_computed_again(engine: Engine, shared: int, cached: int) -> None:
    ask(engine, Stream(BASE[:33]))
    before = engine.counters
    generation = ask(engine, begun(shared))
    assert generation.cached_tokens == cached
    assert engine.counters.tokens_cached - before.tokens_cached == cached
    assert engine.counters.tokens_computed - before.tokens_computed == shared + 3 - cached + 2
    assert_nothing_is_left(engine)


def test_the_last_token_of_a_prompt_is_computed_even_if_all_is_kept(engine: Engine) -> None:
    ask(engine, Stream(BASE[:16]))
    assert ask(engine, Stream(BASE[:16])).cached_tokens == 12
    assert ask(engine, Stream(BASE[:17])).cached_tokens == 16


def test_an_answer_is_part_of_the_next_beginning(engine: Engine) -> None:
    first = ask(engine, Stream(BASE[:10]), max_tokens=11)
    again = Stream(np.concatenate([BASE[:10], first.token_ids, [1, 2]]))
    assert ask(engine, again).cached_tokens == 20  # all of it but the last token, which was never computed


@pytest.mark.parametrize("step_tokens", [5, 16, 64])
@pytest.mark.parametrize("tokens_per_page", [1, 3, 4, 8, 16])
def test_any_page_size_and_any_pieces_give_the_same_answers(model: Model, tokens_per_page: int, step_tokens: int) -> None:
    engine = engine_with_pages(
        model, 200 // tokens_per_page, 200 // tokens_per_page, tokens_per_page=tokens_per_page, step_tokens=step_tokens
    )
    ask(engine, Stream(BASE), 5)
    cached = [ask(engine, begun(length)).cached_tokens for length in (9, 17, 24, 31, 39)]
    assert cached == [max(at for at in range(length + 1) if engine.plan.layout.can_resume_at(at)) for length in (9, 17, 24, 31, 39)]
    assert_nothing_is_left(engine)


def test_the_open_chunks_local_pages_are_kept_with_the_beginning(engine: Engine) -> None:
    """A beginning that ends inside a chunk is of no use without them."""
    ask(engine, Stream(BASE[:13]))
    store = engine.memory.prefixes
    assert store.num_kept == {"global": 3, "local": 3}
    names = names_of(BASE[:13], 4)
    assert set(store._pages["global"]) == set(store._pages["local"]) == set(names)
    assert ask(engine, begun(12)).cached_tokens == 12
    engine.memory.pools["local"].drop(store._pages["local"].pop(names[2]))  # the open chunk's only page
    assert store.find(names, 12).num_tokens == 8, "chunk edges need no local page"
    assert ask(engine, begun(12, seed=10)).cached_tokens == 8
    assert store.find(names, 12).num_tokens == 12, "whoever computed it again gave it back"
    assert_nothing_is_left(engine)


def test_an_open_chunk_needs_all_of_its_local_pages(model: Model) -> None:
    engine = engine_with_pages(model, 60, 30, tokens_per_page=2)
    ask(engine, Stream(BASE[:15]))
    store = engine.memory.prefixes
    names = names_of(BASE[:15], 2)
    assert store.find(names, 14).num_tokens == 14
    engine.memory.pools["local"].drop(store._pages["local"].pop(names[4]))  # the first of the open chunk
    assert store.find(names, 14).num_tokens == 8
    engine.memory.pools["global"].drop(store._pages["global"].pop(names[1]))
    assert store.find(names, 14).num_tokens == 2
    assert ask(engine, Stream(BASE[:15])).cached_tokens == 2
    assert_nothing_is_left(engine)


def test_two_requests_at_once_hold_the_same_pages(engine: Engine) -> None:
    ask(engine, Stream(BASE[:21]))
    both = [engine.submit(Request(prompt=begun(20, seed), sampling=Sampling(max_tokens=6))) for seed in (3, 4)]
    engine.step()
    first, second = (generation.sequence.pages for generation in both if generation.sequence)
    assert first.global_pages[:5] == second.global_pages[:5] and first.global_pages[5] != second.global_pages[5]
    assert first.local_pages[2][0] == second.local_pages[2][0]
    assert [engine.memory.pools["global"].num_holders(page) for page in first.global_pages[:5]] == [3] * 5
    assert_pages_add_up(engine)
    for generation in both:
        engine.wait(generation)
        assert generation.token_ids == list(generate(engine.model, generation.request.prompt, Sampling(max_tokens=6), ()))
    assert_nothing_is_left(engine)


def test_nothing_is_kept_if_nobody_wants_it(model: Model) -> None:
    engine = engine_with_pages(model, 60, 30, keep_prefixes=False)
    assert [ask(engine, Stream(BASE[:20])).cached_tokens for _ in range(2)] == [0, 0]
    assert engine.memory.prefixes.num_kept == {"global": 0, "local": 0}


# Pictures


def test_the_same_picture_is_reused_and_another_one_is_not(engine: Engine) -> None:
    def prompt(picture: int, tail: int) -> Stream:
        return with_pictures(Stream(BASE[:5]), tile(picture), text(tail, 3))

    assert np.array_equal(prompt(1, 9).token_ids, prompt(2, 9).token_ids)
    ask(engine, prompt(1, 9))
    assert engine.counters.tiles_computed == 1
    assert ask(engine, prompt(1, 9)).cached_tokens == 16
    assert engine.counters.tiles_computed == 1
    assert ask(engine, prompt(2, 9)).cached_tokens == 4  # the page before the picture
    assert engine.counters.tiles_computed == 2


def test_pictures_that_change_places_are_another_beginning(engine: Engine) -> None:
    ask(engine, with_pictures(tile(1), tile(2), text(3, 1)))
    assert ask(engine, with_pictures(tile(2), tile(1), text(3, 1))).cached_tokens == 0
    assert ask(engine, with_pictures(tile(1), tile(1), text(3, 1))).cached_tokens == 4
    assert engine.counters.tiles_computed == 2


def test_a_picture_may_go_on_from_a_page_that_ends_inside_it(model: Model) -> None:
    engine = engine_with_pages(model, 60, 30, tokens_per_page=2)
    ask(engine, with_pictures(Stream(BASE[:4]), tile(1), text(3, 1)))
    other = with_pictures(Stream(BASE[:4]), tile(1), text(3, 2))
    assert ask(engine, other).cached_tokens == 8
    shifted = with_pictures(Stream(BASE[:4]), tile(2), text(3, 1))
    assert ask(engine, shifted).cached_tokens == 4


def test_pictures_are_computed_again_when_their_rows_were_let_go(model: Model) -> None:
    engine = engine_with_pages(model, 60, 30, vision_bytes=0, step_tokens=5, keep_prefixes=False)
    for _ in range(2):
        ask(engine, with_pictures(tile(1), tile(2), text(3, 1)))
    assert engine.counters.tiles_computed >= 4 and engine.runner.vision is not None and len(engine.runner.vision._rows) == 1


# Names


def test_a_name_depends_on_everything_before_it() -> None:
    ids = np.arange(4)
    first = name_of(b"", ids, b"")
    names = {first, name_of(first, ids, b""), name_of(b"", ids, b"p"), name_of(b"", ids + 1, b""), name_of(first, ids, b"p")}
    names |= {name_of(b"", ids[:3], b""), name_of(b"", ids[::-1], b"")}
    assert len(names) == 7 and all(len(name) == 16 for name in names)
    assert name_of(b"", ids.astype(np.int32), b"") == first


@pytest.mark.parametrize("place", [0, 5, 13])
def test_one_token_that_differs_makes_all_pages_from_there_on_others(engine: Engine, place: int) -> None:
    ask(engine, Stream(BASE[:20]))
    changed = BASE[:20].copy()
    changed[place] ^= 1
    assert ask(engine, Stream(changed)).cached_tokens == place // 4 * 4


# Letting go


def layout() -> PageLayout:
    return PageLayout(4, 8, (1,), (0,))


def named(*words: str) -> list[bytes]:
    return [word.encode() for word in words]


def store_of(size: int) -> tuple[PrefixStore, dict[str, PagePool]]:
    pools = {"global": PagePool(size), "local": PagePool(size)}
    return PrefixStore(layout(), pools["global"], pools["local"]), pools


def offer(store: PrefixStore, pools: dict[str, PagePool], names: list[bytes]) -> None:
    for name in names:
        pages = {kind: pool.take(1)[0] for kind, pool in pools.items()}
        store.offer(name, pages["global"], pages["local"])
        for kind, pool in pools.items():
            pool.drop(pages[kind])
    store.touch(names)


def test_the_least_recently_used_is_let_go_first_and_its_furthest_page_before_the_others() -> None:
    store, pools = store_of(6)
    first, second = named("a0", "a1", "a2"), named("b0", "b1", "b2")
    offer(store, pools, first)
    offer(store, pools, second)
    order = []
    while store.num_kept["global"]:
        before = set(store._pages["global"])
        assert store.make_room("global", pools["global"].num_free + 1)
        order += before - set(store._pages["global"])
    assert order == named("a2", "a1", "a0", "b2", "b1", "b0")
    assert store.num_kept["local"] == 6, "one pool's need is not the other's"


def test_what_was_used_again_stays_longer() -> None:
    store, pools = store_of(4)
    offer(store, pools, named("a0", "a1"))
    offer(store, pools, named("b0", "b1"))
    store.touch(named("a0", "a1"))
    assert store.make_room("global", 2)
    assert list(store._pages["global"]) == named("a1", "a0")


def test_a_page_that_somebody_holds_is_not_let_go() -> None:
    store, pools = store_of(2)
    offer(store, pools, named("a0", "a1"))
    pools["global"].hold(store._pages["global"][b"a1"])
    assert store.num_spare("global") == 1
    assert store.make_room("global", 1) and list(store._pages["global"]) == named("a1")
    assert not store.make_room("global", 2) and list(store._pages["global"]) == named("a1")


def test_a_second_offer_under_a_name_is_not_taken() -> None:
    store, pools = store_of(3)
    offer(store, pools, named("a0"))
    kept = store._pages["global"][b"a0"]
    offer(store, pools, named("a0"))
    assert store._pages["global"][b"a0"] == kept and pools["global"].num_free == 2
    store.forget(named("a0", "unknown"))
    assert pools["global"].num_free == pools["local"].num_free == 3


def test_an_engine_short_of_memory_keeps_what_was_used_last(model: Model) -> None:
    engine = engine_with_pages(model, 12, 12)
    one, two, three = (text(16, seed) for seed in (1, 2, 3))
    for prompt in (one, two, one, three):
        ask(engine, prompt)
    assert ask(engine, one).cached_tokens == 12
    assert ask(engine, two).cached_tokens < 12
    assert_nothing_is_left(engine)


# New weights


def test_new_weights_forget_everything() -> None:
    model = small_model()
    engine = engine_with_pages(model, 60, 30)
    prompt = with_pictures(Stream(BASE[:5]), tile(1), text(9, 3))
    before = ask(engine, prompt, 8).token_ids
    engine.update_weights({name: 1.3 * x for name, x in model.named_parameters() if "embed" in name or "projector" in name})
    assert engine.memory.prefixes.num_kept == {"global": 0, "local": 0}
    after = ask(engine, prompt, 8)
    assert after.cached_tokens == 0 and after.token_ids != before and engine.counters.tiles_computed == 2
    assert_nothing_is_left(engine)


def test_wrong_new_weights_change_nothing() -> None:
    model = small_model()
    engine = engine_with_pages(model, 60, 30)
    ask(engine, Stream(BASE[:20]))
    name, weight = next(iter(model.named_parameters()))
    kept = weight.detach().clone()
    with pytest.raises(ValueError, match="no parameter 'nonsense'"):
        engine.update_weights({name: kept + 1, "nonsense": kept})
    with pytest.raises(ValueError, match=rf"{name} has shape \(1, 2\)"):
        engine.update_weights({name: torch.zeros(1, 2)})
    assert torch.equal(weight, kept) and ask(engine, Stream(BASE[:20])).cached_tokens == 16


# Files


@pytest.mark.parametrize("options", [{}, {"kv_dtype": "int8"}, {"tokens_per_page": 3}], ids=["fp32", "int8", "pages of 3"])
@pytest.mark.parametrize("length", [16, 22, 30])
def test_a_saved_beginning_is_gone_on_from_in_another_engine(model: Model, tmp_path: Path, options: dict, length: int) -> None:
    prompt = with_pictures(Stream(BASE[:5]), tile(1), Stream(BASE[5 : length - 4]))
    longer = Stream(np.concatenate([prompt.token_ids, text(2, 8).token_ids]), prompt.tiles)
    request = Request(prompt=longer, sampling=Sampling(max_tokens=7))
    first = engine_with_pages(model, 60, 30, **options)
    answer = first.generate([request])[0]
    saved = save_cache(first, prompt, tmp_path / "cache.safetensors")
    second = engine_with_pages(model, 60, 30, **options)
    loaded = load_cache(second, tmp_path / "cache.safetensors")
    most = max(at for at in range(length + 1) if first.plan.layout.can_resume_at(at))
    assert loaded == saved and saved.num_tokens == most > 0
    assert_pages_add_up(second)
    generation = second.submit(request)
    second.wait(generation)
    assert generation.token_ids == answer and generation.cached_tokens == most
    assert load_cache(second, tmp_path / "cache.safetensors") == saved, "loading twice is harmless"
    assert_nothing_is_left(second)


def test_a_loaded_beginning_loses_its_end_first(model: Model, tmp_path: Path) -> None:
    engine = engine_with_pages(model, 60, 30)
    ask(engine, Stream(BASE[:33]))
    save_cache(engine, Stream(BASE[:33]), tmp_path / "cache.safetensors")
    other = engine_with_pages(model, 60, 30)
    load_cache(other, tmp_path / "cache.safetensors")
    assert other.memory.prefixes.make_room("global", 54)
    assert ask(other, Stream(BASE[:33])).cached_tokens == 24


@pytest.fixture
def saved(model: Model, tmp_path: Path) -> Path:
    engine = engine_with_pages(model, 60, 30)
    ask(engine, Stream(BASE[:22]))
    save_cache(engine, Stream(BASE[:22]), tmp_path / "cache.safetensors")
    return tmp_path / "cache.safetensors"


def test_a_file_of_other_weights_is_refused(saved: Path) -> None:
    for name in ("text.embed.weight", "text.layers.3.feed_forward.experts.w_down", "text.norm.weight"):
        other = small_model()
        dict(other.named_parameters())[name].data.view(-1)[-8:] += 2**-7  # the last expert, the last ids
        engine = engine_with_pages(other, 60, 30)
        with pytest.raises(SnapshotError, match="no cache of this engine: its weights is"):
            load_cache(engine, saved)
        assert_nothing_is_left(engine)


@pytest.mark.parametrize(("options", "match"), [({"tokens_per_page": 8}, "tokens_per_page is '4'"), ({"kv_dtype": "int8"}, "kv_dtype")])
def test_a_file_of_other_pages_is_refused(model: Model, saved: Path, options: dict, match: str) -> None:
    with pytest.raises(SnapshotError, match=match):
        load_cache(engine_with_pages(model, 60, 30, **options), saved)


def test_a_file_of_another_shape_of_model_is_refused(saved: Path) -> None:
    with pytest.raises(SnapshotError, match="its model is"):
        load_cache(engine_with_pages(small_model(floor_scale=8.0), 60, 30), saved)


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.99])
def test_a_truncated_file_is_refused(model: Model, saved: Path, keep: float) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    engine = engine_with_pages(model, 60, 30)
    with pytest.raises(SnapshotError, match=r"cache.safetensors cannot be read"):
        load_cache(engine, saved)
    assert_nothing_is_left(engine)


def test_a_file_that_is_something_else_is_refused(model: Model, saved: Path, tmp_path: Path) -> None:
    engine = engine_with_pages(model, 60, 30)
    (tmp_path / "text").write_text("a text, no tensors")
    save_file({"x": torch.zeros(2)}, tmp_path / "weights")
    for name, match in (
        ("text", "cannot be read"),
        ("missing", "cannot be read"),
        ("weights", "no cache of this engine"),
        (".", "cannot be"),
    ):
        with pytest.raises(SnapshotError, match=match):
            load_cache(engine, tmp_path / name)
    assert_nothing_is_left(engine)


@pytest.mark.parametrize("damage", ["fewer pages", "no names", "odd names", "no local pages", "other dtype", "wrong count", "no data"])
def test_a_damaged_file_is_refused_and_takes_no_page(model: Model, saved: Path, damage: str) -> None:
    from safetensors import safe_open

    with safe_open(str(saved), framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(saved)
    if damage == "fewer pages":
        tensors["global.data"] = tensors["global.data"][:, :, :, 1:].contiguous()
    elif damage == "no names":
        del tensors["names"]
    elif damage == "odd names":
        tensors["names"] = tensors["names"][:-3].clone()
    elif damage == "no local pages":
        del tensors["local.data"]
    elif damage == "other dtype":
        tensors["global.data"] = tensors["global.data"].double()
    elif damage == "wrong count":
        metadata["num_tokens"] = "eight"
    else:
        tensors = {"names": tensors["names"]}
    save_file(tensors, saved, metadata=metadata)
    engine = engine_with_pages(model, 60, 30)
    with pytest.raises(SnapshotError, match="is damaged"):
        load_cache(engine, saved)
    assert_nothing_is_left(engine)


def test_a_file_larger_than_what_is_free_is_refused_until_it_fits(model: Model, saved: Path) -> None:
    engine = engine_with_pages(model, 8, 8)
    running = engine.submit(Request(prompt=text(15, 4), sampling=Sampling(max_tokens=8)))
    engine.step()
    with pytest.raises(SnapshotError, match="holds 5 global pages, more than are free"):
        load_cache(engine, saved)
    engine.wait(running)
    load_cache(engine, saved)
    assert ask(engine, Stream(BASE[:22])).cached_tokens == 20
    assert_nothing_is_left(engine)


def test_an_engine_that_keeps_nothing_says_so(model: Model, saved: Path) -> None:
    engine = engine_with_pages(model, 60, 30, keep_prefixes=False)
    with pytest.raises(SnapshotError, match="keep_prefixes=False"):
        load_cache(engine, saved)
    with pytest.raises(SnapshotError, match="nothing is kept"):
        save_cache(engine, Stream(BASE[:22]), saved)


def test_nothing_can_be_saved_of_tokens_that_were_never_read(engine: Engine, tmp_path: Path) -> None:
    ask(engine, Stream(BASE[:22]))
    with pytest.raises(SnapshotError, match="nothing is kept of these 9 tokens: run a request"):
        save_cache(engine, text(9, 77), tmp_path / "cache.safetensors")
    assert not (tmp_path / "cache.safetensors").exists()
