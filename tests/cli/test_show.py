import json
from dataclasses import replace

import pytest

from puna.cli.show import max_picture_tokens, short_bytes, short_count
from puna.presets import PRESETS, preset


def test_scouts_pattern_and_figures(puna) -> None:
    outcome = puna("show", "scout")
    assert outcome.code == 0
    for words in [
        "attention     " + " ".join(["···●"] * 12),
        "feed-forward  " + " ".join(["EEEE"] * 12),
        "36 x  RoPE, chunk 8,192, q/k norm, 1 of 16 experts + shared 8,192",
        "12 x  NoPE, whole context, temperature, 1 of 16 experts + shared 8,192",
        "108,641,793,536",
        "17,172,894,720",
        "16,138,408,960",
        "1 to 16 tiles",
        "at most 2,467 a picture",
    ]:
        assert words in outcome.out, words


def test_mavericks_pattern_alternates_dense_and_expert_layers(puna) -> None:
    out = puna("show", "maverick").out
    assert "feed-forward  " + " ".join(["dEdE"] * 12) in out
    assert "24 x  RoPE, chunk 8,192, dense 16,384" in out
    assert "401,583,781,376" in out
    assert "q/k norm" not in out


def test_guard_sees_everything_and_has_no_experts(puna) -> None:
    out = puna("show", "guard").out
    assert "48 x  RoPE, whole context, q/k norm, dense 8,192" in out
    assert "12,001,097,216" in out
    assert "routed experts" not in out and "local layer" not in out


@pytest.mark.parametrize("name", PRESETS)
def test_the_card_fits_eighty_columns(puna, name: str) -> None:
    lines = puna("show", name).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)


@pytest.mark.parametrize("name", PRESETS)
def test_json_holds_the_same_numbers(puna, name: str) -> None:
    outcome = puna("show", name, "--json")
    shown = json.loads(outcome.out)
    config = preset(name)
    assert [layer["feed_forward"] for layer in shown["layers"]] == [layer.feed_forward for layer in config.layers()]
    assert shown["config"]["width"] == config.width
    assert f"{shown['parameters']['total']:,}" in puna("show", name).out
    assert shown["weight_bytes"]["bf16"] == 2 * shown["parameters"]["total"]
    assert shown["tokens_per_tile"] == config.vision.tokens_per_tile


def test_a_hugging_face_directory_is_shown_by_its_config_alone(puna, tmp_path) -> None:
    from puna.checkpoint import config_to_hf

    config = replace(preset("maverick-nano"), name="my [bold]llama")
    (tmp_path / "config.json").write_text(json.dumps(config_to_hf(config)))
    outcome = puna("show", str(tmp_path))
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("my [bold]llama   ")
    assert "feed-forward  dEdE dEdE" in outcome.out


@pytest.mark.parametrize("storage", ["bf16", "int8"])
def test_a_directory_with_weights_says_how_they_are_stored(puna, storage: str, tmp_path) -> None:
    from puna.checkpoint import save_model
    from puna.testing.models import tiny_model

    model = tiny_model()
    directory = save_model(model, tmp_path / "model", storage=storage)
    size = (directory / "model.safetensors").stat().st_size
    shown = json.loads(puna("show", str(directory), "--json").out)["stored"]
    num_parameters = sum(p.numel() for p in model.parameters())
    assert (shown["bytes"], sum(shown["parameters"].values())) == (size, num_parameters)
    assert shown["bits_per_weight"] == pytest.approx(8 * size / num_parameters)
    assert shown["schemes"] == ([] if storage == "bf16" else [{"bits": 8, "group": None}])
    out = puna("show", str(directory)).out
    assert f"stored     {size:,} bytes" in out and f"k in {storage}" in out
    assert ("int8, one scale a row" in out) == (storage == "int8")
    assert max(map(len, out.splitlines())) <= 80


def test_a_preset_that_does_not_ship_says_so(puna) -> None:
    assert "stored     nowhere here" in puna("show", "maverick").out
    assert json.loads(puna("show", "maverick", "--json").out)["stored"] is None


def test_damaged_weights_are_a_mistake_and_not_a_figure(puna, tmp_path) -> None:
    from puna.checkpoint import save_model
    from puna.testing.models import tiny_model

    directory = save_model(tiny_model(), tmp_path / "model")
    (directory / "model.safetensors").write_bytes(b"short")
    outcome = puna("show", str(directory))
    assert (outcome.code, outcome.out) == (2, "") and "is not a whole safetensors file" in outcome.err


def test_a_directory_without_a_config_is_a_mistake(puna, tmp_path) -> None:
    outcome = puna("show", str(tmp_path))
    assert (outcome.code, outcome.out) == (2, "")
    assert "config.json" in outcome.err


def test_picture_tokens_are_those_of_the_token_layout() -> None:
    assert max_picture_tokens(preset("scout").vision) == 145 * 16 + 147
    assert max_picture_tokens(preset("scout-nano").vision) == 16 + 3


def test_short_forms() -> None:
    assert [short_count(n) for n in (999, 1_000, 15_686_080, 108_641_793_536, 1_920_978_575_872)] == [
        "999",
        "1.00 k",
        "15.69 M",
        "108.64 B",
        "1.92 T",
    ]
    assert [short_bytes(n) for n in (512, 1536, 9 << 27)] == ["512 B", "1.50 KiB", "1.12 GiB"]
