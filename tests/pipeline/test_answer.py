"""Asks and their events, on a tiny model: many choices over one prompt, scores, stop strings, leaving early."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from puna.engine import ContextError, Grammar, SamplingError, Settings
from puna.messages import RequestError
from puna.pipeline import Answer, Ask, Finished, Pipeline, PromptScored, TextDelta, Usage
from puna.stream import Message, Text
from puna.testing.models import tiny_config, tiny_model
from puna.testing.serving import eventually
from puna.testing.tokenizer import byte_tokenizer

pytestmark = pytest.mark.anyio
HELLO = (Message("user", (Text("Hello"),)),)
DRAWN: dict[str, Any] = dict(temperature=1.0, seed=11)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline("tiny", tiny_model(tiny_config(eos_ids=())), byte_tokenizer())


async def events(pipeline: Pipeline, *asks: Ask) -> list[Any]:
    return [event async for event in pipeline.answer([pipeline.prepare(ask) for ask in asks])]


async def answer(pipeline: Pipeline, *asks: Ask) -> Answer:
    return Answer.of(await events(pipeline, *asks), sum(ask.n for ask in asks))


async def test_an_answer_says_what_the_synchronous_way_says(pipeline: Pipeline) -> None:
    told = await answer(pipeline, Ask(messages=HELLO, max_tokens=20))
    reply = pipeline.chat(HELLO, max_tokens=20)
    assert told.choices[0].text == reply.text and told.choices[0].reason == reply.finish_reason == "length"
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (reply.prompt_tokens, reply.completion_tokens) == (28, 20)
    assert told.usage.started_s is not None


async def test_choices_differ_and_each_is_that_of_its_own_seed(pipeline: Pipeline) -> None:
    told = await answer(pipeline, Ask(messages=HELLO, max_tokens=12, n=3, **DRAWN))
    alone = [pipeline.chat(HELLO, max_tokens=12, temperature=1.0, seed=11 + i).text for i in range(3)]
    assert [choice.text for choice in told.choices] == alone and len(set(alone)) == 3
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (28, 36)


async def test_choices_compute_their_prompt_once() -> None:
    pipeline = Pipeline("tiny", tiny_model(tiny_config(eos_ids=())), byte_tokenizer(), settings=Settings(max_streams=8))
    prompt = tuple(range(1, 200))
    await answer(pipeline, Ask(prompt_ids=prompt, max_tokens=2, n=6, **DRAWN))
    assert pipeline.engine.counters.tokens_computed < 2 * len(prompt)


async def test_several_asks_are_one_answer(pipeline: Pipeline) -> None:
    first, second = Ask(prompt_ids=(1, 2, 3), max_tokens=4), Ask(messages=HELLO, max_tokens=6, n=2, **DRAWN)
    told = await events(pipeline, first, second)
    assert {event.choice for event in told if isinstance(event, Finished)} == {0, 1, 2}
    assert told[-1] == Usage(31, 16, told[-1].cached_tokens, told[-1].started_s)
    apart = [*(await answer(pipeline, first)).choices, *(await answer(pipeline, second)).choices]
    assert [choice.text for choice in Answer.of(told, 3).choices] == [choice.text for choice in apart]


async def test_a_prompt_s_scores_come_before_anything_of_its_answer(pipeline: Pipeline) -> None:
    ids = (256, *b"abc")
    first, *rest = await events(pipeline, Ask(prompt_ids=ids, max_tokens=3, logprobs=2, prompt_logprobs=2, n=2))
    assert isinstance(first, PromptScored) and not any(isinstance(event, PromptScored) for event in rest)
    assert [score.id for score in first.scores] == list(ids) and first.scores[0].logprob is None
    logits = pipeline.logits(list(ids))
    for place, score in enumerate(first.scores[1:], 1):
        row = logits[place - 1].log_softmax(-1)
        assert score.logprob == pytest.approx(float(row[ids[place]]), abs=1e-4)
        assert score.top[0][0] == int(row.argmax()) and len(score.top) == 2


async def test_every_token_of_an_answer_has_a_score(pipeline: Pipeline) -> None:
    told = await answer(pipeline, Ask(messages=HELLO, max_tokens=9, logprobs=0))
    (choice,) = told.choices
    assert len(choice.scores) == 9 and all(score.logprob is not None and score.top == () for score in choice.scores)
    assert b"".join(score.data for score in choice.scores if score.id < 256).decode(errors="replace") == choice.text
    unscored = await answer(pipeline, Ask(messages=HELLO, max_tokens=9))
    assert unscored.choices[0].scores == []


async def test_a_stop_string_ends_its_choice_and_its_work_and_what_it_cut_has_no_score(pipeline: Pipeline) -> None:
    whole = (await answer(pipeline, Ask(messages=HELLO, max_tokens=400, logprobs=0))).choices[0]
    stop = whole.text[6:9]
    at = whole.text.index(stop)
    computed = pipeline.engine.counters.tokens_sampled
    told = (await answer(pipeline, Ask(messages=HELLO, max_tokens=400, logprobs=0, stop=("never", stop)))).choices[0]
    assert (told.text, told.reason, told.finished and told.finished.stop) == (whole.text[:at], "stop", stop)
    assert len(told.scores) < 20
    assert eventually(lambda: not pipeline.engine.has_work)
    assert pipeline.engine.counters.tokens_sampled - computed < 40


async def test_leaving_early_frees_everything(pipeline: Pipeline) -> None:
    asks = [Ask(messages=HELLO, max_tokens=3000, n=3), Ask(prompt_ids=(1, 2), max_tokens=3000)]
    async with aclosing(pipeline.answer([pipeline.prepare(ask) for ask in asks])) as told:
        async for event in told:
            if isinstance(event, TextDelta):
                break
    assert eventually(lambda: not pipeline.engine.has_work)


async def test_a_cancelled_task_frees_everything(pipeline: Pipeline) -> None:
    task = asyncio.create_task(answer(pipeline, Ask(messages=HELLO, max_tokens=3000)))
    async with asyncio.timeout(10):
        while not pipeline.engine.counters.tokens_sampled:
            await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert eventually(lambda: not pipeline.engine.has_work)


async def test_an_answer_cancelled_from_elsewhere_is_an_error(pipeline: Pipeline) -> None:
    told = pipeline.answer([pipeline.prepare(Ask(messages=HELLO, max_tokens=3000))])
    await anext(told)
    pipeline.engine.cancel_all()
    with pytest.raises(RequestError, match="cancelled"):
        async for _ in told:
            pass


async def test_after_its_end_a_pipeline_answers_again(pipeline: Pipeline) -> None:
    first = await answer(pipeline, Ask(messages=HELLO, max_tokens=3))
    await pipeline.aclose()
    await pipeline.aclose()
    assert (await answer(pipeline, Ask(messages=HELLO, max_tokens=3))).choices == first.choices


async def test_a_grammar_holds_all_choices() -> None:
    pipeline = Pipeline("tiny", tiny_model(), byte_tokenizer())
    told = await answer(pipeline, Ask(messages=HELLO, n=3, grammar=Grammar.choice(["yes", "no"]), **DRAWN))
    assert {choice.text for choice in told.choices} <= {"yes", "no"} and {choice.reason for choice in told.choices} == {"stop"}


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        (dict(messages=HELLO, temperature=3), SamplingError, "temperature=3"),
        (dict(messages=HELLO, logit_bias={9999: 1}), SamplingError, "logit_bias"),
        (dict(messages=HELLO, max_tokens=0), RequestError, "max_tokens=0"),
        (dict(messages=HELLO, max_tokens=5000), ContextError, "at most 4068 are left"),
        (dict(messages=(Message("user", (Text("x" * 5000),)),)), ContextError, "maximum context length is 4096 tokens"),
        (dict(prompt_ids=()), RequestError, "non-empty"),
        (dict(prompt_ids=(5000,)), RequestError, "0 to 383"),
        (dict(prompt_ids=(1,) * 5000), ContextError, "the prompt has 5000 tokens"),
    ],
)
async def test_what_can_never_be_answered_is_refused_before_the_line(pipeline: Pipeline, options: Any, kind: type, words: str) -> None:
    with pytest.raises(kind, match=words):
        pipeline.prepare(Ask(**options))
    assert not pipeline.engine.has_work
