import json
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from puna.checkpoint import INT8, CheckpointError, Mix, Scheme, StoredModel, convert_model, load_model, open_model, save_model
from puna.checkpoint.compressed import matrices, mix_to_hf, schemes_from_hf
from puna.checkpoint.names_hf import to_hf_name
from puna.checkpoint.quantized import dequantize, quantize
from puna.checkpoint.shards import INDEX_FILE, SINGLE_FILE, ShardedTensors
from puna.model import Batch, Model
from puna.presets import preset
from puna.stream import Stream
from puna.testing.checkpoints import edit, message_of
from puna.testing.models import tiny_config, tiny_model

SCHEMES = [INT8, Scheme(8, 8), Scheme(4), Scheme(4, 8)]
WQ = "model.layers.0.self_attn.q_proj"

# As llm-compressor writes it: every field spelled out, most of them empty.
THEIRS: dict[str, Any] = {
    "config_groups": {
        "group_0": {
            "format": "pack-quantized",
            "input_activations": None,
            "output_activations": None,
            "targets": ["Linear"],
            "weights": {
                "actorder": None,
                "block_structure": None,
                "dynamic": False,
                "group_size": 128,
                "num_bits": 4,
                "observer": "mse",
                "observer_kwargs": {},
                "strategy": "group",
                "symmetric": True,
                "type": "int",
            },
        }
    },
    "format": "pack-quantized",
    "global_compression_ratio": None,
    "ignore": ["re:.*lm_head", "re:.*self_attn", "re:.*router", "re:vision_model.*", "re:multi_modal_projector.*"],
    "kv_cache_scheme": None,
    "quant_method": "compressed-tensors",
    "quantization_status": "compressed",
    "sparsity_config": {},
    "transform_config": {},
    "version": "0.12.3",
}


def changed(place: str = "", **changes: Any) -> dict[str, Any]:
    """A config.json with `THEIRS`, changed at the top, in its "group" or in its "weights"."""
    config = json.loads(json.dumps(THEIRS))
    group = config["config_groups"]["group_0"]
    {"": config, "group": group, "weights": group["weights"]}[place].update(changes)
    return {"quantization_config": config}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_model(tiny_model(tiny_config(vision=None)), tmp_path / "int8", storage="int8")


def logits(model: Model) -> Tensor:
    with torch.no_grad():
        return model.logits(model(Batch.from_streams([Stream(torch.arange(40).numpy())])))


# --- The config ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_config_says_the_scheme_to_us_and_to_compressed_tensors(scheme: Scheme) -> None:
    from compressed_tensors.quantization import QuantizationConfig

    written = json.loads(json.dumps(mix_to_hf(Mix.of_one(scheme))))
    assert schemes_from_hf({"quantization_config": written}) == (scheme,)
    theirs = QuantizationConfig.model_validate(written).model_dump(mode="json")
    (group,) = theirs["config_groups"].values()
    assert (group["weights"]["num_bits"], group["weights"]["group_size"]) == (scheme.bits, scheme.group)
    assert group["weights"]["symmetric"] and group["input_activations"] is None
    assert theirs["format"] == group["format"] == "pack-quantized"


def test_configs_of_other_programs_are_read() -> None:
    assert schemes_from_hf(changed()) == (Scheme(4, 128),)
    assert schemes_from_hf(changed("weights", strategy="channel", group_size=None, num_bits=8)) == (INT8,)
    assert schemes_from_hf(changed("weights", strategy=None, group_size=-1, num_bits=8)) == (INT8,)
    assert schemes_from_hf(changed("weights", actorder="weight")) == (Scheme(4, 128),)
    assert schemes_from_hf({}) == () == schemes_from_hf({"quantization_config": None})


REFUSED: list[tuple[dict[str, Any], str]] = [
    (changed(quant_method="fp8"), "quantization_config.quant_method is 'fp8'"),
    (changed(format="int-quantized"), "quantization_config.format is 'int-quantized'"),
    (changed(kv_cache_scheme={"num_bits": 8}), "kv_cache_scheme"),
    (changed(sparsity_config={"format": "sparse-24-bitmask"}), "sparsity_config"),
    (changed(transform_config={"config_groups": {}}), "transform_config"),
    (changed(config_groups={}), "config_groups"),
    (changed(config_groups={"a": THEIRS["config_groups"]["group_0"], "b": {}}), "config_groups.b"),
    (changed(surprise=1), "unknown field quantization_config.surprise"),
    (changed("group", input_activations={"num_bits": 8}), "input_activations"),
    (changed("group", format="marlin-24"), "quantization_config.config_groups.group_0.format is 'marlin-24'"),
    (changed("group", weights=None), "group_0.weights is null; it must be an object"),
    (changed("weights", type="float"), "weights.type is 'float'"),
    (changed("weights", symmetric=False), "weights.symmetric is False"),
    (changed("weights", num_bits=3), "weights.num_bits is 3"),
    (changed("weights", dynamic=True), "weights.dynamic is True"),
    (changed("weights", actorder="group"), "weights.actorder is 'group'"),
    (changed("weights", strategy="block"), "weights.strategy is 'block'"),
    (changed("weights", group_size=0), "weights.group_size is 0"),
    (changed("weights", global_scale=2.0), "unknown field quantization_config.config_groups.group_0.weights.global_scale"),
]


@pytest.mark.parametrize(("config", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_schemes_that_puna_cannot_undo_are_refused_by_name(config: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError) as error:
        schemes_from_hf(config)
    assert words in str(error.value) and str(error.value).startswith("config.json: "), str(error.value)


# --- Names and layout ---------------------------------------------------------------------------------------------------


def test_experts_are_matrices_of_their_own_output_major() -> None:
    gate_up = torch.arange(2 * 3 * 8).view(2, 3, 8)  # [E, D, 2F]
    found = matrices("text.layers.0.feed_forward.experts.w_gate_up", "x.experts.gate_up_proj", (2, 3, 8))
    assert [m.module for m in found] == [f"x.experts.{e}.{p}_proj" for e in (0, 1) for p in ("gate", "up")]
    assert all(m.shape == (4, 3) == tuple(m.view(gate_up).shape) for m in found)
    assert torch.equal(found[3].view(gate_up), gate_up[1, :, 4:].T)
    down = torch.arange(2 * 4 * 3).view(2, 4, 3)  # [E, F, D]
    found = matrices("text.layers.0.feed_forward.experts.w_down", "x.experts.down_proj", (2, 4, 3))
    assert torch.equal(found[1].view(down), down[1].T) and found[1].shape == (3, 4)


def test_what_stays_in_floats(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path, storage="int8")
    with ShardedTensors(tmp_path) as stored:
        floats = {name for name, info in stored.tensors.items() if not name.endswith(("_packed", "_scale", "_shape"))}
    leaves = {name.replace("vision_model.model", "vision").split(".layers.")[-1].lstrip("0123456789.") for name in floats}
    assert leaves == {
        "input_layernorm.weight", "post_attention_layernorm.weight", "language_model.model.norm.weight", "feed_forward.router.weight",
        "input_layernorm.bias", "post_attention_layernorm.bias", "self_attn.q_proj.bias", "self_attn.k_proj.bias",
        "self_attn.v_proj.bias", "self_attn.o_proj.bias", "mlp.fc1.bias", "mlp.fc2.bias",
        "vision_model.patch_embedding.linear.weight", "vision_model.class_embedding", "vision_model.positional_embedding_vlm",
        "vision_model.layernorm_pre.weight", "vision_model.layernorm_pre.bias", "vision_model.layernorm_post.weight",
        "vision_model.layernorm_post.bias",
    }  # fmt: skip


# --- Whole models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
@pytest.mark.parametrize("vision", [True, False], ids=["multimodal", "text_only"])
def test_what_is_loaded_is_what_the_integers_stand_for(scheme: Scheme, vision: bool, tmp_path: Path) -> None:
    model = tiny_model() if vision else tiny_model(tiny_config(vision=None))
    loaded = load_model(save_model(model, tmp_path, storage=scheme), "float32")
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        expected = tensor.bfloat16()
        for matrix in matrices(name, "-.-", tuple(tensor.shape)):
            matrix.view(expected).copy_(dequantize(quantize(matrix.view(tensor), scheme)))
        assert torch.equal(loaded.state_dict()[name], expected.float()), name


@pytest.mark.parametrize("limit", [1, 20_000, 10**9])
def test_int8_and_its_conversion_to_bf16_are_one_model_bit_for_bit(limit: int, tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "int8", storage="int8", max_shard_bytes=limit)
    assert (tmp_path / "int8" / INDEX_FILE).exists() == (limit < 10**9)
    written = convert_model(tmp_path / "int8", tmp_path / "bf16", max_shard_bytes=limit)
    assert written.errors == {} and "quantization_config" not in (written.directory / "config.json").read_text()
    for dtype in ("float32", "bfloat16"):
        assert torch.equal(logits(load_model(tmp_path / "int8", dtype)), logits(load_model(tmp_path / "bf16", dtype)))


def test_a_quantised_model_quantised_again_is_the_same_file(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "once", storage="int8")
    written = convert_model(tmp_path / "once", tmp_path / "again", storage="int8")
    assert len(written.errors) > 50 and set(written.errors.values()) == {0.0}
    once, again = (load_model(tmp_path / name, "bfloat16").state_dict() for name in ("once", "again"))
    assert all(torch.equal(once[name], again[name]) for name in once)


def test_errors_of_the_matrices_are_told(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "bf16")
    written = convert_model(tmp_path / "bf16", tmp_path / "int8", storage="int8")
    assert all(0 < error < 0.01 for error in written.errors.values())
    assert "language_model.model.layers.1.feed_forward.experts.3.up_proj" in written.errors


def test_only_some_matrices_may_be_integers(tmp_path: Path) -> None:
    """As in checkpoints of others, which leave attention, embedding and head alone."""
    directory = save_model(tiny_model(tiny_config(vision=None)), tmp_path / "int8", storage="int8")
    whole = load_model(directory, "bfloat16").state_dict()
    edit(
        directory,
        **dict.fromkeys(f"{WQ}.weight_{part}" for part in ("packed", "scale", "shape")),
        **{f"{WQ}.weight": whole["text.layers.0.attention.wq.weight"]},
    )
    mixed = load_model(directory, "bfloat16").state_dict()
    assert all(torch.equal(mixed[name], whole[name]) for name in whole)


def test_a_nano_takes_half_of_its_bf16_size(tmp_path: Path) -> None:
    model = tiny_model(preset("scout-nano"), dtype=torch.bfloat16)
    with open_model(save_model(model, tmp_path, storage="int8")) as stored:
        storage = stored.storage()
    num_parameters = sum(p.numel() for p in model.parameters())
    assert storage.schemes == (INT8,) and sum(storage.by_kind.values()) == num_parameters
    assert storage.by_kind["bf16"] < 0.01 * num_parameters
    assert 0 <= storage.num_bytes - sum(storage.bytes_by_kind.values()) < 1 << 19  # the header
    assert storage.num_bytes == (tmp_path / SINGLE_FILE).stat().st_size < 1.03 * num_parameters
    assert storage.bits_per_weight == pytest.approx(8 * storage.num_bytes / num_parameters)


def test_converting_holds_one_tensor_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tiny_model(), tmp_path / "int8", storage="int8")
    alive: list[weakref.ref[Tensor]] = []
    plain_read: Callable[[StoredModel, str], Tensor] = StoredModel.read

    def read(self: StoredModel, name: str) -> Tensor:
        assert not [r for r in alive if r() is not None]
        tensor = plain_read(self, name)
        alive.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(StoredModel, "read", read)
    convert_model(tmp_path / "int8", tmp_path / "bf16")
    convert_model(tmp_path / "bf16", tmp_path / "again", storage="int8")
    assert len(alive) > 200


def test_compressed_tensors_own_dequantiser_gives_the_converted_weights(tmp_path: Path) -> None:
    from compressed_tensors.entrypoints.convert import CompressedTensorsDequantizer

    save_model(tiny_model(), tmp_path / "int8", storage="int8")
    convert_model(tmp_path / "int8", tmp_path / "bf16")
    theirs = CompressedTensorsDequantizer(str(tmp_path / "int8")).validate(load_file(tmp_path / "int8" / SINGLE_FILE))
    ours = load_file(tmp_path / "bf16" / SINGLE_FILE)
    for name in [name for name in ours if ".experts." in name]:
        fused, layer = ours.pop(name), name.rpartition(".")[0]
        parts = {"gate_proj": fused.chunk(2, dim=2)[0], "up_proj": fused.chunk(2, dim=2)[1]} if "gate_up" in name else {"down_proj": fused}
        ours |= {f"{layer}.{e}.{leaf}.weight": part[e].T for leaf, part in parts.items() for e in range(fused.shape[0])}
    assert theirs.keys() == ours.keys()
    assert all(theirs[name].dtype == torch.bfloat16 and torch.equal(theirs[name], ours[name]) for name in ours)


# --- Damage -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["packed [32, 8]", "scale [32, 1]", "shape [2]"])
def test_a_missing_part_of_a_matrix_is_named(part: str, saved: Path) -> None:
    edit(saved, **{f"{WQ}.weight_{part.split()[0]}": None})
    assert f"missing: {WQ}.weight_{part}" in message_of(saved)


@pytest.mark.parametrize(
    ("part", "tensor", "words"),
    [
        ("scale", torch.ones(32, 2).bfloat16(), "weight_scale is [32, 2] in model.safetensors; the config asks for [32, 1]"),
        ("packed", torch.zeros(32, 4, dtype=torch.int32), "weight_packed is [32, 4] in model.safetensors; the config asks for [32, 8]"),
        ("packed", torch.zeros(32, 8), f"wrong kind: {WQ}.weight_packed is F32 in model.safetensors; it must be I32"),
        ("scale", torch.ones(32, 1, dtype=torch.int8), f"wrong kind: {WQ}.weight_scale is I8"),
        ("scale", torch.full((32, 1), torch.nan), f"{WQ}.weight_scale holds a NaN"),
        ("scale", -torch.ones(32, 1), f"{WQ}.weight_scale holds a NaN, an infinity or a negative number"),
        ("shape", torch.tensor([32, 31]), f"{WQ}.weight_shape says [32, 31]; the config asks for [32, 32]"),
    ],
)
def test_a_damaged_part_of_a_matrix_is_named(part: str, tensor: Tensor, words: str, saved: Path) -> None:
    edit(saved, **{f"{WQ}.weight_{part}": tensor})
    message = message_of(saved)
    assert words in message and str(saved) in message


def test_integers_without_a_scheme_and_a_scheme_without_integers_are_refused(saved: Path, tmp_path: Path) -> None:
    quantised = json.loads((saved / "config.json").read_text())
    floats = save_model(tiny_model(tiny_config(vision=None)), tmp_path / "bf16")
    (floats / "config.json").write_text(json.dumps(quantised))
    assert "quantization_config says int8, one scale a row, but no tensor is stored so" in message_of(floats)
    (saved / "config.json").write_text(json.dumps({k: v for k, v in quantised.items() if k != "quantization_config"}))
    assert "extra: lm_head.weight_packed" in message_of(saved)


def test_weights_that_are_no_numbers_are_not_saved_and_nothing_is_left(tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.text.head.weight[3, 3] = torch.nan
    with pytest.raises(CheckpointError, match="language_model.lm_head.weight cannot be stored as int8, one scale a row: it holds a NaN"):
        save_model(model, tmp_path / "x", storage="int8")
    assert not list((tmp_path / "x").glob("*"))


def test_groups_that_do_not_fit_the_model_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"embed_tokens: rows of 32 weights cannot be cut into groups of 12"):
        save_model(tiny_model(), tmp_path / "x", storage=Scheme(8, 12))
    assert not (tmp_path / "x").exists()


# --- Mixtures of schemes --------------------------------------------------------------------------------------------------

INT4 = Scheme(4, 8)
MIXES = {
    "experts_in_4": Mix(INT4, INT8, None, INT8),
    "head_in_8": Mix(INT4, INT4, None, INT8),
    "three_schemes": Mix(Scheme(4), INT8, INT4, Scheme(8, 8)),
    "experts_alone": Mix(INT4, None, None, None),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_each_matrix_of_a_mixture_is_what_its_own_scheme_makes_of_it(mix: Mix, tmp_path: Path) -> None:
    model = tiny_model()
    loaded = load_model(save_model(model, tmp_path, storage=mix), "bfloat16").state_dict()
    chosen: set[Scheme | None] = set()
    for name, tensor in model.state_dict().items():
        expected = tensor.bfloat16()
        for matrix in matrices(name, to_hf_name(name, text_only=False), tuple(tensor.shape)):
            part = {"text.embed.weight": mix.embedding, "text.head.weight": mix.head}.get(name, mix.others)
            scheme = mix.experts if ".experts." in name else part
            chosen.add(scheme)
            if scheme is not None:
                matrix.view(expected).copy_(dequantize(quantize(matrix.view(tensor), scheme)))
        assert torch.equal(loaded[name], expected), name
    assert chosen == {mix.experts, mix.others, mix.embedding, mix.head}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_the_config_of_a_mixture_names_each_module_s_scheme_to_compressed_tensors(mix: Mix, tmp_path: Path) -> None:
    """Its own dequantiser, which takes the first group that matches, gives the weights that we give."""
    from compressed_tensors.entrypoints.convert import CompressedTensorsDequantizer

    directory = save_model(tiny_model(), tmp_path / "x", storage=mix)
    written = json.loads((directory / "config.json").read_text())
    assert set(schemes_from_hf(written)) == set(mix.schemes)
    assert written["quantization_config"].get("dequantize", False) == (len(mix.schemes) == 1)
    theirs = CompressedTensorsDequantizer(str(directory)).validate(load_file(directory / SINGLE_FILE))
    with open_model(directory) as stored:
        for name, found in stored.matrices.items():
            whole = stored.read(name)
            assert all(torch.equal(theirs[f"{matrix.module}.weight"], matrix.view(whole)) for matrix, _ in found), name
        assert stored.storage().schemes != ()


def test_a_matrix_that_fits_none_of_the_schemes_is_named(tmp_path: Path) -> None:
    directory = save_model(tiny_model(tiny_config(vision=None)), tmp_path, storage=Mix(INT4, INT8, None, INT8))
    edit(directory, **{f"{WQ}.weight_packed": torch.zeros(32, 5, dtype=torch.int32)})
    assert f"wrong shape: {WQ}.weight_packed is [32, 5]" in message_of(directory)


# --- Memory -------------------------------------------------------------------------------------------------------------


class PeakBytes(TorchDispatchMode):
    """The most bytes that tensors made inside have held at once; views count once, mapped files not."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, list[int]] = {}  # place -> [tensors, bytes]
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                place = tensor.untyped_storage().data_ptr()
                known = self.live.setdefault(place, [0, tensor.untyped_storage().nbytes()])
                known[0] += 1
                weakref.finalize(tensor, self.drop, place)
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return made

    def drop(self, place: int) -> None:
        self.live[place][0] -= 1
        if not self.live[place][0]:
            del self.live[place]


def test_memory_is_bounded_by_the_largest_tensor_whatever_the_number_of_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.checkpoint.quantized._BLOCK", 1 << 10)
    peaks = []
    for num_layers in (2, 8):
        config = tiny_config(vision=None, num_layers=num_layers, moe_layers=(1,), nope_layers=())
        source = save_model(tiny_model(config), tmp_path / f"source{num_layers}", storage="fp32", max_shard_bytes=20_000)
        assert len(list(source.glob("model-*-of-*.safetensors"))) > 2
        with PeakBytes() as counted:
            written = convert_model(source, tmp_path / f"int4{num_layers}", storage=Mix(INT4, INT8, None, INT8), max_shard_bytes=20_000)
        assert (written.directory / INDEX_FILE).is_file()
        peaks.append(counted.peak)
    largest = max(4 * tensor.numel() for tensor in tiny_model(tiny_config(vision=None)).state_dict().values())
    assert peaks[0] == pytest.approx(peaks[1], rel=0.05)
    assert peaks[1] < 3 * largest


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(CheckpointError, match=r"the weights take [\d,]+ bytes and 1,000 are free there; make room"):
        save_model(tiny_model(), tmp_path / "x", storage="int8")
    assert not list((tmp_path / "x").glob("*"))


def test_progress_counts_up_to_all_bytes(tmp_path: Path) -> None:
    save_model(tiny_model(), tmp_path / "bf16")
    told: list[tuple[int, int]] = []
    convert_model(tmp_path / "bf16", tmp_path / "int8", storage="int8", progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told) and told[-1][0] == told[-1][1] and len(told) > 200
