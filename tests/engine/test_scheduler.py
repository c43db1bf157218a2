"""Who runs when: order, fairness, room, and that too little memory delays requests but never harms them."""

import numpy as np
import pytest

from puna.engine import CapacityError, Engine, Generation, MemoryPlanError, Request, Sampling, Settings, generate
from puna.engine.scheduler import Work, total_tokens
from puna.model import Model
from puna.stream import Stream
from puna.testing.engines import assert_nothing_is_left, assert_pages_add_up, engine_with_pages, small_model, text


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


def asked(length: int, seed: int = 0, max_tokens: int = 6, **options: int) -> Request:
    return Request(prompt=text(length, seed), sampling=Sampling(max_tokens=max_tokens), **options)


def alone(model: Model, request: Request) -> list[int]:
    return list(generate(model, request.prompt, request.sampling, request.stop_ids))


def recorded(engine: Engine) -> list[list[Work]]:
    """Every step's work from now on, with the drafts that it had."""
    steps: list[list[Work]] = []
    plan = engine.scheduler.next_step

    def next_step() -> list[Work]:
        work = plan()
        assert total_tokens(work) <= engine.settings.step_tokens
        assert len(engine.scheduler.running) <= engine.settings.max_streams
        assert_pages_add_up(engine)
        steps.append(work)
        return work

    engine.scheduler.next_step = next_step
    return steps


def first_steps(engine: Engine, generations: list[Generation]) -> list[int]:
    """In which step each of them was first computed; runs the engine to its end."""
    steps = recorded(engine)
    while engine.has_work:
        engine.step()
    ids = [[each.sequence.generation.id for each in work] for work in steps]
    return [next(i for i, step in enumerate(ids) if generation.id in step) for generation in generations]


class Greedy:
    """Drafts as much as it may: always a wrong token."""

    def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]:
        return [0] * most

    def forget(self, key: int) -> None:
        pass


class Knowing:
    """Drafts what the model is going to say."""

    def __init__(self, answers: dict[int, list[int]]) -> None:
        self.answers = answers

    def draft(self, key: int, token_ids: np.ndarray, most: int) -> list[int]:
        prompt_length, answer = self.answers[key]
        return answer[len(token_ids) - prompt_length :][: min(most, 5)]

    def forget(self, key: int) -> None:
        pass


# Order


def test_equal_priorities_go_in_order_of_arrival(model: Model) -> None:
    engine = engine_with_pages(model, 40, 8, max_streams=2)
    generations = [engine.submit(asked(5 + seed, seed)) for seed in range(7)]
    begun = first_steps(engine, generations)
    assert begun == sorted(begun) and begun[0] < begun[2] < begun[4]


def test_the_order_is_that_of_entering_not_of_preparing(model: Model) -> None:
    engine = engine_with_pages(model, 40, 8, max_streams=1)
    generations = [engine.prepare(asked(5, seed)) for seed in range(3)]
    for generation in reversed(generations):
        engine.enter(generation)
    assert first_steps(engine, generations) == [12, 6, 0]


def test_smaller_priorities_go_first(model: Model) -> None:
    engine = engine_with_pages(model, 40, 8, max_streams=1)
    generations = [engine.submit(asked(5, seed, priority=priority)) for seed, priority in enumerate((3, 0, -2, 0, 3))]
    begun = first_steps(engine, generations)
    assert sorted(range(5), key=begun.__getitem__) == [2, 1, 3, 0, 4]


def test_a_big_request_at_the_head_is_not_overtaken_by_small_ones(model: Model) -> None:
    engine = engine_with_pages(model, 12, 8)
    running = engine.submit(asked(20, 1, max_tokens=20))
    engine.step()
    engine.step()
    big, *small = [engine.submit(asked(length, length)) for length in (33, 2, 3, 2)]
    begun = first_steps(engine, [big, *small])
    assert running.is_done and begun[0] > 5, "the big one had to wait for room"
    assert begun[0] <= min(begun[1:])
    assert [g.token_ids for g in small] == [alone(model, g.request) for g in small]


def test_a_later_request_of_smaller_priority_passes_a_big_one_that_waits(model: Model) -> None:
    engine = engine_with_pages(model, 12, 8)
    engine.submit(asked(20, 1, max_tokens=20))
    engine.step()
    big, urgent = engine.submit(asked(33, 2)), engine.submit(asked(2, 3, priority=-1))
    begun = first_steps(engine, [big, urgent])
    assert begun[1] == 0 < begun[0]


# Steps


@pytest.mark.parametrize("step_tokens", [4, 9, 16])
def test_every_running_stream_gets_its_token_in_every_step_while_a_long_prompt_is_read(model: Model, step_tokens: int) -> None:
    engine = engine_with_pages(model, 80, 20, step_tokens=step_tokens)
    streams = [engine.submit(asked(3, seed, max_tokens=60)) for seed in range(3)]
    while not all(stream.token_ids for stream in streams):
        engine.step()
    long = engine.submit(asked(50, 9))
    steps = recorded(engine)
    while not long.token_ids:
        before = [len(stream.token_ids) for stream in streams]
        engine.step()
        assert [len(stream.token_ids) for stream in streams] == [count + 1 for count in before]
    assert len(steps) == -(-50 // (step_tokens - 3))
    assert all(total_tokens(work) == step_tokens for work in steps[:-1])
    assert long.token_ids[0] == alone(model, long.request)[0]


def test_a_stream_of_smaller_rank_than_a_long_prompt_and_one_of_larger_both_go_on(model: Model) -> None:
    engine = engine_with_pages(model, 80, 20, step_tokens=4)
    first = engine.submit(asked(2, 1, max_tokens=50))
    engine.step()
    long, last = engine.submit(asked(40, 2, priority=-1)), None
    engine.step()
    assert long.sequence is not None and long.sequence.num_computed == 3
    last = engine.submit(asked(1, 3, max_tokens=50, priority=1))
    while not long.token_ids:
        before = len(first.token_ids)
        engine.step()
        assert len(first.token_ids) == before + 1
    engine.step()
    assert last.token_ids


def test_drafts_take_no_other_streams_token(model: Model) -> None:
    """A step of 6 tokens for 5 streams, each of which would like to draft five."""
    engine = engine_with_pages(model, 80, 20, max_streams=5, step_tokens=6, parts={"drafter": Greedy()})
    streams = [engine.submit(asked(1, seed, max_tokens=12)) for seed in range(5)]
    while not all(stream.token_ids for stream in streams):
        engine.step()
    while not any(stream.is_done for stream in streams):
        before = [len(stream.token_ids) for stream in streams]
        engine.step()
        assert [len(stream.token_ids) for stream in streams] == [count + 1 for count in before]
    assert engine.counters.drafted > 5
    for stream in streams:
        engine.wait(stream)
        assert stream.token_ids == alone(model, stream.request)


def test_drafts_do_not_stop_a_prompt_under_way(model: Model) -> None:
    engine = engine_with_pages(model, 80, 20, max_streams=2, step_tokens=4, parts={"drafter": Greedy()})
    long = engine.submit(asked(30, 1, priority=1))
    engine.step()
    engine.submit(asked(1, 2, max_tokens=40))
    while not long.token_ids:
        before = long.sequence.num_computed if long.sequence else 0
        engine.step()
        assert long.sequence is not None and long.sequence.num_computed > before


def test_a_step_says_how_many_tokens_it_computed_drafts_included(model: Model) -> None:
    engine = engine_with_pages(model, 40, 8, parts={"drafter": Greedy()})
    engine.submit(asked(9, max_tokens=9))
    told = 0
    while engine.has_work:
        told += engine.step()
    assert told == engine.counters.tokens_computed > 9 + 9
    assert engine.step() == 0


def test_right_drafts_give_several_tokens_a_step_and_the_same_answer(model: Model) -> None:
    request = asked(6, 3, max_tokens=23)
    answer = alone(model, request)
    engine = engine_with_pages(model, 40, 8, parts={"drafter": Knowing({0: (6, answer)})})
    assert engine.generate([request]) == [answer]
    assert engine.counters.steps == 5 and engine.counters.accepted == engine.counters.drafted == 18
    assert_nothing_is_left(engine)


def test_pages_of_refused_drafts_are_given_back_in_the_same_step(model: Model) -> None:
    engine = engine_with_pages(model, 40, 12, parts={"drafter": Greedy()})
    generation = engine.submit(asked(6, max_tokens=30))
    engine.step()
    while generation.sequence is not None:
        sequence, layout = generation.sequence, engine.plan.layout
        assert len(sequence.pages.global_pages) == layout.num_global(sequence.num_computed)
        open_tokens = sequence.num_computed % 8
        assert [len(pages) for pages in sequence.pages.local_pages.values()] == ([layout.pages_for(open_tokens)] if open_tokens else [])
        engine.step()
    assert engine.counters.drafted > 20 and engine.counters.accepted < 5
    assert generation.token_ids == alone(model, generation.request)
    assert_nothing_is_left(engine)


def test_no_more_streams_run_than_allowed(model: Model) -> None:
    engine = engine_with_pages(model, 200, 60, max_streams=3)
    recorded(engine)  # asserts it in every step
    requests = [asked(4, seed) for seed in range(8)]
    most = 0
    generations = [engine.submit(request) for request in requests]
    while engine.has_work:
        engine.step()
        most = max(most, len(engine.scheduler.running))
    assert most == 3
    assert [g.token_ids for g in generations] == [alone(model, request) for request in requests]


# Too little memory


def test_the_last_in_rank_is_preempted_and_its_answer_is_the_same(model: Model) -> None:
    engine = engine_with_pages(model, 12, 8)
    preempted: list[int] = []
    preempt = engine.scheduler.preempt
    engine.scheduler.preempt = lambda sequence: (preempted.append(sequence.generation.id), preempt(sequence))
    generations = [engine.submit(asked(9, seed, max_tokens=20, priority=priority)) for seed, priority in enumerate((1, 0, 2))]
    while engine.has_work:
        running = {sequence.generation.id: sequence.rank for sequence in engine.scheduler.running}
        count = len(preempted)
        engine.step()
        for number in preempted[count:]:
            assert running.get(number) == max(running.values())
            del running[number]
    assert preempted and set(preempted) <= {0, 2} and preempted[0] == 2 and engine.counters.preempted == len(preempted)
    assert [g.token_ids for g in generations] == [alone(model, g.request) for g in generations]
    assert_nothing_is_left(engine)


def test_what_a_preempted_request_computed_is_not_told_as_cached(model: Model) -> None:
    engine = engine_with_pages(model, 40, 8)
    generation = engine.submit(asked(20, max_tokens=10))
    while len(generation.token_ids) < 3:
        engine.step()
    engine.scheduler.preempt(generation.sequence)  # type: ignore[arg-type]
    engine.wait(generation)
    assert generation.cached_tokens == 0 == engine.counters.tokens_cached and engine.counters.preempted == 1
    assert engine.counters.tokens_computed < 2 * 20  # its own pages were at hand all the same
    assert generation.token_ids == alone(model, generation.request)


def test_one_request_at_the_very_edge_of_both_pools_finishes(model: Model) -> None:
    for length in (1, 7, 8, 9, 15, 16, 27, 30, 31):
        engine = engine_with_pages(model, 8, 2)  # 32 tokens, one chunk
        assert engine.plan.tokens_per_stream == 32
        generation = engine.submit(asked(length, length, max_tokens=100))
        engine.wait(generation)
        assert generation.token_ids == alone(model, asked(length, length, max_tokens=32 - length))
        assert generation.finish_reason == "length" and not engine.counters.preempted
        assert_nothing_is_left(engine)


def test_many_requests_at_the_very_edge_wait_for_each_other_and_all_finish(model: Model) -> None:
    engine = engine_with_pages(model, 8, 2)
    requests = [asked(length, length, max_tokens=32) for length in (20, 31, 3, 9, 1, 24)]
    whole = [alone(model, Request(prompt=r.prompt, sampling=Sampling(max_tokens=32 - len(r.prompt)))) for r in requests]
    assert engine.generate(requests) == whole
    assert_nothing_is_left(engine)


def test_a_long_prompt_crosses_chunks_in_a_local_pool_of_one_chunk_beside_streams(model: Model) -> None:
    engine = engine_with_pages(model, 60, 3, step_tokens=40)
    small, long = engine.submit(asked(2, 1, max_tokens=5)), engine.submit(asked(37, 2, max_tokens=20))
    late = engine.submit(asked(14, 3))
    for generation in (small, long, late):
        engine.wait(generation)
        assert generation.token_ids == alone(model, generation.request)
    assert_nothing_is_left(engine)


@pytest.mark.parametrize("length", [32, 33, 500])
def test_a_prompt_that_can_never_fit_is_refused_with_what_would(model: Model, length: int) -> None:
    engine = engine_with_pages(model, 8, 2)
    with pytest.raises(CapacityError, match=rf"{length} tokens.*holds 32 .*kv_bytes.*int8"):
        engine.submit(asked(length))
    assert not engine.has_work


def test_memory_for_less_than_one_stream_is_refused_with_what_is_needed(model: Model) -> None:
    with pytest.raises(MemoryPlanError, match="need .* bytes for one sequence, but have .*kv_bytes"):
        Engine(model, Settings(kv_bytes=100))


@pytest.mark.parametrize(
    "wrong", [dict(max_streams=0), dict(step_tokens=0), dict(step_tokens=4, max_streams=5), dict(tokens_per_page=0), dict(kv_dtype="int4")]
)
def test_settings_that_make_no_sense_are_refused_by_name(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize("changes", [dict(nope_layers=()), dict(chunk=None), dict(nope_layers=(0, 1, 2, 3)), dict(chunk=1)])
@pytest.mark.parametrize("tokens_per_page", [1, 3, 4, 16])
def test_models_with_layers_of_one_kind_alone_share_little_memory_too(changes: dict, tokens_per_page: int) -> None:
    model = small_model(**changes)
    engine = engine_with_pages(model, -(-40 // tokens_per_page), -(-16 // tokens_per_page), tokens_per_page=tokens_per_page)
    requests = [asked(length, 1, max_tokens=9) for length in (20, 11, 27, 20)]
    assert engine.generate(requests) == [alone(model, request) for request in requests]
    assert_nothing_is_left(engine)


# Leaving


def test_leaving_while_running_frees_pages_at_once(model: Model) -> None:
    engine = engine_with_pages(model, 12, 8, keep_prefixes=False)
    generation = engine.submit(asked(13))
    engine.step()
    assert engine.memory.pools["global"].num_free < 12 and engine.memory.pools["local"].num_free < 8
    engine.cancel(generation)
    assert (engine.memory.pools["global"].num_free, engine.memory.pools["local"].num_free) == (12, 8)
    assert generation.finish_reason == "cancelled" and not engine.has_work
    engine.cancel(generation)
    assert generation.finish_reason == "cancelled"
    assert_nothing_is_left(engine)


def test_leaving_while_waiting_lets_the_next_one_in(model: Model) -> None:
    engine = engine_with_pages(model, 12, 8, max_streams=1)
    running, waiting, last = (engine.submit(asked(5, seed)) for seed in range(3))
    engine.step()
    engine.cancel(waiting)
    assert [sequence.generation for sequence in engine.scheduler.waiting] == [last]
    engine.wait(last)
    assert running.is_done and waiting.token_ids == [] and last.token_ids == alone(model, last.request)
    assert_nothing_is_left(engine)


def test_leaving_before_entering_the_line_leaves_nothing(model: Model) -> None:
    engine = engine_with_pages(model, 12, 8)
    generation = engine.prepare(asked(5))
    engine.cancel(generation)
    engine.enter(generation)
    engine.wait(generation)
    assert list(engine.follow(generation)) == [] and generation.finish_reason == "cancelled"
    assert not engine.has_work and engine.counters.steps == 0
    assert_nothing_is_left(engine)


def test_samples_share_the_prompt_and_any_of_them_may_leave(model: Model) -> None:
    request = Request(prompt=text(20), sampling=Sampling(max_tokens=8, temperature=1.0, seed=4))
    seeds = [Request(prompt=request.prompt, sampling=Sampling(max_tokens=8, temperature=1.0, seed=4 + i)) for i in range(3)]
    answers = [alone(model, each) for each in seeds]
    for leaver in (None, 0, 1, 2):
        engine = engine_with_pages(model, 30, 10)
        generations = engine.submit_samples(request, 3)
        assert len(engine._held) == 2 and engine.has_work
        if leaver is not None:
            engine.cancel(generations[leaver])  # the leader, too: then nobody's prompt is computed yet
        for i, generation in enumerate(generations):
            engine.wait(generation)
            assert generation.token_ids == ([] if i == leaver else answers[i])
        if leaver is None:
            assert engine.counters.tokens_computed == 20 + 2 * 4 + 3 * 7 and engine.counters.tokens_cached == 2 * 16
        assert_nothing_is_left(engine)


def test_samples_without_a_kept_beginning_are_right_too(model: Model) -> None:
    engine = engine_with_pages(model, 9, 3, keep_prefixes=False)
    generations = engine.submit_samples(Request(prompt=text(20), sampling=Sampling(max_tokens=5)), 4)
    for generation in generations:
        engine.wait(generation)
        assert generation.token_ids == alone(model, asked(20, 0, 5))
    assert_nothing_is_left(engine)


@pytest.mark.parametrize("place", ["embed", "reserve", "commit"])
def test_a_finalizer_that_cancels_amid_a_step_does_so_after_it(
    model: Model, place: str, embedding: tuple[type, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may close a forgotten `follow` at any time, also inside a step of the thread that holds the lock."""
    engine = engine_with_pages(model, 30, 10)
    forgotten, other, queued = (engine.submit(asked(5, seed)) for seed in range(3))
    owner, name = {"embed": embedding, "reserve": (engine.memory, "reserve"), "commit": (engine.memory, "commit")}[place]
    interrupted = getattr(owner, name)

    def cancels(*args: object) -> object:
        engine.cancel(forgotten)
        engine.cancel(queued)
        return interrupted(*args)

    monkeypatch.setattr(owner, name, cancels)
    engine.step()
    monkeypatch.undo()
    assert forgotten.finish_reason == queued.finish_reason == "cancelled"
    assert list(engine._sequences) == [other.id]
    assert_pages_add_up(engine)
    engine.wait(other)
    assert other.token_ids == alone(model, other.request)
    assert_nothing_is_left(engine)


def test_new_weights_put_everybody_back_and_answers_go_on_under_them() -> None:
    model, other = small_model(), small_model()
    other.load_state_dict({name: 1.5 * x for name, x in model.state_dict().items()})
    engine = engine_with_pages(model, 30, 10, max_streams=1)
    generation, waiting = engine.submit(asked(13, max_tokens=9)), engine.submit(asked(9, 1))
    for _ in range(3):
        engine.step()
    said = list(generation.token_ids)
    before = alone(model, generation.request)
    engine.update_weights(dict(other.named_parameters()))
    engine.wait(generation)
    engine.wait(waiting)
    went_on = Stream(np.concatenate([generation.request.prompt.token_ids, said]))
    assert said and generation.token_ids == said + alone(other, Request(prompt=went_on, sampling=Sampling(max_tokens=9 - len(said))))
    assert generation.token_ids != before and waiting.token_ids == alone(other, waiting.request)
    assert_nothing_is_left(engine)
