"""The small JSON files beside the weights: how `transformers` prepares pictures, and how it samples.

Puna's own tiling is Meta's; these files make `transformers` do the same, and what they say is checked when a checkpoint is read.
"""

from pathlib import Path
from typing import Any

from puna.checkpoint.fields import Fields, one_or_list
from puna.checkpoint.shards import read_json
from puna.config import ModelConfig, VisionConfig

PREPROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
_BILINEAR = 2  # Pillow's number
_MEAN_STD = [0.5, 0.5, 0.5]

# What else image processors write into their file: names of Python classes and tensor formats.
_BOOKKEEPING = frozenset(
    """
    image_processor_type processor_class feature_extractor_type input_data_format data_format return_tensors device disable_grouping
    image_seq_length crop_size default_to_square pad_size
    """.split()
)


def generation_config(config: ModelConfig) -> dict[str, Any]:
    """Meta's sampling defaults for the instruct models. [stated]"""
    ids = {"bos_token_id": config.bos_id, "eos_token_id": one_or_list(config.eos_ids), "pad_token_id": config.pad_id}
    return {**ids, "do_sample": True, "temperature": 0.6, "top_p": 0.9}


def processor_configs(config: ModelConfig) -> dict[str, dict[str, Any]]:
    """File name -> content; nothing for a text-only model."""
    vision = config.vision
    if vision is None:
        return {}
    image_processor = {
        # transformers 4 knows this name only; version 5 reads it as Llama4ImageProcessor. [hf]
        "image_processor_type": "Llama4ImageProcessorFast",
        "processor_class": "Llama4Processor",
        "size": {"height": vision.tile_size, "width": vision.tile_size},
        "max_patches": vision.max_tiles,
        "resize_to_max_canvas": False,
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": _BILINEAR,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": _MEAN_STD,
        "image_std": _MEAN_STD,
    }
    processor = {
        "processor_class": "Llama4Processor",
        "patch_size": vision.patch_size,
        "pixel_shuffle_ratio": vision.pixel_shuffle_ratio,
        "fake_image_token": "<|image|>",
        "image_token": "<|image|>",
        "start_of_image_token": "<|image_start|>",
        "end_of_image_token": "<|image_end|>",
        "patch_token": "<|patch|>",
        "tile_x_separator_token": "<|tile_x_separator|>",
        "tile_y_separator_token": "<|tile_y_separator|>",
    }
    return {PREPROCESSOR_FILE: image_processor, PROCESSOR_FILE: processor}


def max_tiles_from(directory: Path, vision: VisionConfig, stated: int | None) -> int:
    """How many tiles a picture is cut into, from the directory's image-processor file; that file must describe Llama 4's tiling.

    `stated` is what config.json says, if it does. Without any word, Llama 4's 16.
    """
    fields = _image_processor(directory)
    if fields is None:
        return stated or vision.max_tiles
    size = fields.get("size", {"height": vision.tile_size, "width": vision.tile_size})
    if not isinstance(size, dict) or {size.get("height"), size.get("width")} != {vision.tile_size}:
        raise fields.error("size", f"the vision tower reads tiles of {vision.tile_size} x {vision.tile_size}")
    for field in ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb"):
        fields.only(field, (True,), "Llama 4's pictures are resized, rescaled and normalised")
    for field in ("do_center_crop", "do_pad"):
        fields.only(field, (False,), "Llama 4's pictures are neither cropped nor padded but tiled")
    if abs(fields.number("rescale_factor", 1 / 255) * 255 - 1) > 1e-3:
        raise fields.error("rescale_factor", "Llama 4's pixels are divided by 255")
    fields.only("resize_to_max_canvas", (False,), "Puna tiles as the released models do, with the least upscaling")
    fields.only("resample", (_BILINEAR,), "Llama 4 resizes bilinearly (2)")
    for field in ("image_mean", "image_std"):
        fields.only(field, (_MEAN_STD, 0.5), "Llama 4 normalises with 0.5 for each colour")
    max_tiles = fields.whole("max_patches", stated or vision.max_tiles, least=1)
    if stated is not None and max_tiles != stated:
        raise fields.error("max_patches", f"config.json says {stated}")
    fields.finish()
    return max_tiles


def _image_processor(directory: Path) -> Fields | None:
    """transformers 4 gives it a file of its own, version 5 puts it inside the processor's. [hf]"""
    if (directory / PREPROCESSOR_FILE).is_file():
        return Fields("", read_json(directory / PREPROCESSOR_FILE), _BOOKKEEPING, file=PREPROCESSOR_FILE)
    if (directory / PROCESSOR_FILE).is_file():
        inner = read_json(directory / PROCESSOR_FILE).get("image_processor")
        return None if inner is None else Fields("image_processor", inner, _BOOKKEEPING, file=PROCESSOR_FILE)
    return None
