"""A model stored in integers gives the same logits here and in `transformers`: read directly there (by compressed-tensors, experts as
modules of their own), and converted to a plain bf16 directory first. In 8 bits, in 4, and in mixtures."""

from pathlib import Path

import pytest
import torch
from transformers import Llama4ForCausalLM, Llama4ForConditionalGeneration

from puna.checkpoint import INT8, Mix, Scheme, convert_model, load_model, open_model, save_model
from puna.model import Batch
from puna.stream import Stream
from puna.testing.hf_models import hf_logits, hf_text_model, hf_vision_model, save_hf
from puna.testing.parity import assert_same, stream_with, token_ids

NUM_TOKENS = 29
INT4 = Scheme(4, 4)  # 4 divides every row of the reference's tiny models
MIXES = {
    "int8": Mix.of_one(INT8),
    "int8_groups": Mix.of_one(Scheme(8, 4)),
    "int4": Mix.of_one(INT4),
    "int4_rows": Mix.of_one(Scheme(4)),
    "int4_with_float_ends": Mix(INT4, INT4, None, None),
    "experts_alone": Mix(INT4, None, None, None),
    "int4_experts": Mix(INT4, INT8, None, INT8),
    "int4_int8_head": Mix(INT4, INT4, None, INT8),
    "three_schemes": Mix(INT4, INT8, None, Scheme(8, 4)),
}


@pytest.fixture(params=MIXES)
def mix(request: pytest.FixtureRequest) -> Mix:
    return MIXES[request.param]


@pytest.fixture(params=["multimodal", "text_only"])
def stored(request: pytest.FixtureRequest, mix: Mix, tmp_path: Path) -> Path:
    make = hf_vision_model if request.param == "multimodal" else hf_text_model
    source = save_hf(make(seed=1, interleave_moe_layer_step=2), tmp_path / "source")
    return save_model(load_model(source, "float32"), tmp_path / "stored", storage=mix)


@pytest.mark.parametrize("converted", [False, True], ids=["read_directly", "converted"])
def test_logits_are_equal(converted: bool, stored: Path, mix: Mix, tmp_path: Path) -> None:
    with open_model(stored) as opened:
        assert set(opened.storage().schemes) == set(mix.schemes)
    model = load_model(stored, "float32")
    if model.config.vision is None:
        stream, kind = Stream(token_ids(NUM_TOKENS, seed=2)), Llama4ForCausalLM
    else:
        stream, kind = stream_with([(1, 2)], seed=3), Llama4ForConditionalGeneration
    directory = convert_model(stored, tmp_path / "bf16").directory if converted else stored
    # Several schemes transformers undoes at the first call, in the model's own dtype: in bf16 its weights are ours, bit for bit.
    undone_later = not converted and len(mix.schemes) > 1
    hf, report = kind.from_pretrained(directory, dtype=torch.bfloat16 if undone_later else torch.float32, output_loading_info=True)
    assert not any(report.values()), report
    if undone_later:
        hf_logits(hf, torch.from_numpy(stream.token_ids), None if stream.tiles is None else torch.from_numpy(stream.tiles).bfloat16())
        torch.nn.Module.float(hf)  # which the model's own `float` refuses
    with torch.no_grad():
        ours = model.logits(model(Batch.from_streams([stream])))
    tiles = None if stream.tiles is None else torch.from_numpy(stream.tiles)
    assert_same(ours, hf_logits(hf, torch.from_numpy(stream.token_ids), tiles))
