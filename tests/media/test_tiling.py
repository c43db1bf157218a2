import sys
import types
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageFile

from puna.config import VisionConfig
from puna.media import Canvas, MediaError, choose_canvas, tile_image
from puna.media.tiling import canvases, fitted_size
from puna.presets import preset
from puna.testing.pictures import BLUE, GREEN, RED, YELLOW, corners_picture, noise_picture

LLAMA4 = preset("scout").vision
NANO = preset("scout-nano").vision


def levels(tile: np.ndarray) -> np.ndarray:
    """Back from [-1, 1] to 0 ... 255, `[h, w, 3]`."""
    return np.rint((tile.transpose(1, 2, 0) + 1) * 127.5).astype(int)


def random_sizes(count: int, seed: int) -> list[tuple[int, int]]:
    """Sides spread evenly over the orders of magnitude, many of them at and beside multiples of a tile."""
    generator = np.random.default_rng(seed)
    free = np.exp(generator.uniform(0, np.log(6000), (count, 2))).astype(int)
    edges = np.maximum(generator.integers(1, 18, (count, 2)) * 336 + generator.integers(-2, 3, (count, 2)), 1)
    return [tuple(int(side) for side in pair) for pair in np.where(generator.random((count, 2)) < 0.5, free, edges)]


@pytest.mark.parametrize(
    ("height", "width", "canvas", "fitted", "stream_tokens"),
    [
        (336, 336, (1, 1), (336, 336), 147),
        (337, 337, (2, 2), (337, 337), 727),
        (480, 640, (2, 2), (480, 640), 727),
        (768, 1024, (3, 4), (768, 1024), 1887),
        (1080, 1920, (3, 5), (945, 1680), 2322),
        (2000, 2000, (4, 4), (1344, 1344), 2467),
        (300, 2000, (1, 6), (300, 2000), 1017),
        (100, 5000, (1, 15), (100, 5000), 2322),
    ],
)
def test_worked_examples_of_llama_4(height: int, width: int, canvas: tuple[int, int], fitted: tuple[int, int], stream_tokens: int) -> None:
    chosen = choose_canvas(height, width, LLAMA4)
    tiles = chosen.rows * chosen.columns
    assert chosen == canvas
    assert fitted_size(height, width, chosen, 336) == fitted
    assert (147 if tiles == 1 else (LLAMA4.tokens_per_tile + 1) * tiles + 147) == stream_tokens
    assert choose_canvas(width, height, LLAMA4) == canvas[::-1]


def test_sixteen_tiles_allow_fifty_canvases_and_one_tile_allows_one() -> None:
    assert len(canvases(16)) == len(set(canvases(16))) == 50
    assert all(canvas.rows * canvas.columns <= 16 for canvas in canvases(16))
    assert canvases(1) == (Canvas(1, 1),)


def canvas_by_exact_fractions(height: int, width: int, vision: VisionConfig) -> tuple[int, int]:
    """The rule in other words: the scale nearest to 1 from above, else from below, then the least area. No rounding at all."""
    ranked = []
    for tiles in range(1, vision.max_tiles + 1):
        for rows in (divisor for divisor in range(1, tiles + 1) if tiles % divisor == 0):
            columns = tiles // rows
            scale = min(Fraction(rows * vision.tile_size, height), Fraction(columns * vision.tile_size, width))
            ranked.append((scale < 1, scale if scale >= 1 else -scale, tiles, (rows, columns)))
    return min(ranked)[3]


@pytest.mark.parametrize("vision", [LLAMA4, NANO, replace(NANO, max_tiles=5), replace(LLAMA4, max_tiles=12)])
def test_the_canvas_is_the_one_an_exact_search_finds(vision: VisionConfig) -> None:
    for height, width in random_sizes(400, seed=1):
        assert choose_canvas(height, width, vision) == canvas_by_exact_fractions(height, width, vision), (height, width)


@pytest.mark.parametrize("vision", [LLAMA4, NANO, replace(NANO, max_tiles=6)])
def test_the_picture_fills_one_side_of_its_target_and_keeps_its_proportions(vision: VisionConfig) -> None:
    for height, width in random_sizes(400, seed=2):
        canvas = choose_canvas(height, width, vision)
        new_height, new_width = fitted_size(height, width, canvas, vision.tile_size)
        limit_height = min(max(height, vision.tile_size), canvas.rows * vision.tile_size)
        limit_width = min(max(width, vision.tile_size), canvas.columns * vision.tile_size)
        assert 1 <= new_height <= limit_height and 1 <= new_width <= limit_width
        assert new_height == limit_height or new_width == limit_width
        # Flooring costs the free side less than a pixel (float error can cost one more at whole numbers), or leaves the last one.
        if new_width == limit_width and new_height < limit_height:
            assert -1.000001 < new_height - height * new_width / width <= 0 or new_height == 1
        if new_height == limit_height and new_width < limit_width:
            assert -1.000001 < new_width - width * new_height / height <= 0 or new_width == 1


@pytest.mark.parametrize("vision", [replace(LLAMA4, tile_size=28), NANO, replace(NANO, max_tiles=7)])
def test_tiles_and_grid_agree_and_together_hold_the_whole_picture(vision: VisionConfig) -> None:
    generator = np.random.default_rng(3)
    for height, width in np.exp(generator.uniform(0, np.log(600), (60, 2))).astype(int):
        white = Pillow.new("RGB", (int(width), int(height)), (255, 255, 255))
        image = tile_image(white, vision)
        rows, columns = image.grid
        assert image.grid == choose_canvas(int(height), int(width), vision)
        assert image.tiles.shape == (rows * columns + (rows * columns > 1), 3, vision.tile_size, vision.tile_size)
        assert image.tiles.dtype == np.float32
        new_height, new_width = fitted_size(int(height), int(width), Canvas(rows, columns), vision.tile_size)
        assert (image.tiles[: rows * columns, 0] == 1.0).sum() == new_height * new_width
        assert (image.tiles[-1] == 1.0).all() or len(image.tiles) == 1


def test_tiles_put_together_are_the_picture_with_black_below_and_right() -> None:
    picture = noise_picture(100, 180, seed=4)
    image = tile_image(picture, replace(NANO, max_tiles=16))
    assert image.grid == (2, 3)
    rows = [np.concatenate(list(image.tiles[3 * row : 3 * row + 3]), axis=2) for row in range(2)]
    canvas = levels(np.concatenate(rows, axis=1))
    assert np.array_equal(canvas[:100, :180], np.asarray(picture))
    assert canvas[100:].max() == canvas[:, 180:].max() == 0
    assert image.tiles.min() == -1.0


def test_a_tile_may_be_all_black_as_with_meta() -> None:
    # The canvas is chosen for the larger scale, 64 / 67, and the floor of 192.96 then ends just above the fourth tile.
    image = tile_image(Pillow.new("RGB", (67, 202), (255, 255, 255)), replace(NANO, max_tiles=7))
    assert image.grid == (4, 1)
    assert [tile.max() for tile in image.tiles] == [1.0, 1.0, 1.0, -1.0, 1.0]


def test_the_global_tile_comes_last_and_is_the_whole_picture_pressed_into_a_square() -> None:
    picture = corners_picture(64, 192)
    image = tile_image(picture, replace(NANO, max_tiles=16))
    assert image.grid == (1, 3)
    assert len(image.tiles) == 4
    assert [tuple(levels(tile)[0, 0]) for tile in image.tiles] == [RED, RED, GREEN, RED]
    corners = levels(image.tiles[-1])
    assert [tuple(corners[y, x]) for y, x in ((0, 0), (0, 63), (63, 0), (63, 63))] == [RED, GREEN, BLUE, YELLOW]
    assert np.array_equal(corners, np.asarray(picture.resize((64, 64), Pillow.Resampling.BILINEAR)))


def test_a_model_of_one_tile_gets_one_tile_of_any_picture() -> None:
    for height, width in [(1, 1), (64, 64), (65, 64), (40, 500), (3000, 20)]:
        image = tile_image(noise_picture(height, width), NANO)
        assert image.grid == (1, 1)
        assert image.tiles.shape == (1, 3, 64, 64)


def test_levels_are_normalised_in_float32() -> None:
    ramp = np.arange(64 * 64 * 3, dtype=np.int64).reshape(64, 64, 3) % 256
    image = tile_image(Pillow.fromarray(ramp.astype(np.uint8)), NANO)
    expected = (ramp.transpose(2, 0, 1).astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    assert np.array_equal(image.tiles[0], expected)


def test_pictures_that_are_not_rgb_and_sizes_of_nothing_are_refused() -> None:
    with pytest.raises(MediaError, match="mode L"):
        tile_image(Pillow.new("L", (4, 4)), NANO)
    with pytest.raises(MediaError, match="0 x 5"):
        choose_canvas(0, 5, NANO)


# Meta's published code. It imports torchvision only for the few transforms below, which have no meaning beyond their names,
# so the test brings its own. `llama-models` is a test-only dependency, installed without its own dependencies.


def torchvision_stand_in() -> dict[str, types.ModuleType]:
    import torch

    def resize(picture: Pillow.Image, size: tuple[int, int], interpolation: object = None) -> Pillow.Image:
        return picture.resize((size[1], size[0]), Pillow.Resampling.BILINEAR)

    class Resize:
        def __init__(self, size: tuple[int, int]) -> None:
            self.size = size

        def __call__(self, picture: Pillow.Image) -> Pillow.Image:
            return resize(picture, self.size)

    class ToTensor:
        def __call__(self, picture: Pillow.Image) -> torch.Tensor:
            return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    class Normalize:
        def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], inplace: bool) -> None:
            self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

        def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
            return tensor.sub_(self.mean).div_(self.std)

    class Compose:
        def __init__(self, steps: list) -> None:
            self.steps = steps

        def __call__(self, value: object) -> object:
            for step in self.steps:
                value = step(value)
            return value

    package, transforms, functional = (
        types.ModuleType(n) for n in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    )
    transforms.Resize, transforms.ToTensor, transforms.Normalize, transforms.Compose = Resize, ToTensor, Normalize, Compose
    transforms.InterpolationMode = types.SimpleNamespace(BILINEAR="bilinear")
    functional.resize = resize
    package.transforms, transforms.functional = transforms, functional
    return {module.__name__: module for module in (package, transforms, functional)}


@pytest.fixture(scope="module")
def meta():
    """Meta's `llama_models.llama4.preprocess`. Importing it makes Pillow accept cut files for the whole process: undone here."""
    pytest.importorskip("llama_models", reason="Meta's published code: pip install --no-deps llama-models==0.3.0")
    accepted_cut_files = ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.MonkeyPatch.context() as patch:
        for name, module in torchvision_stand_in().items():
            patch.setitem(sys.modules, name, module)
        patch.delitem(sys.modules, "llama_models.llama4.preprocess", raising=False)
        from llama_models.llama4 import preprocess

        yield preprocess
        sys.modules.pop("llama_models.llama4.preprocess", None)
    ImageFile.LOAD_TRUNCATED_IMAGES = accepted_cut_files


@pytest.mark.parametrize("vision", [LLAMA4, NANO, replace(NANO, max_tiles=9)])
def test_canvas_and_size_equal_metas_published_code(meta, vision: VisionConfig) -> None:
    import torch

    transform = meta.VariableSizeImageTransform(vision.tile_size)
    resolutions = torch.tensor(transform.find_supported_resolutions(vision.max_tiles, vision.tile_size))
    for height, width in random_sizes(300, seed=5):
        best = transform.get_best_fit((width, height), resolutions)
        canvas = choose_canvas(height, width, vision)
        assert (canvas.columns * vision.tile_size, canvas.rows * vision.tile_size) == best, (height, width)
        target = tuple(min(max(side, vision.tile_size), limit) for side, limit in zip((width, height), best, strict=True))
        their_width, their_height = transform.get_max_res_without_distortion((width, height), target)
        assert fitted_size(height, width, canvas, vision.tile_size) == (max(their_height, 1), max(their_width, 1)), (height, width)


@pytest.mark.parametrize("vision", [replace(LLAMA4, tile_size=56), NANO])
def test_tiles_equal_metas_published_code_bit_for_bit(meta, vision: VisionConfig) -> None:
    cut = meta.VariableSizeImageTransform(vision.tile_size)
    press = meta.ResizeNormalizeImageTransform(vision.tile_size, vision.tile_size)
    for seed, (height, width) in enumerate([(56, 56), (57, 57), (40, 300), (200, 90), (500, 333), (3, 200), (1, 1), (300, 2)]):
        picture = noise_picture(height, width, seed)
        theirs, grid = cut(picture, max_num_chunks=vision.max_tiles)
        ours = tile_image(picture, vision)
        assert ours.grid == grid
        if len(theirs) > 1:
            assert np.array_equal(ours.tiles[-1], press(picture).numpy())
        assert np.array_equal(ours.tiles[: len(theirs)], theirs.numpy())
