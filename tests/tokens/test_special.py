"""The two layouts of special ids."""

import pytest

from puna.presets import preset
from puna.tokens.special import SpecialTokens, compact_layout, llama4_layout

# [stated] Meta's reference.
PUBLISHED = {
    "<|begin_of_text|>": 200000,
    "<|end_of_text|>": 200001,
    "<|fim_prefix|>": 200002,
    "<|fim_suffix|>": 200004,
    "<|header_start|>": 200005,
    "<|header_end|>": 200006,
    "<|eom|>": 200007,
    "<|eot|>": 200008,
    "<|step|>": 200009,
    "<|text_post_train_reserved_special_token_5|>": 200015,
    "<|python_start|>": 200016,
    "<|python_end|>": 200017,
    "<|finetune_right_pad|>": 200018,
    "<|text_post_train_reserved_special_token_8|>": 200019,
    "<|text_post_train_reserved_special_token_68|>": 200079,
    "<|image_start|>": 200080,
    "<|image_end|>": 200081,
    "<|vision_reserved_special_token_1|>": 200083,
    "<|tile_x_separator|>": 200084,
    "<|tile_y_separator|>": 200085,
    "<|vision_reserved_special_token_5|>": 200089,
    "<|image|>": 200090,
    "<|patch|>": 200092,
    "<|vision_reserved_special_token_1047|>": 201133,
    "<|reasoning_reserved_special_token_0|>": 201134,
    "<|reasoning_thinking_start|>": 201142,
    "<|reasoning_thinking_end|>": 201143,
    "<|reserved_special_token_0|>": 201144,
    "<|reserved_special_token_903|>": 202047,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_llama4_ids_are_the_published_ones(name):
    assert llama4_layout().id(name) == PUBLISHED[name]
    assert llama4_layout().name(PUBLISHED[name]) == name


def test_llama4_has_2048_special_ids_and_202048_in_all():
    layout = llama4_layout()
    assert (layout.base, layout.count, layout.base + layout.count) == (200000, 2048, 202048)


def test_the_text_reserve_skips_the_two_numbers_that_became_python_tags():
    for number in (6, 7):
        with pytest.raises(ValueError, match="no special token"):
            llama4_layout().id(f"<|text_post_train_reserved_special_token_{number}|>")


def test_the_compact_layout_keeps_the_first_93_offsets():
    compact, full = compact_layout(8192), llama4_layout()
    assert compact.names[:93] == full.names[:93]
    assert compact.count == 128
    assert "<|reasoning_thinking_start|>" in compact.names


@pytest.mark.parametrize("name", ["scout", "scout-nano"])
def test_presets_name_the_same_ids(name):
    config = preset(name)
    special = llama4_layout() if name == "scout" else compact_layout(8192)
    assert config.vocab_size == special.base + special.count
    assert config.bos_id == special.bos
    assert config.eos_ids == special.stop_ids
    assert config.pad_id == special.pad
    assert config.image_id == special.image
    assert config.patch_id == special.patch
    assert (config.image_start_id, config.image_end_id) == (special.image_start, special.image_end)


def test_every_property_is_the_token_of_that_name():
    special = compact_layout(256)
    names = {
        "bos": "begin_of_text",
        "end_of_text": "end_of_text",
        "header_start": "header_start",
        "header_end": "header_end",
        "eom": "eom",
        "eot": "eot",
        "python_start": "python_start",
        "python_end": "python_end",
        "pad": "finetune_right_pad",
        "image_start": "image_start",
        "image_end": "image_end",
        "tile_x": "tile_x_separator",
        "tile_y": "tile_y_separator",
        "image": "image",
        "patch": "patch",
        "video_start": "vision_reserved_special_token_0",
        "video_end": "vision_reserved_special_token_1",
        "frame": "vision_reserved_special_token_3",
    }
    assert {attribute: special.name(getattr(special, attribute)) for attribute in names} == {k: f"<|{v}|>" for k, v in names.items()}


def test_only_ids_from_base_on_are_special():
    special = compact_layout(256)
    assert [token_id in special for token_id in (-1, 255, 256, 383, 384)] == [False, False, True, True, False]


@pytest.mark.parametrize("layout", [llama4_layout(), compact_layout(8192)], ids=["llama4", "compact"])
def test_the_ids_of_videos_stand_at_the_same_offsets_in_both_layouts(layout):
    assert [token_id - layout.base for token_id in (layout.video_start, layout.video_end, layout.frame)] == [82, 83, 87]


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"'<\|finetune_right_pad_id\|>'.*did you mean '<\|finetune_right_pad\|>'"):
        compact_layout(256).id("<|finetune_right_pad_id|>")


def test_the_name_of_a_plain_id_is_an_error_that_gives_the_range():
    with pytest.raises(ValueError, match="id 255 is not special; the special ids are 256 to 383"):
        compact_layout(256).name(255)


def test_a_name_cannot_stand_twice():
    with pytest.raises(ValueError, match="'<a>' is listed twice"):
        SpecialTokens(0, ("<a>", "<b>", "<a>"))
