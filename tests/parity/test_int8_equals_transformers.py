"""A model stored in int8 gives the same logits here and in `transformers`: read directly there (by compressed-tensors, experts as modules
of their own), and converted to a plain bf16 directory first."""

from pathlib import Path

import pytest
import torch
from transformers import Llama4ForCausalLM, Llama4ForConditionalGeneration

from puna.checkpoint import convert_model, load_model, save_model
from puna.model import Batch
from puna.stream import Stream
from puna.testing.hf_models import hf_logits, hf_text_model, hf_vision_model, save_hf
from puna.testing.parity import assert_same, stream_with, token_ids

NUM_TOKENS = 29


@pytest.fixture(params=["multimodal", "text_only"])
def int8(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make = hf_vision_model if request.param == "multimodal" else hf_text_model
    source = save_hf(make(seed=1, interleave_moe_layer_step=2), tmp_path / "source")
    return save_model(load_model(source, "float32"), tmp_path / "int8", storage="int8")


@pytest.mark.parametrize("converted", [False, True], ids=["read_directly", "converted"])
def test_logits_are_equal(converted: bool, int8: Path, tmp_path: Path) -> None:
    model = load_model(int8, "float32")
    if model.config.vision is None:
        stream, kind = Stream(token_ids(NUM_TOKENS, seed=2)), Llama4ForCausalLM
    else:
        stream, kind = stream_with([(1, 2)], seed=3), Llama4ForConditionalGeneration
    directory = convert_model(int8, tmp_path / "bf16").directory if converted else int8
    hf, report = kind.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
    assert not any(report.values()), report
    with torch.no_grad():
        ours = model.logits(model(Batch.from_streams([stream])))
    tiles = None if stream.tiles is None else torch.from_numpy(stream.tiles)
    assert_same(ours, hf_logits(hf, torch.from_numpy(stream.token_ids), tiles))
