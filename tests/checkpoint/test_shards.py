import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from puna.checkpoint import CheckpointError
from puna.checkpoint.shards import INDEX_FILE, SINGLE_FILE, Planned, ShardedTensors, TensorInfo, write_shards


def state(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {f"t{i}": torch.randn(4 + i, 8, generator=generator) for i in range(5)}


def write(directory: Path, tensors: dict[str, Tensor], dtype: torch.dtype, limit: int) -> list[Path]:
    plan = [Planned({name: (tuple(t.shape), dtype)}, lambda name=name, t=t: [(name, t.to(dtype))]) for name, t in tensors.items()]
    return write_shards(directory, plan, limit)


def read(directory: Path) -> dict[str, Tensor]:
    with ShardedTensors(directory) as stored:
        return {name: stored.load(name).clone() for name in stored.tensors}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("limit", [1, 200, 300, 10**6])
def test_what_is_written_is_read_whatever_the_shard_size(limit: int, tmp_path: Path) -> None:
    files = write(tmp_path, state(), torch.float32, limit)
    assert_equal(read(tmp_path), state())
    assert (tmp_path / INDEX_FILE).exists() == (len(files) > 1)
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == sorted(p.name for p in files)
    assert all(p.stat().st_size <= max(limit, 8 * 8 * 4) + 400 for p in files)  # data and a header


def test_the_index_counts_bytes_of_the_written_dtype(tmp_path: Path) -> None:
    write(tmp_path, state(), torch.bfloat16, 100)
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    assert index["metadata"]["total_size"] == sum(t.numel() for t in state().values()) * 2


def test_headers_tell_shape_and_kind_without_reading(tmp_path: Path) -> None:
    write(tmp_path, state(), torch.bfloat16, 10**6)
    with ShardedTensors(tmp_path) as stored:
        assert stored.tensors["t1"] == TensorInfo(SINGLE_FILE, (5, 8), "BF16")


def test_a_smaller_save_removes_what_a_larger_one_left(tmp_path: Path) -> None:
    write(tmp_path, state(0), torch.float32, 1)
    write(tmp_path, state(1), torch.float32, 10**6)
    assert_equal(read(tmp_path), state(1))
    assert [p.name for p in tmp_path.iterdir()] == [SINGLE_FILE]
    write(tmp_path, state(2), torch.float32, 1)
    assert_equal(read(tmp_path), state(2))


def test_saving_over_a_mapped_file_harms_no_one(tmp_path: Path) -> None:
    write(tmp_path, state(0), torch.float32, 10**6)
    with ShardedTensors(tmp_path) as stored:
        mapped = {name: stored.load(name) for name in stored.tensors}
    write(tmp_path, mapped, torch.float32, 1)
    assert_equal(read(tmp_path), state(0))
    assert_equal(mapped, state(0))


def test_views_of_one_buffer_are_written_each_on_its_own(tmp_path: Path) -> None:
    flat = torch.arange(24.0)
    views = {"a": flat[:8].view(2, 4), "b": flat[8:].view(4, 4), "c": flat[:8], "d": flat.view(4, 6).T}
    write(tmp_path, views, torch.float32, 10**6)
    assert_equal(read(tmp_path), views)


@pytest.mark.parametrize("content", [b"", b"abc", b"\x80\x04\x95pickled", b"\xff" * 64], ids=["empty", "short", "pickle", "noise"])
def test_a_file_that_is_not_safetensors_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SINGLE_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{SINGLE_FILE} \({len(content)} bytes\) is not a whole safetensors file"):
        read(tmp_path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    (file,) = write(tmp_path, state(), torch.float32, 10**6)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        read(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    files = write(tmp_path, state(), torch.float32, 1)
    files[2].unlink()
    with pytest.raises(CheckpointError, match="model-00003-of-00005.safetensors is missing, but .* names it"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickled_weights_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=f"{name}, a pickled format: opening one runs whatever code it carries"):
        read(tmp_path)


def test_a_directory_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has neither model.safetensors nor model.safetensors.index.json"):
        read(tmp_path)


def edit_index(directory: Path, **weight_map: str | None) -> None:
    index = json.loads((directory / INDEX_FILE).read_text())
    for name, file in weight_map.items():
        index["weight_map"].pop(name, None)
        if file is not None:
            index["weight_map"][name] = file
    (directory / INDEX_FILE).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "change",
    [
        {"t0": "model-00002-of-00005.safetensors"},
        {"t0": None, "t9": "model-00001-of-00005.safetensors"},
        {"t9": "model-00001-of-00005.safetensors"},
    ],
)
def test_an_index_that_disagrees_with_its_files_is_refused(change: dict[str, str | None], tmp_path: Path) -> None:
    write(tmp_path, state(), torch.float32, 1)
    edit_index(tmp_path, **change)
    with pytest.raises(CheckpointError, match="disagree about .* t[09]"):
        read(tmp_path)


@pytest.mark.parametrize("file", ["../elsewhere.safetensors", "/etc/passwd", "sub/model.safetensors", "weights.bin"])
def test_an_index_names_only_safetensors_beside_it(file: str, tmp_path: Path) -> None:
    write(tmp_path, state(), torch.float32, 1)
    edit_index(tmp_path, t0=file)
    with pytest.raises(CheckpointError, match="must be a .safetensors file beside the index"):
        read(tmp_path)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path, state(), torch.float32, 1)
    save_file({"t0": torch.zeros(4, 8), "t1": torch.zeros(5, 8)}, files[1])
    with pytest.raises(CheckpointError, match="tensor t0 also stands in model-00001-of-00005.safetensors"):
        read(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"weight_map": {}}', '{"metadata": {}}'])
def test_a_broken_index_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_text(content)
    with pytest.raises(
        CheckpointError, match="model.safetensors.index.json (is not readable JSON|must hold a JSON object|has no weight_map)"
    ):
        read(tmp_path)


def test_tensors_of_several_kinds_in_one_file_lie_aligned_and_whole(tmp_path: Path) -> None:
    tensors = {
        "a": torch.tensor([1.5]).bfloat16(),
        "b": torch.tensor([2, 3]),
        "c": torch.tensor([4], dtype=torch.int32),
        "d": torch.ones(3),
    }
    write_shards(tmp_path, [Planned({k: (tuple(t.shape), t.dtype) for k, t in tensors.items()}, lambda: reversed(tensors.items()))], 1)
    assert_equal(read(tmp_path), tensors)
    assert {name: t.dtype for name, t in read(tmp_path).items()} == {name: t.dtype for name, t in tensors.items()}


def test_a_full_disk_is_named_and_leaves_the_earlier_save_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, state(0), torch.float32, 1)
    plain_open = Path.open

    def full_after_two(self: Path, *args: Any, **options: Any) -> Any:
        if "00003" in self.name and "wb" in args:
            raise OSError(28, "No space left on device")
        return plain_open(self, *args, **options)

    monkeypatch.setattr(Path, "open", full_after_two)
    with pytest.raises(CheckpointError, match=r"00003-of-00005.safetensors.tmp: writing \d+ bytes failed: .*No space left"):
        write(tmp_path, state(1), torch.float32, 1)
    monkeypatch.undo()
    assert_equal(read(tmp_path), state(0))
    assert not list(tmp_path.glob("*.tmp"))
