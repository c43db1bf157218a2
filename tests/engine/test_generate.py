"""Decoding one sequence, against the naive way: the whole forward again for every token."""

import gc

import numpy as np
import pytest
import torch

from puna.engine import ContextError, Sampling, SamplingError, check_prompt, generate
from puna.model import Batch, Model
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

PATCH = 348


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def prompt(count: int, seed: int = 0) -> Stream:
    return Stream(np.random.default_rng(seed).integers(0, 256, count))


def naive(model: Model, stream: Stream, count: int) -> list[int]:
    ids, out = list(stream.token_ids), []
    for _ in range(count):
        with torch.no_grad():
            logits = model.logits(model(Batch.from_streams([Stream(np.array(ids), stream.tiles)])))[-1]
        logits[PATCH] = -torch.inf
        out.append(int(logits.argmax()))
        ids.append(out[-1])
    return out


@pytest.mark.parametrize("length", [1, 7, 8, 20])
def test_greedy_tokens_are_those_of_the_whole_forward_again_and_again(model: Model, length: int) -> None:
    tokens = list(generate(model, prompt(length), Sampling(max_tokens=20), ()))
    assert tokens == naive(model, prompt(length), 20)
    assert len(set(tokens)) > 3


def test_a_prompt_with_a_picture_goes_on_in_text(model: Model) -> None:
    tiles = np.random.default_rng(1).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    stream = Stream(np.array([1, 2, *[PATCH] * 4, 3]), tiles)
    tokens = list(generate(model, stream, Sampling(max_tokens=12), ()))
    assert tokens == naive(model, stream, 12)
    assert tokens != list(generate(model, Stream(stream.token_ids, -tiles), Sampling(max_tokens=12), ()))


def test_the_stop_token_is_the_last(model: Model) -> None:
    free = list(generate(model, prompt(5), Sampling(max_tokens=20), ()))
    stop = free[6]
    assert list(generate(model, prompt(5), Sampling(max_tokens=20), {stop, 999})) == free[: free.index(stop) + 1]


def test_exactly_max_tokens_come_without_a_stop(model: Model) -> None:
    for count in (1, 2, 9):
        assert len(list(generate(model, prompt(3), Sampling(max_tokens=count), ()))) == count


def test_answers_end_at_the_models_context() -> None:
    model = tiny_model(tiny_config(max_positions=12))
    assert len(list(generate(model, prompt(9), Sampling(max_tokens=50), ()))) == 3
    assert len(list(generate(model, prompt(11), Sampling(max_tokens=50), ()))) == 1


@pytest.mark.parametrize("length", [12, 13, 40])
def test_a_prompt_that_leaves_no_room_is_refused_before_the_first_token(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(tiny_config(max_positions=12))
    monkeypatch.setattr(Model, "forward", lambda *_: pytest.fail("the model was run"))
    with pytest.raises(ContextError, match=f"{length} tokens.*tiny reads at most 12"):
        next(generate(model, prompt(length), Sampling(), ()))
    assert issubclass(ContextError, ValueError)


def test_an_empty_prompt_is_refused(model: Model) -> None:
    with pytest.raises(ContextError, match="empty"):
        next(generate(model, prompt(0), Sampling(), ()))


def test_a_prompts_room_is_the_models_context(model: Model) -> None:
    assert check_prompt(model.config, prompt(4095)) == 4096
    with pytest.raises(ContextError):
        check_prompt(model.config, prompt(4096))


def test_seeds_repeat_and_differ(model: Model) -> None:
    def sampled(seed: int | None) -> list[int]:
        return list(generate(model, prompt(4), Sampling(max_tokens=16, temperature=1.5, seed=seed), ()))

    assert sampled(1) == sampled(1) != sampled(2)
    torch.manual_seed(0)
    assert sampled(1) == sampled(1)  # a seed owes nothing to torch's own generator


def test_a_patch_token_is_never_an_answer() -> None:
    """It stands for a picture's row: fed back, it would have no row to be replaced by."""
    model = tiny_model()
    likely = next(generate(model, prompt(5), Sampling(), ()))
    model.text.head.weight.data[PATCH] = 2 * model.text.head.weight.data[likely]
    with torch.no_grad():
        assert int(model.logits(model(Batch.from_streams([prompt(5)])))[-1].argmax()) == PATCH
    for temperature in (0.0, 1.0):
        tokens = list(generate(model, prompt(5), Sampling(max_tokens=20, temperature=temperature, seed=0), ()))
        assert len(tokens) == 20 and PATCH not in tokens


def test_damaged_weights_are_an_error_and_no_token() -> None:
    model = tiny_model()
    model.text.norm.weight.data[3] = float("nan")
    with pytest.raises(SamplingError, match="NaN"):
        next(generate(model, prompt(5), Sampling(), ()))


def test_a_waiting_generator_leaves_gradients_on_for_everyone_else(model: Model) -> None:
    tokens = generate(model, prompt(5), Sampling(), ())
    next(tokens)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    tokens.close()
    gc.collect()
    assert (torch.ones(1, requires_grad=True) * 2).requires_grad


def test_two_generations_may_take_turns(model: Model) -> None:
    alone = [list(generate(model, prompt(5, seed), Sampling(max_tokens=15), ())) for seed in (1, 2)]
    both = [generate(model, prompt(5, seed), Sampling(max_tokens=15), ()) for seed in (1, 2)]
    turns = [[next(tokens) for tokens in both] for _ in range(15)]
    assert [list(column) for column in zip(*turns, strict=True)] == alone
