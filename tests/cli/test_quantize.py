import json
from pathlib import Path

import pytest

from puna.config import every_nth_layer
from puna.testing.models import TINY_VISION, tiny_config, tiny_model
from puna.testing.tokenizer import byte_tokenizer


def save(directory: Path, **changes) -> Path:
    """A model whose rows are multiples of 32 everywhere but in the vision tower, which it has not."""
    from puna.checkpoint import save_model

    fields = {
        "vision": None,
        "expert_width": 64,
        "dense_width": 64,
        "num_layers": 4,
        "moe_layers": every_nth_layer(2, 4),
        "nope_layers": (3,),
    } | changes
    return save_model(tiny_model(tiny_config(**fields)), directory, byte_tokenizer())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save(tmp_path / "source")


def schemes_of(directory: Path) -> dict[str, str]:
    """How a matrix of each kind is stored."""
    from puna.checkpoint import open_model

    probes = {"experts": "text.layers.1.feed_forward.experts.w_down", "attention": "text.layers.0.attention.wq.weight"}
    probes |= {"embedding": "text.embed.weight", "head": "text.head.weight"}
    with open_model(directory) as stored:
        found = {kind: stored.matrices.get(name) for kind, name in probes.items()}
    return {kind: f"{found[0][1].bits}/{found[0][1].group or 'row'}" if found else "16" for kind, found in found.items()}


@pytest.mark.parametrize(
    ("options", "experts", "attention", "embedding", "head"),
    [
        ("", "8/row", "8/row", "8/row", "8/row"),
        ("--bits 8 --group 32", "8/32", "8/32", "8/32", "8/32"),
        ("--bits 4", "4/32", "8/row", "16", "8/row"),
        ("--bits 4 --group row --dense 4", "4/row", "4/row", "16", "8/row"),
        ("--bits 4 --dense 4 --head 4 --embedding 4", "4/32", "4/32", "4/32", "4/32"),
        ("--bits 4 --dense 16 --head 16", "4/32", "16", "16", "16"),
        ("--bits 8 --head 16", "8/row", "8/row", "8/row", "16"),
    ],
)
def test_options_say_how_each_part_is_stored(
    options: str, experts: str, attention: str, embedding: str, head: str, puna, source: Path, tmp_path: Path
) -> None:
    outcome = puna("quantize", str(source), str(tmp_path / "out"), *options.split(), "--no-compare", "--json")
    assert outcome.code == 0, outcome.err
    wanted = {"experts": experts, "attention": attention, "embedding": embedding, "head": head}
    assert schemes_of(tmp_path / "out") == wanted
    assert json.loads(outcome.out)["loads_in_transformers"] is True


def test_a_model_without_routed_experts_has_its_layers_in_the_bits_asked_for(puna, tmp_path: Path) -> None:
    dense = save(tmp_path / "dense", num_experts=0, moe_layers=())
    assert puna("quantize", str(dense), str(tmp_path / "out"), "--bits", "4", "--no-compare").code == 0
    from puna.checkpoint import open_model

    with open_model(tmp_path / "out") as stored:
        assert {str(scheme) for scheme in stored.storage().schemes} == {"int4, one scale for 32 weights", "int8, one scale a row"}
    outcome = puna("quantize", str(dense), str(tmp_path / "other"), "--bits", "4", "--dense", "16")
    assert outcome.code == 2 and "no routed experts" in outcome.err and not (tmp_path / "other").exists()


def test_the_report_counts_what_the_directory_holds_and_says_it_in_both_forms(puna, source: Path, tmp_path: Path) -> None:
    said = json.loads(puna("quantize", str(source), str(tmp_path / "a"), "--bits", "4", "--json").out)
    size = (tmp_path / "a" / "model.safetensors").stat().st_size
    assert said["bytes"]["after"] == size < said["bytes"]["before"]
    parameters = sum(part["parameters"] for part in said["parts"])
    assert said["bits_per_weight"]["after"] == pytest.approx(8 * size / parameters)
    assert sum(part["quantised"] for part in said["parts"]) == said["quantised"]["parameters"]
    assert 0 < said["quantised"]["bytes_share"] < said["quantised"]["parameters_share"] < 1
    errors = {part["name"]: part["mean_error"] for part in said["parts"]}
    assert 0.04 < errors["routed experts"] < 0.12 and 0 < errors["attention"] < 0.01
    assert errors["embedding"] is errors["routers, norms, tables"] is None
    assert list(said["worst"].values()) == sorted(said["worst"].values(), reverse=True) and len(said["worst"]) == 5
    likeness = said["likeness"]
    assert likeness["kl"] > 0 and 0.5 < likeness["same_first"] <= 1 and likeness["bits_per_byte"][0] != likeness["bits_per_byte"][1]
    shown = puna("quantize", str(source), str(tmp_path / "b"), "--bits", "4").out
    assert "…" not in shown
    for words in ("routed experts", "int4 / 32", "int8 / row", f"{size:,} bytes", "worst:", f"KL {likeness['kl']:.5f}"):
        assert words in shown, words


def test_show_says_bits_and_groups(puna, source: Path, tmp_path: Path) -> None:
    assert puna("quantize", str(source), str(tmp_path / "out"), "--bits", "4", "--no-compare").code == 0
    out = puna("show", str(tmp_path / "out")).out
    assert "k in int4" in out and "k in int8" in out and "k in bf16" in out
    assert "int4, one scale for 32 weights" in out and "int8, one scale a row" in out


def test_what_transformers_cannot_read_is_said(puna, source: Path, tmp_path: Path) -> None:
    outcome = puna("quantize", str(source), str(tmp_path / "out"), "--bits", "4", "--embedding", "8", "--no-compare")
    assert outcome.code == 0 and "transformers cannot read an embedding in integers" in outcome.out
    assert schemes_of(tmp_path / "out")["embedding"] == "8/row"


def test_quantised_again_as_it_is_loses_nothing(puna, source: Path, tmp_path: Path) -> None:
    assert puna("quantize", str(source), str(tmp_path / "once"), "--bits", "4", "--no-compare").code == 0
    said = json.loads(puna("quantize", str(tmp_path / "once"), str(tmp_path / "again"), "--bits", "4", "--json").out)
    assert {part["max_error"] for part in said["parts"]} <= {0.0, None}
    assert said["likeness"]["kl"] == 0.0 and said["likeness"]["same_first"] == 1.0


def test_a_text_of_one_s_own_is_read(puna, source: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("A llama. " * 100, encoding="utf-8")
    said = json.loads(puna("quantize", str(source), str(tmp_path / "out"), "--text", str(text), "--json").out)
    assert said["likeness"]["bytes"] == 900


def test_mistakes_are_told_before_anything_is_written(puna, source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "latin.txt").write_bytes(b"\xff\xfe\x00")
    vision = save(tmp_path / "vision", vision=TINY_VISION)
    for name, options, words in [
        (source, "--bits 3", "'3' is not one of"),
        (source, "--group 48", "'48' is not one of"),
        (source, "--group 128", "rows of 32 weights cannot be cut into groups of 128"),
        (vision, "--group 32", "rows of 16 weights cannot be cut into groups of 32"),
        (source, f"--text {tmp_path / 'empty.txt'}", "is empty"),
        (source, f"--text {tmp_path / 'latin.txt'}", "is not UTF-8"),
        (source, f"--text {tmp_path / 'none.txt'}", "No such file"),
        (source, f"--text {tmp_path / 'empty.txt'} --no-compare", ""),
    ]:
        outcome = puna("quantize", str(name), str(tmp_path / "out"), *options.split())
        assert (outcome.code, outcome.out) == (2, "") and words in outcome.err, (options, outcome.err)
        assert not (tmp_path / "out").exists()
    assert "vision_model" in puna("quantize", str(vision), str(tmp_path / "out"), "--group", "32").err
    assert "already holds files" in puna("quantize", str(source), str(source)).err
