import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.llama4.modeling_llama4 import Llama4ForCausalLM, Llama4ForConditionalGeneration

from puna.checkpoint import CheckpointError, load_model, read_config, save_model
from puna.checkpoint.shards import INDEX_FILE, SINGLE_FILE, ShardedTensors
from puna.model import Batch, Model
from puna.presets import preset
from puna.stream import Stream
from puna.testing.checkpoints import edit, message_of
from puna.testing.hf_models import SCALED_ROPE, hf_logits, hf_text_model, hf_vision_model, save_hf
from puna.testing.models import tiny_config, tiny_model
from puna.testing.tokenizer import byte_tokenizer

DENSE = dict(num_local_experts=0, interleave_moe_layer_step=0, moe_layers=[], no_rope_layers=[1] * 8, layer_types=["full_attention"] * 8)


def stored(directory: Path) -> dict[str, Tensor]:
    with ShardedTensors(directory) as tensors:
        return {name: tensors.load(name).clone() for name in tensors.tensors}


def assert_bit_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: hf_text_model(seed=1, rope_parameters=dict(SCALED_ROPE)),
        lambda: hf_text_model(seed=2, **DENSE),
        lambda: hf_vision_model(seed=3, interleave_moe_layer_step=2, use_qk_norm=False),
    ],
    ids=["scout_text", "guard_text", "maverick_vision"],
)
@pytest.mark.parametrize("shard_size", ["5GB", "30KB"])
def test_from_transformers_through_puna_and_back_every_bit_stays(
    make: Callable[[], Any], dtype: str, shard_size: str, tmp_path: Path
) -> None:
    hf = make()
    for parameter in hf.parameters():
        parameter.data = parameter.data.to(getattr(torch, dtype))
    theirs = save_hf(hf, tmp_path / "theirs", max_shard_size=shard_size)
    assert (theirs / INDEX_FILE).exists() == (shard_size == "30KB")
    model = load_model(theirs, dtype)
    assert all(p.dtype == getattr(torch, dtype) for p in model.parameters())
    ours = save_model(model, tmp_path / "ours", storage={"float32": "fp32", "bfloat16": "bf16"}[dtype], max_shard_bytes=40_000)
    assert (ours / INDEX_FILE).exists()
    assert_bit_equal(stored(ours), dict(hf.state_dict()))
    assert read_config(ours) == replace(model.config, name="theirs")


@pytest.mark.parametrize(
    "config",
    [
        tiny_config(),
        tiny_config(vision=None, rope_scaling=None, moe_layers=(0, 5)),
        replace(preset("scout-nano"), num_layers=4, moe_layers=(0, 1), nope_layers=(3,)),
    ],
    ids=["multimodal", "text_only", "nano"],
)
def test_from_puna_through_transformers_and_back_every_bit_stays(config: Any, tmp_path: Path) -> None:
    model = tiny_model(config, seed=4)
    ours = save_model(model, tmp_path / "ours", storage="fp32")
    kind = Llama4ForCausalLM if config.vision is None else Llama4ForConditionalGeneration
    hf, report = kind.from_pretrained(ours, output_loading_info=True)
    assert not any(report.values()), report
    again = load_model(save_hf(hf, tmp_path / "again", max_shard_size="100KB"), "float32")
    assert again.config == replace(config, vision=again.config.vision)
    assert_bit_equal(again.state_dict(), model.state_dict())


@pytest.mark.parametrize("name", ["scout-nano", "maverick-nano", "guard-nano"])
def test_a_saved_nano_runs_in_transformers_with_equal_logits(name: str, tmp_path: Path) -> None:
    config = replace(preset(name), initializer_range=0.1)  # larger than in training, so that random logits are of order several
    assert config.vision is not None
    model = tiny_model(config, seed=5)
    hf = Llama4ForConditionalGeneration.from_pretrained(save_model(model, tmp_path, storage="fp32"))
    generator = torch.Generator().manual_seed(6)
    ids = torch.randint(0, config.bos_id, (300,), generator=generator)  # beyond the chunk of 256
    picture = [config.image_start_id, config.image_id, *[config.patch_id] * config.vision.tokens_per_tile, config.image_end_id]
    ids[245 : 245 + len(picture)] = torch.tensor(picture)  # across the chunk's edge
    tiles = torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1
    with torch.no_grad():
        ours = model.logits(model(Batch.from_streams([Stream(ids.numpy(), tiles.numpy())])))
    theirs = hf_logits(hf, ids, tiles)
    assert theirs.abs().max() > 3
    assert (ours - theirs).abs().max() < 1e-4


def test_scout_nano_as_saved_is_a_whole_hugging_face_directory(tmp_path: Path) -> None:
    config = preset("scout-nano")
    model = tiny_model(config, dtype=torch.bfloat16)
    save_model(model, tmp_path)
    hf, report = Llama4ForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    assert hf.dtype == torch.bfloat16 and hf.generation_config.eos_token_id == list(config.eos_ids)
    assert sum(p.numel() for p in hf.parameters()) == sum(p.numel() for p in model.parameters())
    assert read_config(tmp_path) == config
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json", "processor_config.json",
    }  # fmt: skip


def test_tokenizer_files_are_written_beside_the_weights(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path, tokenizer=byte_tokenizer())
    assert {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"} <= {
        p.name for p in tmp_path.iterdir()
    }


def test_weights_are_cast_on_the_way_in_and_out(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(model, tmp_path)  # bfloat16 by default
    loaded = load_model(tmp_path, torch.float32)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.bfloat16().float()), name
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_a_loaded_model_computes_at_once_and_can_be_trained(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path, storage="fp32")
    model = load_model(tmp_path, "float32")
    assert not model.training and not any(t.is_meta for t in (*model.parameters(), *model.buffers()))
    model.logits(model(Batch.from_streams([Stream(torch.arange(12).numpy())]))).sum().backward()
    assert model.text.head.weight.grad is not None
    with torch.no_grad():
        model.text.norm.weight.add_(1.0)  # the file on disk must not change with it
    assert torch.equal(load_model(tmp_path, "float32").text.norm.weight, tiny_model().text.norm.weight)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped where")
def test_weights_of_the_wanted_dtype_stay_in_the_mapped_file(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path, storage="fp32")
    model = load_model(tmp_path, "float32")
    address = model.text.embed.weight.data_ptr()
    ranges = [line for line in Path("/proc/self/maps").read_text().splitlines() if SINGLE_FILE in line]
    bounds = [[int(x, 16) for x in line.split()[0].split("-")] for line in ranges]
    assert any(low <= address < high for low, high in bounds)


def test_a_model_can_be_saved_over_the_files_it_is_mapped_from(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path, storage="fp32")
    model = load_model(tmp_path, "float32")
    save_model(model, tmp_path, storage="fp32")
    assert_bit_equal(load_model(tmp_path, "float32").state_dict(), tiny_model().state_dict())


def test_a_steered_router_is_not_saved(tmp_path: Path) -> None:
    model = tiny_model()
    model.text.layers[1].feed_forward.router.balance_bias[2] = 0.01
    with pytest.raises(CheckpointError, match="text.layers.1.feed_forward.router.balance_bias is not zero"):
        save_model(model, tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_model(tiny_model(tiny_config(vision=None)), tmp_path / "model", storage="fp32")


def test_a_wrong_shape_is_named_with_both_shapes(saved: Path) -> None:
    edit(saved, **{"model.norm.weight": torch.zeros(31)})
    assert "wrong shape: model.norm.weight is [31] in model.safetensors; the config asks for [32]" in message_of(saved)


def test_a_transposed_tensor_is_a_wrong_shape(saved: Path) -> None:
    name = "model.layers.1.feed_forward.experts.down_proj"
    edit(saved, **{name: torch.zeros(4, 32, 24)})
    assert f"{name} is [4, 32, 24] in model.safetensors; the config asks for [4, 24, 32]" in message_of(saved)


def test_a_missing_tensor_is_named(saved: Path) -> None:
    edit(saved, **{"lm_head.weight": None})
    assert "missing: lm_head.weight [384, 32]" in message_of(saved)


@pytest.mark.parametrize("name", ["model.layers.8.input_layernorm.weight", "model.layers.0.self_attn.q_proj.bias", "rotary.inv_freq"])
def test_an_extra_tensor_is_named(name: str, saved: Path) -> None:
    edit(saved, **{name: torch.zeros(3)})
    assert f"extra: {name} [3] in model.safetensors" in message_of(saved)


def test_a_dense_layer_where_the_config_says_moe_is_both_missing_and_extra(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"moe_layers": [0, 1, 3, 5, 7]}))
    message = message_of(saved)
    assert "extra: model.layers.0.feed_forward.gate_proj.weight [48, 32]" in message
    assert "missing: model.layers.0.feed_forward.router.weight [4, 32]" in message


@pytest.mark.parametrize(("kind", "word"), [(torch.int64, "I64"), (torch.float8_e4m3fn, "F8_E4M3"), (torch.float64, "F64")])
def test_a_wrong_kind_is_named(kind: torch.dtype, word: str, saved: Path) -> None:
    edit(saved, **{"model.norm.weight": torch.zeros(32).to(kind)})
    assert f"wrong kind: model.norm.weight is {word} in model.safetensors; weights must be one of F32, BF16, F16" in message_of(saved)


def test_all_problems_are_listed_at_once_and_ten_in_full(saved: Path) -> None:
    names = [f"model.layers.{i}.{norm}.weight" for i in range(8) for norm in ("input_layernorm", "post_attention_layernorm")]
    edit(saved, **dict.fromkeys(names[:3]), **{name: torch.zeros(1) for name in names[3:]})
    message = message_of(saved)
    assert "16 tensors in all" in message and message.count("missing:") == 3 and message.count("wrong shape:") == 7
    assert message.endswith("and 6 more")


def test_nothing_is_read_before_the_headers_agree(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(saved, **{"lm_head.weight": None})
    monkeypatch.setattr(ShardedTensors, "load", lambda *_: pytest.fail("a tensor was read"))
    message_of(saved)


def test_a_multimodal_file_under_a_text_only_config_is_refused(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path)
    text_only = save_model(tiny_model(tiny_config(vision=None)), tmp_path / "text")
    (tmp_path / "config.json").write_bytes((text_only / "config.json").read_bytes())
    assert "extra: language_model.lm_head.weight" in message_of(tmp_path)


def test_a_path_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in message_of(tmp_path / "nowhere")
    assert "config.json does not exist" in message_of(tmp_path)
    (tmp_path / "file").touch()
    assert "is a file" in message_of(tmp_path / "file")
    (tmp_path / "config.json").write_text("{")
    assert "config.json is not readable JSON" in message_of(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    assert "model_type is 'llama'; Puna reads the Llama 4 family only" in message_of(tmp_path)


def test_pickled_weights_beside_a_good_config_are_refused(saved: Path) -> None:
    (saved / SINGLE_FILE).rename(saved / "pytorch_model.bin")
    assert "a pickled format" in message_of(saved)


@pytest.mark.parametrize("dtype", ["int8", "fp32", torch.int64, None])
def test_an_impossible_dtype_is_refused(dtype: Any, saved: Path) -> None:
    with pytest.raises(CheckpointError, match="weights are computed in one of float32, bfloat16, float16"):
        load_model(saved, dtype)


@pytest.mark.parametrize("storage", ["int3", "float32", torch.float32, None])
def test_an_impossible_storage_is_refused(storage: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="weights are stored as one of bf16, fp16, fp32, int8"):
        save_model(tiny_model(), tmp_path / "model", storage=storage)
    assert not (tmp_path / "model").exists()


def test_a_nameless_checkpoint_takes_its_directorys_name(saved: Path) -> None:
    assert read_config(saved).name == "tiny"
    config = json.loads((saved / "config.json").read_text())
    del config["puna"]
    (saved / "config.json").write_text(json.dumps(config))
    assert read_config(saved).name == "model"


def test_the_number_of_tiles_comes_from_the_image_processors_file(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["puna"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    vision = read_config(tmp_path).vision
    assert vision is not None and vision.max_tiles == 4


def test_loading_never_needs_two_copies_of_a_converted_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stored tensor is let go before the next one is read."""
    import weakref

    save_model(tiny_model(), tmp_path)
    alive: list[weakref.ref[Tensor]] = []
    plain_load = ShardedTensors.load

    def load(self: ShardedTensors, name: str) -> Tensor:
        assert not [r for r in alive if r() is not None]
        tensor = plain_load(self, name)
        alive.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(ShardedTensors, "load", load)
    assert isinstance(load_model(tmp_path, "float32"), Model) and len(alive) > 50
