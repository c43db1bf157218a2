"""What one attention layer hands to the kernel: rotation, norms and temperature in the right order, on the right layers.

Letters: T tokens, N query heads, K key/value heads, H head width.
"""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from puna.config import LayerSpec, ModelConfig
from puna.model import Batch
from puna.model.attention import Attention, PositionTerms
from puna.model.rope import rotate, temperature
from puna.stream import Stream
from puna.testing.models import tiny_config


class Handed(NamedTuple):
    """What a layer gave to its cache."""

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float


class Recorder:
    """A cache that keeps what it was given and answers zeros."""

    def attend(self, layer: LayerSpec, q_TNH: Tensor, k_TKH: Tensor, v_TKH: Tensor, batch: Batch, scale: float) -> Tensor:
        self.handed = Handed(q_TNH, k_TKH, v_TKH, scale)
        return torch.zeros_like(q_TNH)


def run(config: ModelConfig, index: int, x: Tensor, first: int = 0) -> tuple[Attention, Handed, PositionTerms]:
    torch.manual_seed(0)
    attention = Attention(config, config.layers()[index]).to(x.dtype)
    batch = Batch.from_streams([Stream(np.zeros(len(x), dtype=np.int64))], [first])
    terms = PositionTerms.of(batch.positions, config, "modulo")
    recorder = Recorder()
    with torch.no_grad():
        attention(x, terms, batch, recorder)
    return attention, recorder.handed, terms


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 32, generator=torch.Generator().manual_seed(1))


def heads(weight: Tensor, x: Tensor) -> Tensor:
    return (x @ weight.T).unflatten(-1, (-1, 8))


def test_a_rope_layer_turns_then_norms_each_head_without_a_weight(x: Tensor) -> None:
    attention, handed, terms = run(tiny_config(), 0, x, first=5)
    for got, linear in ((handed.q, attention.wq), (handed.k, attention.wk)):
        turned = rotate(heads(linear.weight, x), terms.cos, terms.sin)
        per_head = turned / (turned.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        flattened = turned / (turned.square().mean((-2, -1), keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(got, per_head)
        assert not torch.allclose(got, flattened, atol=1e-2)
    torch.testing.assert_close(handed.v, heads(attention.wv.weight, x))
    assert handed.scale == 8**-0.5


def test_without_qk_norm_a_rope_layer_only_turns(x: Tensor) -> None:
    attention, handed, terms = run(tiny_config(qk_norm=False), 0, x)
    torch.testing.assert_close(handed.q, rotate(heads(attention.wq.weight, x), terms.cos, terms.sin))
    torch.testing.assert_close(handed.k, rotate(heads(attention.wk.weight, x), terms.cos, terms.sin))


def test_a_nope_layer_neither_turns_nor_norms_and_tempers_its_queries_alone(x: Tensor) -> None:
    config = tiny_config()
    attention, handed, _ = run(config, 3, x, first=40)
    scale = temperature(torch.arange(40, 45), config)
    assert (scale > 1.2).all()
    torch.testing.assert_close(handed.q, heads(attention.wq.weight, x) * scale[:, None, None])
    torch.testing.assert_close(handed.k, heads(attention.wk.weight, x))


def test_temperature_is_off_when_the_config_says_so(x: Tensor) -> None:
    attention, handed, _ = run(tiny_config(temperature_tuning=False), 3, x, first=40)
    torch.testing.assert_close(handed.q, heads(attention.wq.weight, x))


@pytest.mark.parametrize("index", [0, 3])
def test_in_bf16_everything_stays_bf16(index: int, x: Tensor) -> None:
    _, handed, _ = run(tiny_config(), index, x.bfloat16(), first=40)
    assert {handed.q.dtype, handed.k.dtype, handed.v.dtype} == {torch.bfloat16}


def test_the_norms_epsilon_is_the_configs(x: Tensor) -> None:
    _, small, _ = run(tiny_config(norm_eps=1e-5), 0, x)
    _, large, _ = run(tiny_config(norm_eps=1.0), 0, x)
    assert (large.q.abs() < small.q.abs()).float().mean() > 0.99
