"""The whole model: against a slow decoder written from the fact sheet, and against itself in other company.

Letters: T tokens, D model width, H head width.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from puna.config import ModelConfig
from puna.model import Batch, Model
from puna.model.fusion import FusionError
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model

PATCH = 348
TOLERANCE = 1e-4  # fp32 against double precision, as a share of the largest value


def ids(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, count)


def picture_stream(seed: int = 0) -> Stream:
    """Two tiles of four patches among text; a chunk edge (8) falls inside the first."""
    text = ids(20, seed)
    patches = [PATCH] * 4
    tiles = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 16, 16)).astype(np.float32)
    return Stream(np.array([*text[:6], *patches, *text[6:9], *patches, *text[9:]]), tiles)


def slow_decoder(model: Model, token_ids: np.ndarray, first: int = 0, rows: Tensor | None = None) -> Tensor:
    """Logits `[T, V]` in double precision, token by token and head by head."""
    config = model.config
    w = {name: p.detach().double() for name, p in model.named_parameters()}

    def rms(x: Tensor) -> Tensor:
        return x / (x.square().mean() + config.norm_eps).sqrt()

    def swiglu(x: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
        g = gate @ x
        return down @ (g / (1 + (-g).exp()) * (up @ x))

    def turned(x: Tensor, position: int) -> Tensor:
        pairs = torch.view_as_complex(x.view(-1, 2))
        angles = [position * config.rope_theta ** (-2 * j / config.head_width) for j in range(len(pairs))]
        return torch.view_as_real(pairs * torch.polar(torch.ones(len(pairs)).double(), torch.tensor(angles).double())).flatten()

    stream = [w["text.embed.weight"][i] for i in token_ids]
    if rows is not None:
        for place, row in zip(np.flatnonzero(token_ids == config.patch_id), rows.double(), strict=True):
            stream[place] = row
    positions = range(first, first + len(stream))
    group = config.num_heads // config.num_kv_heads
    for index in range(config.num_layers):
        name, nope, moe = f"text.layers.{index}", (index + 1) % 4 == 0, (index + 1) % 2 == 0
        normed = [rms(x) * w[f"{name}.attention_norm.weight"] for x in stream]
        q, k, v = ([(w[f"{name}.attention.{p}.weight"] @ x).view(-1, config.head_width) for x in normed] for p in ("wq", "wk", "wv"))
        attended = []
        for t, position in enumerate(positions):
            heads = []
            for head in range(config.num_heads):
                scores, values = [], []
                for s, other in enumerate(positions):
                    if other > position or (not nope and other // config.chunk != position // config.chunk):
                        continue
                    query, key = q[t][head], k[s][head // group]
                    if nope:
                        query = query * (1 + config.attn_scale * math.log((position + 1) // config.floor_scale + 1))
                    else:
                        query, key = rms(turned(query, position)), rms(turned(key, other))
                    scores.append(query @ key / math.sqrt(config.head_width))
                    values.append(v[s][head // group])
                heads.append(torch.stack(scores).softmax(0) @ torch.stack(values))
            attended.append(w[f"{name}.attention.wo.weight"] @ torch.cat(heads))
        stream = [x + out for x, out in zip(stream, attended, strict=True)]
        for t, x in enumerate(stream):
            normed_x, ff = rms(x) * w[f"{name}.feed_forward_norm.weight"], f"{name}.feed_forward"
            if not moe:
                stream[t] = x + swiglu(normed_x, *(w[f"{ff}.{p}.weight"] for p in ("w_gate", "w_up", "w_down")))
                continue
            logits = w[f"{ff}.router.weight"] @ normed_x
            expert = int(logits.argmax())
            gate, up = w[f"{ff}.experts.w_gate_up"][expert].T.chunk(2)
            routed = swiglu(normed_x / (1 + math.exp(-logits[expert])), gate, up, w[f"{ff}.experts.w_down"][expert].T)
            stream[t] = x + routed + swiglu(normed_x, *(w[f"{ff}.shared.{p}.weight"] for p in ("w_gate", "w_up", "w_down")))
    return torch.stack([w["text.head.weight"] @ (rms(x) * w["text.norm.weight"]) for x in stream])


def varied(config: ModelConfig | None = None) -> Model:
    """A model whose norm weights are not one, so that a missing one shows."""
    model = tiny_model(config)
    generator = torch.Generator().manual_seed(9)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def logits(model: Model, *streams: Stream, firsts: tuple[int, ...] | None = None) -> list[Tensor]:
    with torch.no_grad():
        batch = Batch.from_streams(streams, firsts)
        return list(model.logits(model(batch)).split(batch.lengths))


def assert_close(got: Tensor, expected: Tensor) -> None:
    assert float((got - expected).abs().max()) < TOLERANCE * float(expected.abs().max())


@pytest.mark.parametrize("first", [0, 5])
def test_the_decoder_equals_the_slow_one(first: int) -> None:
    model = varied()
    (got,) = logits(model, Stream(ids(19)), firsts=(first,))
    assert got.dtype == torch.float32
    assert_close(got, slow_decoder(model, ids(19), first))


def test_pictures_are_fused_in_the_order_of_their_patch_tokens() -> None:
    model = varied()
    stream = picture_stream()
    with torch.no_grad():
        rows = model.embed_tiles(torch.from_numpy(stream.tiles))
    assert rows.shape == (8, 32)
    (got,) = logits(model, stream)
    assert_close(got, slow_decoder(model, stream.token_ids, rows=rows))


def test_streams_packed_together_equal_streams_alone() -> None:
    model = tiny_model()
    streams = [Stream(ids(9, 1)), picture_stream(2), Stream(ids(1, 3)), picture_stream(4), Stream(ids(41, 5))]
    for together, stream in zip(logits(model, *streams), streams, strict=True):
        torch.testing.assert_close(together, logits(model, stream)[0], atol=1e-5, rtol=1e-4)


def test_training_and_inference_give_the_same_logits() -> None:
    model = tiny_model()
    batch = Batch.from_streams([picture_stream()])
    with torch.enable_grad():
        trained = model.logits(model.train()(batch)).detach()
    torch.testing.assert_close(trained, logits(model.eval(), picture_stream())[0], atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient_from_one_batch_with_a_picture() -> None:
    model = tiny_model(tiny_config(num_experts=2))
    batch = Batch.from_streams([picture_stream(), Stream(ids(60, 1))])
    model.logits(model(batch)).square().mean().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]


def test_a_model_without_vision_refuses_tiles_and_reads_text() -> None:
    model = tiny_model(tiny_config(vision=None))
    with pytest.raises(FusionError, match="tiny has no vision tower.*2 tiles"):
        logits(model, picture_stream())
    assert logits(model, Stream(ids(5)))[0].shape == (5, 384)


def test_patch_tokens_and_tiles_must_agree() -> None:
    model = tiny_model()
    stream = picture_stream()
    assert stream.tiles is not None
    with pytest.raises(FusionError, match="8 patch tokens.*4 vision rows"):
        logits(model, Stream(stream.token_ids, stream.tiles[:1]))
    with pytest.raises(FusionError, match="8 patch tokens.*0 vision rows"):
        logits(model, Stream(stream.token_ids))


def test_bf16_stays_near_fp32() -> None:
    exact, low = (logits(tiny_model(dtype=dtype), Stream(ids(40)))[0] for dtype in (torch.float32, torch.bfloat16))
    assert low.dtype == torch.float32
    assert float((low - exact).square().mean().sqrt()) < 0.05 * float(exact.square().mean().sqrt())


def test_a_meta_model_holds_no_memory_and_names_its_parts() -> None:
    with torch.device("meta"):
        model = Model(tiny_config())
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    names = set(model.state_dict())
    assert {"text.layers.1.feed_forward.experts.w_gate_up", "text.layers.0.feed_forward.w_gate.weight", "projector.weight"} <= names
    assert model.dtype == torch.float32
