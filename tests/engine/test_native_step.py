"""The native step against the model in torch, over the same pages; and engines with and without it.

Letters: T tokens, D model width, V vocabulary.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import puna.model.packed
from puna.checkpoint import INT8, Scheme, load_model, save_model
from puna.config import every_nth_layer
from puna.engine import Engine, PromptLookup, Request, Sampling, Settings, Watch
from puna.engine.kv_memory import KVMemory
from puna.engine.native_step import NativeText, suits
from puna.engine.paged import PagedCache
from puna.engine.pages import PageLayout, SequencePages
from puna.kernels import native
from puna.kernels.linear import linear_packed
from puna.model import Batch, Model
from puna.model.packed import PackedLinear
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

pytestmark = pytest.mark.skipif(not native.available(), reason=f"no native library: {native.why_not()}")

ROOT = Path(__file__).parents[2]
PATCH = 348
KV_BYTES = 2_000_000
TOLERANCE = 1e-4  # of the largest value
# An activation that lies between two of 255 steps falls to one side by the last place of a sum: now and then an element differs by a step.
ROUNDED = 3e-2
PAGES = {"bfloat16": 3e-2, "int8": 6e-2}

MODELS: dict[str, dict[str, Any]] = {
    "moe every second layer": {},
    "moe everywhere": dict(moe_layers=every_nth_layer(1, 8)),
    "dense": dict(moe_layers=(), num_experts=0),
    "no local layers": dict(chunk=None),
    "odd chunk": dict(chunk=11),
}
WIDE = dict(vision=None, width=64, expert_width=32, dense_width=96)


def model_of(name: str, dtype: torch.dtype = torch.float32) -> Model:
    return tiny_model(tiny_config(**MODELS[name])).to(dtype)


@cache
def prompts() -> tuple[Stream, ...]:
    """Text that ends before, on and behind edges; pictures of one tile and of two, cut by chunk edges."""
    rng = np.random.default_rng(3)
    text = [Stream(rng.integers(0, 256, length)) for length in (1, 7, 8, 9, 70)]
    one, two = (rng.uniform(-1, 1, (count, 3, 16, 16)).astype(np.float32) for count in (1, 2))
    return (*text, Stream(np.array([1, 2, *[PATCH] * 4, 3]), one), Stream(np.array([*[PATCH] * 4, 3, *[PATCH] * 4, 5, 6]), two))


def near(got: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> bool:
    return got.shape == expected.shape and bool(((got.float() - expected.float()).abs() <= tolerance * expected.abs().max()).all())


# ---- one step


@dataclass(slots=True)
class Paged:
    """A cache with some sequences' pages in it."""

    model: Model
    cache: PagedCache
    memory: KVMemory
    pages: list[SequencePages]
    done: list[int]

    @classmethod
    def of(cls, model: Model, count: int, dtype: torch.dtype = torch.float32, per_page: int = 3) -> "Paged":
        layout = PageLayout.of(model.config, per_page)
        memory = KVMemory(model.config, layout, 40 * count, 40 * count, dtype, "cpu")
        return cls(
            model, PagedCache(model.config, layout, memory.storages), memory, [SequencePages(layout) for _ in range(count)], [0] * count
        )

    def hidden(self, streams: Sequence[Stream], text: NativeText | None, **watch: Any) -> Tensor:
        """`[T, D]` of the next tokens of all sequences, natively or in torch."""
        batch = Batch.from_streams(streams, self.done)
        for i, (pages, stream) in enumerate(zip(self.pages, streams, strict=True)):
            assert self.memory.reserve(pages, self.done[i], self.done[i] + len(stream))
            self.done[i] += len(stream)
        self.cache.plan(self.pages, batch, pieces_only=text is not None)
        with torch.inference_mode():
            return self.model(batch, self.cache) if text is None else text(batch, **watch)


def steps(model: Model, is_native: bool, parts: Sequence[Sequence[Stream]], exact: bool = False, **of: Any) -> list[Tensor]:
    paged = Paged.of(model, len(parts[0]), **of)
    text = NativeText(model, paged.cache, exact) if is_native else None
    return [paged.hidden(part, text) for part in parts]


def then_one_each(streams: Sequence[Stream]) -> list[Sequence[Stream]]:
    """A prefill of all, and two tokens more for each, one a step."""
    return [streams, *([Stream(np.array([token + i])) for i in range(len(streams))] for token in (5, 250 - len(streams)))]


@pytest.mark.parametrize("name", MODELS)
def test_a_step_equals_torchs(name: str) -> None:
    model, parts = model_of(name), then_one_each(prompts())
    for got, expected in zip(steps(model, True, parts), steps(model, False, parts), strict=True):
        assert got.dtype == torch.float32 and near(got, expected)


def test_bf16_weights_are_computed_with_in_fp32() -> None:
    """So they equal the same numbers stored in fp32, which bf16 activations do not."""
    low, parts = model_of("moe every second layer", torch.bfloat16), then_one_each(prompts()[:5])
    wide = model_of("moe every second layer", torch.bfloat16).float()
    for got, expected in zip(steps(low, True, parts), steps(wide, False, parts), strict=True):
        assert near(got, expected)
    assert not near(steps(low, False, parts, dtype=torch.bfloat16)[0], steps(wide, False, parts)[0])


@pytest.mark.parametrize("name", ["moe every second layer", "dense"])
@pytest.mark.parametrize("storage", [INT8, Scheme(4, 32)], ids=str)
@pytest.mark.parametrize("exact", [True, False])
def test_packed_weights_equal_the_packed_model(
    exact: bool, storage: Scheme, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact, that of `puna.model.packed`; rounded, the same with activations rounded before each product."""
    save_model(tiny_model(tiny_config(**MODELS[name], **WIDE)), tmp_path, storage=storage)
    model, parts = load_model(tmp_path, "float32", packed=True), then_one_each(prompts()[:5])
    got = steps(model, True, parts, exact)
    exactly = steps(model, False, parts)
    if not exact:
        monkeypatch.setattr(puna.model.packed, "linear_packed", lambda *args, exact: linear_packed(*args, exact=False))
        expected = steps(model, False, parts)
        for each, other in zip(got, expected, strict=True):  # nine rows of ten: at a hair's breadth another expert wins
            assert float(((each - other).abs().amax(-1) / other.abs().max()).quantile(0.9)) < ROUNDED
        assert not near(got[0], exactly[0])
    else:
        assert all(near(*each) for each in zip(got, exactly, strict=True))


def test_logits_equal_the_models(tmp_path: Path) -> None:
    save_model(tiny_model(tiny_config(**WIDE)), tmp_path, storage=INT8)
    packed = load_model(tmp_path, "float32", packed=True)
    plain = model_of("dense")
    for model, exact in ((plain, False), (packed, True)):
        hidden_TD = torch.randn(5, model.config.width, generator=torch.Generator().manual_seed(0))
        text = NativeText(model, Paged.of(model, 1).cache, exact)
        with torch.inference_mode():
            assert near(text.logits(hidden_TD), model.logits(hidden_TD))


@pytest.mark.parametrize(("kv_dtype", "bound"), PAGES.items())
def test_narrow_pages_stay_within_their_bound(kv_dtype: str, bound: float) -> None:
    model, parts = model_of("odd chunk"), then_one_each(prompts()[:5])
    narrow = steps(model, True, parts, dtype=getattr(torch, kv_dtype))
    # Where an expert wins by a hair a row may change altogether: nine of ten do not.
    for got, in_torch, expected in zip(
        narrow, steps(model, False, parts, dtype=getattr(torch, kv_dtype)), steps(model, True, parts), strict=True
    ):
        largest = expected.abs().max()
        assert float(((got - expected).abs().amax(-1) / largest).quantile(0.9)) < bound
        assert float(((got - in_torch).abs().amax(-1) / largest).quantile(0.9)) < bound


def test_router_choices_are_torchs_and_are_counted_watched_and_told() -> None:
    model = model_of("moe everywhere")
    routers = {i: block.feed_forward.router for i, block in enumerate(model.text.layers)}  # type: ignore[union-attr]
    told: dict[int, list[Tensor]] = {i: [] for i in routers}
    for i, router in routers.items():
        router.watch = told[i].append
    steps(model, False, [prompts()])
    for router in routers.values():
        router.tokens_per_expert = torch.zeros(model.config.num_experts, dtype=torch.int64)
    watched: dict[int, np.ndarray] = {}
    paged = Paged.of(model, len(prompts()))
    paged.hidden(prompts(), NativeText(model, paged.cache), watched_experts=watched)
    for i, (in_torch, natively) in told.items():
        assert torch.equal(in_torch, natively) and watched[i].dtype == np.int16 and watched[i].tolist() == in_torch.tolist()
        assert routers[i].tokens_per_expert.tolist() == torch.bincount(in_torch, minlength=4).tolist()


def test_a_routers_bias_steers_natively_too() -> None:
    model = model_of("moe everywhere")
    for block in model.text.layers:
        block.feed_forward.router.balance_bias += torch.tensor([0.0, 2.0, 0.0, 1.0])  # type: ignore[union-attr]
    parts = [prompts()]
    assert near(steps(model, True, parts)[0], steps(model, False, parts)[0])
    assert not near(steps(model, True, parts)[0], steps(model_of("moe everywhere"), True, parts)[0])


def test_the_models_own_rows_and_cached_vision_rows_are_not_written_over() -> None:
    """The step works in place: on rows of its own, even where a batch is nothing but patches."""
    model = model_of("moe every second layer")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.inference_mode():
        rows_RD = model.embed_tiles(torch.from_numpy(prompts()[5].tiles)).clone()
    kept = rows_RD.clone()
    paged = Paged.of(model, 1)
    batch = replace(Batch.from_streams([Stream(np.array([PATCH] * 4))]), vision_rows=rows_RD)
    assert paged.memory.reserve(paged.pages[0], 0, 4)
    paged.cache.plan(paged.pages, batch, pieces_only=True)
    with torch.inference_mode():
        NativeText(model, paged.cache)(batch)
    assert torch.equal(rows_RD, kept)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


def test_turned_experts_are_the_same_parameters_to_everyone_else(tmp_path: Path) -> None:
    """In memory they lie output-major; shape, values, saved files and torch's products stay."""
    for dtype in (torch.float32, torch.bfloat16):
        model, other = model_of("moe every second layer", dtype), model_of("moe every second layer", dtype)
        NativeText(model, Paged.of(model, 1).cache)
        down = model.text.layers[1].feed_forward.experts.w_down  # type: ignore[union-attr]
        assert down.stride(1) == 1
        batch = Batch.from_streams(prompts())
        with torch.inference_mode():
            assert near(model(batch), other(batch), TOLERANCE if dtype == torch.float32 else 0.05)
        saved = [load_model(save_model(each, tmp_path / f"{dtype}{i}", storage="fp32"), "float32") for i, each in enumerate((model, other))]
        assert all(torch.equal(a, b) for a, b in zip(*(each.parameters() for each in saved), strict=True))


def test_it_suits_models_that_it_can_compute() -> None:
    assert suits(model_of("dense")) and suits(model_of("dense", torch.bfloat16))
    assert not suits(model_of("dense", torch.float16)) and not suits(model_of("dense").to("meta"))
    absolute = model_of("dense")
    absolute.text.rope_mode = "absolute"
    assert not suits(absolute)


# ---- engines


def engine(model: Model, drafter: Any = None, **changes: Any) -> Engine:
    return Engine(model, Settings(**dict(tokens_per_page=3, kv_bytes=KV_BYTES) | changes), drafter=drafter)


def requests(streams: Sequence[Stream], **sampling: Any) -> list[Request]:
    return [Request(prompt=stream, sampling=Sampling(**dict(max_tokens=12) | sampling)) for stream in streams]


@pytest.mark.parametrize("name", MODELS)
def test_native_or_not_the_tokens_are_the_same(name: str) -> None:
    model, asked = model_of(name), partial(requests, prompts()[2:], max_tokens=8)
    for settings in ({}, dict(step_tokens=5, max_streams=3)):
        answers = [engine(model, native=is_native, **settings).generate(asked()) for is_native in (True, False)]
        assert answers[0] == answers[1], settings
    drafted = engine(model, PromptLookup(num_drafts=4, longest=3, shortest=1)).generate(asked())
    seeded = [engine(model, native=is_native).generate(asked(temperature=1.2, seed=5)) for is_native in (True, False)]
    assert drafted == answers[0] and seeded[0] == seeded[1]


def test_one_engine_computes_natively_and_the_other_never_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests above compare is what they say."""
    calls: list[int] = []
    original = NativeText.__call__
    monkeypatch.setattr(NativeText, "__call__", lambda self, batch, *args: (calls.append(len(batch)), original(self, batch, *args))[1])
    model = model_of("dense")
    for settings, is_called in (({}, True), (dict(native=False), False), (dict(batch_invariant=True), False)):
        calls.clear()
        engine(model, **settings).generate(requests(prompts()[:2], max_tokens=3))
        assert bool(calls) == is_called


def test_who_watches_attention_is_answered_in_torch_and_the_rest_goes_on_natively(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of others' answers, over the same pages."""
    calls: list[int] = []
    original = NativeText.__call__
    monkeypatch.setattr(NativeText, "__call__", lambda self, batch, *args: (calls.append(len(batch)), original(self, batch, *args))[1])
    model = model_of("odd chunk")
    expected = engine(model, native=False).generate(requests(prompts()))
    watching = [replace(each, watch=Watch(attention_rows=(len(each.prompt) + 2,), expert_ids=True)) for each in requests(prompts())]
    found = []
    for is_native in (True, False):
        under_test = engine(model, native=is_native)
        generations = [under_test.submit(each) for each in (watching[4], *requests(prompts()[:4]), watching[6])]
        while under_test.has_work:
            under_test.step()
        found.append(generations)
        assert [each.result() for each in generations] == [expected[i] for i in (4, 0, 1, 2, 3, 6)]
        assert not is_native or 0 < len(calls) < under_test.counters.steps
    for native_one, torch_one in zip(*found, strict=True):
        assert native_one.attention.keys() == torch_one.attention.keys()
        for position, layers in torch_one.attention.items():
            for layer, row_NS in layers.items():
                torch.testing.assert_close(native_one.attention[position][layer], row_NS, rtol=1e-3, atol=1e-5)
        if torch_one.expert_ids is not None:
            assert np.array_equal(native_one.expert_ids, torch_one.expert_ids)
    assert found[0][0].attention and found[0][0].expert_ids is not None


def test_expert_load_is_counted_natively() -> None:
    model, loads = model_of("moe every second layer"), []
    for is_native in (True, False):
        under_test = engine(model, native=is_native)
        under_test.count_experts()
        under_test.generate(requests(prompts()))
        loads.append(under_test.expert_load())
        under_test.count_experts(False)
    assert loads[0] == loads[1] and sum(loads[0][1]) > 100


def test_new_weights_are_used_at_once() -> None:
    """Norms and routers, which were copied, and matrices, which were not; in the middle of answers."""
    model, new = model_of("moe every second layer"), tiny_model(tiny_config(), seed=7)
    under_test = engine(model)
    generations = [under_test.submit(each) for each in requests(prompts())]
    for _ in range(3):
        under_test.step()
    under_test.update_weights({name: parameter.detach() for name, parameter in new.named_parameters()})
    later = under_test.generate(requests(prompts()))
    assert all(generation.is_done for generation in generations)
    assert later == engine(tiny_model(tiny_config(), seed=7), native=False).generate(requests(prompts()))


def test_two_engines_share_a_model() -> None:
    model = model_of("moe every second layer")
    first, second = engine(model), engine(model, kv_dtype="int8")
    expected = engine(model_of("moe every second layer"), native=False).generate(requests(prompts()))
    assert first.generate(requests(prompts())) == expected
    second.generate(requests(prompts()))
    del second
    assert first.generate(requests(prompts())) == expected


def test_damage_ends_one_request_alone() -> None:
    """A picture of NaN: its request ends with an error, the others as ever, and nobody gets its pages as a beginning."""
    model = model_of("moe every second layer")
    broken = Stream(prompts()[5].token_ids, np.full_like(prompts()[5].tiles, np.nan))  # type: ignore[arg-type]
    under_test = engine(model)
    bad = under_test.submit(Request(prompt=broken, sampling=Sampling(max_tokens=4)))
    good = [under_test.submit(each) for each in requests(prompts())]
    while under_test.has_work:
        under_test.step()
    assert bad.finish_reason == "error" and "NaN" in str(bad.error)
    assert [each.result() for each in good] == engine(model, native=False).generate(requests(prompts()))
    assert under_test.generate(requests(prompts())) == [each.result() for each in good]


# ---- packed


@pytest.fixture(scope="module", params=[INT8, Scheme(4, 32), Scheme(8, 16)], ids=str)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory of integers; those in groups of 16 are loaded as floats."""
    yield save_model(tiny_model(tiny_config(**WIDE)), tmp_path_factory.mktemp("integers"), storage=request.param)


def logprobs(under_test: Engine, prompt: Stream) -> Tensor:
    generation = under_test.submit(Request(prompt=prompt, sampling=Sampling(max_tokens=1), prompt_logprobs=0))
    under_test.wait(generation)
    return torch.tensor([entry.logprob for entry in generation.prompt_logprobs])


def test_a_packed_engine_answers_as_its_model_in_torch(stored: Path) -> None:
    model = load_model(stored, "float32", packed=True)
    streams = prompts()[:5]
    exact, rounded, in_torch = (engine(model, **each) for each in (dict(exact=True), {}, dict(native=False)))
    assert exact.generate(requests(streams)) == in_torch.generate(requests(streams))
    expected, near_by = logprobs(in_torch, streams[4]), logprobs(rounded, streams[4])
    assert float((logprobs(exact, streams[4]) - expected).abs().max()) < 1e-3
    is_packed = isinstance(model.text.head, PackedLinear)
    assert float((near_by - expected).abs().median()) < 0.05 and torch.equal(near_by, logprobs(exact, streams[4])) != is_packed


def test_its_plan_counts_the_bytes_that_lie_in_memory(stored: Path) -> None:
    packed, plain = (engine(load_model(stored, "float32", packed=is_packed)).plan.weight_bytes for is_packed in (True, False))
    integers = sum(
        module.packed.num_bytes for module in load_model(stored, "float32", packed=True).modules() if isinstance(module, PackedLinear)
    )
    assert packed < plain / 2 if integers else packed == plain


def test_floats_cannot_replace_packed_integers(tmp_path: Path) -> None:
    model = load_model(save_model(tiny_model(tiny_config(**WIDE)), tmp_path, storage=INT8), "float32", packed=True)
    under_test = engine(model)
    for name in ("text.layers.0.attention.wq.weight", "text.layers.1.feed_forward.experts.w_down"):
        with pytest.raises(ValueError, match=f"{name} is packed integers here.*puna.checkpoint.load_model"):
            under_test.update_weights({name: torch.zeros(1)})
    with pytest.raises(ValueError, match="no parameter 'text.nothing'"):
        under_test.update_weights({"text.nothing": torch.zeros(1)})
    answers = under_test.generate(requests(prompts()[:3]))
    norm = model.text.norm.weight.detach()
    under_test.update_weights({"text.norm.weight": norm * 0})
    assert under_test.generate(requests(prompts()[:3])) != answers


def test_a_packed_model_may_be_batch_invariant(tmp_path: Path) -> None:
    model = load_model(save_model(tiny_model(tiny_config(**WIDE)), tmp_path, storage=INT8), "float32", packed=True)
    under_test, asked = engine(model, batch_invariant=True, keep_prefixes=False), requests(prompts()[:4], logprobs=0, max_tokens=4)
    together = [under_test.submit(each) for each in asked]
    while under_test.has_work:
        under_test.step()
    for request, beside in zip(asked, together, strict=True):
        alone = under_test.submit(request)
        under_test.wait(alone)
        assert alone.logprobs == beside.logprobs and alone.token_ids == beside.token_ids


# ---- without the library

WITHOUT = """
import sys
import torch
from puna.checkpoint import load_model
from puna.engine import Engine, Request, Sampling, Settings
from puna.kernels import native
from puna.stream import Stream
assert not native.available()
for packed, settings in ((True, {}), (False, {}), (True, {"kv_dtype": "int8", "exact": True})):
    engine = Engine(load_model(sys.argv[1], "float32", packed=packed), Settings(tokens_per_page=3, kv_bytes=2_000_000, **settings))
    print(engine.generate([Request(prompt=Stream(list(range(20))), sampling=Sampling(max_tokens=6))])[0])
"""


def test_everything_works_without_the_library(tmp_path: Path) -> None:
    save_model(tiny_model(tiny_config(**WIDE)), tmp_path, storage=INT8)
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PUNA_NATIVE": "0"}
    outcome = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path)], capture_output=True, text=True, env=variables, check=False)
    assert outcome.returncode == 0, outcome.stderr
    expected = engine(load_model(tmp_path, "float32", packed=True), native=False)
    assert outcome.stdout.splitlines()[0] == str(expected.generate(requests([Stream(list(range(20)))], max_tokens=6))[0])
