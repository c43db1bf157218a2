import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from puna.checkpoint import CheckpointError
from puna.checkpoint.processor_hf import PREPROCESSOR_FILE, PROCESSOR_FILE, generation_config, max_tiles_from, processor_configs
from puna.presets import LLAMA4_VISION, preset
from puna.testing.models import tiny_config


def write(directory: Path, file: str, content: dict[str, Any]) -> None:
    (directory / file).write_text(json.dumps(content))


def image_processor(**changes: Any) -> dict[str, Any]:
    return processor_configs(preset("scout"))[PREPROCESSOR_FILE] | changes


def test_the_files_describe_llama_4s_tiling() -> None:
    files = processor_configs(preset("scout"))
    image = files[PREPROCESSOR_FILE]
    assert image["size"] == {"height": 336, "width": 336} and image["max_patches"] == 16
    assert image["resize_to_max_canvas"] is False and image["image_mean"] == image["image_std"] == [0.5, 0.5, 0.5]
    assert files[PROCESSOR_FILE]["patch_size"] == 14
    nano = processor_configs(preset("scout-nano"))
    assert nano[PREPROCESSOR_FILE]["size"] == {"height": 64, "width": 64} and nano[PREPROCESSOR_FILE]["max_patches"] == 1
    assert nano[PROCESSOR_FILE]["patch_size"] == 8


def test_a_text_only_model_has_no_processor() -> None:
    assert processor_configs(tiny_config(vision=None)) == {}


def test_generation_stops_at_the_models_own_ids() -> None:
    settings = generation_config(preset("scout"))
    assert settings["eos_token_id"] == [200001, 200007, 200008] and (settings["temperature"], settings["top_p"]) == (0.6, 0.9)
    assert generation_config(replace(preset("scout"), eos_ids=(200001,)))["eos_token_id"] == 200001


def test_max_tiles_is_read_from_either_file(tmp_path: Path) -> None:
    assert max_tiles_from(tmp_path, LLAMA4_VISION, None) == 16
    assert max_tiles_from(tmp_path, LLAMA4_VISION, 3) == 3
    write(tmp_path, PROCESSOR_FILE, {"processor_class": "Llama4Processor", "patch_size": 14})
    assert max_tiles_from(tmp_path, LLAMA4_VISION, None) == 16
    write(tmp_path, PROCESSOR_FILE, {"image_processor": image_processor(max_patches=7)})
    assert max_tiles_from(tmp_path, LLAMA4_VISION, None) == 7
    write(tmp_path, PREPROCESSOR_FILE, image_processor(max_patches=5))
    assert max_tiles_from(tmp_path, LLAMA4_VISION, None) == 5


def test_the_nulls_that_hub_files_carry_say_nothing(tmp_path: Path) -> None:
    nulls = dict.fromkeys(("crop_size", "device", "do_center_crop", "input_data_format", "return_tensors"))
    write(
        tmp_path,
        PREPROCESSOR_FILE,
        image_processor(data_format="channels_first", default_to_square=True, rescale_factor=0.00392156862745098, **nulls),
    )
    assert max_tiles_from(tmp_path, LLAMA4_VISION, None) == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(size={"height": 448, "width": 448}), "size is {'height': 448, 'width': 448}; the vision tower reads tiles of 336 x 336"),
        (dict(size={"shortest_edge": 336}), "the vision tower reads tiles of 336 x 336"),
        (dict(resize_to_max_canvas=True), "resize_to_max_canvas is True"),
        (dict(do_normalize=False), "do_normalize is False"),
        (dict(image_mean=[0.48, 0.46, 0.41]), "image_mean is [0.48, 0.46, 0.41]; Llama 4 normalises with 0.5"),
        (dict(resample=3), "resample is 3; Llama 4 resizes bilinearly"),
        (dict(do_center_crop=True), "do_center_crop is True"),
        (dict(rescale_factor=1 / 127.5), "divided by 255"),
        (dict(max_patches=0), "max_patches is 0; it must be a whole number of at least 1"),
        (dict(max_patches=5), "max_patches is 5; config.json says 16"),
        (dict(sharpen=True), "unknown field sharpen"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else None,
)
def test_another_preparation_of_pictures_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path, PREPROCESSOR_FILE, image_processor(**change))
    with pytest.raises(CheckpointError) as error:
        max_tiles_from(tmp_path, LLAMA4_VISION, 16)
    assert message in str(error.value) and str(error.value).startswith(PREPROCESSOR_FILE)
