"""Safetensors files of one directory, seen as one set of named tensors: a single file, or shards with an index.

Knows file layout and nothing of models. Files are memory-mapped, so a tensor costs memory only when it is converted or touched; they are
written tensor by tensor, so a checkpoint of any size passes through the memory of its largest tensor. Weights in pickled formats are
never opened: unpickling runs whatever code the file brings.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from puna.checkpoint.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_SHARD_PATTERN = "model-?????-of-?????.safetensors"
# Safetensors' words for the dtypes that are written.
KINDS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int32: "I32", torch.int64: "I64"}
_ITEM_BYTES = {kind: dtype.itemsize for dtype, kind in KINDS.items()}
_PICKLED = ("*.bin", "*.pth", "*.pt", "*.ckpt", "*.pkl")


class TensorInfo(NamedTuple):
    """What a file's header says of one tensor. `kind` is safetensors' word for the dtype, such as "BF16"."""

    file: str
    shape: tuple[int, ...]
    kind: str

    @property
    def num_bytes(self) -> int:
        return torch.Size(self.shape).numel() * _ITEM_BYTES[self.kind]


class ShardedTensors:
    """All tensors of a checkpoint directory. Use as a context manager: the files stay open inside it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._files: dict[str, Any] = {}
        self._stack = contextlib.ExitStack()
        self.tensors: dict[str, TensorInfo] = {}

    def __enter__(self) -> "ShardedTensors":
        try:
            weight_map = _weight_map(self.directory)
            for file in sorted(set(weight_map.values())) if weight_map is not None else [SINGLE_FILE]:
                self._open(file)
            if weight_map is not None:
                self._check_index(weight_map)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def load(self, name: str) -> Tensor:
        """The tensor as stored, backed by the mapped file."""
        file = self.tensors[name].file
        try:
            return self._files[file].get_tensor(name)
        except SafetensorError as error:
            raise CheckpointError(f"{self.directory / file}: tensor {name} cannot be read: {error}") from error

    def _open(self, file: str) -> None:
        path = self.directory / file
        if not path.is_file():
            raise CheckpointError(f"{path} is missing, but {INDEX_FILE} names it; the download is incomplete")
        try:
            opened = self._stack.enter_context(safe_open(path, framework="pt"))
        except (SafetensorError, OSError) as error:
            size = path.stat().st_size
            raise CheckpointError(f"{path} ({size} bytes) is not a whole safetensors file: {error}; download it again") from error
        self._files[file] = opened
        for name in opened.keys():
            if name in self.tensors:
                raise CheckpointError(f"{path}: tensor {name} also stands in {self.tensors[name].file}; which one counts is not said")
            header = opened.get_slice(name)
            self.tensors[name] = TensorInfo(file, tuple(header.get_shape()), header.get_dtype())

    def _check_index(self, weight_map: Mapping[str, str]) -> None:
        wrong = [name for name, file in weight_map.items() if name not in self.tensors or self.tensors[name].file != file]
        wrong += [name for name in self.tensors if name not in weight_map]
        if wrong:
            raise CheckpointError(
                f"{self.directory / INDEX_FILE} and the files it names disagree about {len(wrong)} tensors, such as {', '.join(wrong[:10])}"
            )


def _weight_map(directory: Path) -> dict[str, str] | None:
    """Tensor name -> file from the index, or None for a single file."""
    index = directory / INDEX_FILE
    if index.is_file():
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{index} has no weight_map, so nothing says which file holds which tensor")
        for file in weight_map.values():
            if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
                raise CheckpointError(f"{index} names the file {file!r}; it must be a .safetensors file beside the index")
        return weight_map
    if (directory / SINGLE_FILE).is_file():
        return None
    pickled = sorted(path.name for pattern in _PICKLED for path in directory.glob(pattern))
    if pickled:
        raise CheckpointError(
            f"{directory} has its weights in {pickled[0]}{' and others' * (len(pickled) > 1)}, a pickled format: opening one runs whatever "
            "code it carries, so Puna never does. Take the safetensors form of this checkpoint, or convert it on a machine you can lose"
        )
    raise CheckpointError(f"{directory} has neither {SINGLE_FILE} nor {INDEX_FILE}; it holds no weights")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the checkpoint."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist; a checkpoint is a directory in Hugging Face's layout") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


class Planned(NamedTuple):
    """Tensors of one file that come from one source. `make` gives each of them once, in any order, when their turn has come."""

    tensors: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
    make: Callable[[], Iterable[tuple[str, Tensor]]]

    @property
    def num_bytes(self) -> int:
        return sum(_num_bytes(shape, dtype) for shape, dtype in self.tensors.values())


def write_shards(
    directory: Path, plan: Sequence[Planned], max_shard_bytes: int, progress: Callable[[int, int], object] | None = None
) -> list[Path]:
    """Write what is planned, in its own order, shard after shard; only one tensor is ever held converted.

    progress: called with the bytes written so far and those of all, after each tensor.

    Files appear whole, under their final names only when written: a reader (or this process, which may have them mapped) keeps the old
    ones until then. Files of an earlier save that the new one does not overwrite are removed, lest an old index rule over new weights.
    """
    total = sum(planned.num_bytes for planned in plan)
    free = shutil.disk_usage(directory).free
    if total > free:
        raise CheckpointError(f"{directory}: the weights take {total:,} bytes and {free:,} are free there; make room, or name another disk")
    shards = list(_split(plan, max_shard_bytes))
    told = _Progress(total, progress)
    if len(shards) == 1:
        names = [SINGLE_FILE]
    else:
        names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    with contextlib.ExitStack() as stack:
        temporaries = [directory / (file + ".tmp") for file in names]
        for temporary in temporaries:
            stack.callback(temporary.unlink, missing_ok=True)  # a save that fails leaves nothing half written
        for temporary, shard in zip(temporaries, shards, strict=True):
            _write_file(temporary, shard, told)
        (directory / INDEX_FILE).unlink(missing_ok=True)
        written = [directory / file for file in names]
        for temporary, path in zip(temporaries, written, strict=True):
            os.replace(temporary, path)
    for stale in {directory / SINGLE_FILE, *directory.glob(_SHARD_PATTERN)} - set(written):
        stale.unlink(missing_ok=True)
    if len(shards) > 1:
        weight_map = {name: file for file, shard in zip(names, shards, strict=True) for planned in shard for name in planned.tensors}
        write_json(directory / INDEX_FILE, {"metadata": {"total_size": total}, "weight_map": weight_map})
    return written


def _split(plan: Sequence[Planned], max_shard_bytes: int) -> Iterator[list[Planned]]:
    """What goes into each shard; a source larger than the limit has a shard to itself."""
    shard: list[Planned] = []
    filled = 0
    for planned in plan:
        if shard and filled + planned.num_bytes > max_shard_bytes:
            yield shard
            shard, filled = [], 0
        shard.append(planned)
        filled += planned.num_bytes
    yield shard


class _Progress:
    """Counts what has been written, for whoever asked."""

    def __init__(self, total: int, tell: Callable[[int, int], object] | None) -> None:
        self.total, self.done, self.tell = total, 0, tell

    def add(self, num_bytes: int) -> None:
        self.done += num_bytes
        if self.tell is not None:
            self.tell(self.done, self.total)


def _write_file(path: Path, shard: Sequence[Planned], told: _Progress) -> None:
    """One safetensors file: the header's length in 8 bytes, the header in JSON, then the tensors without gaps."""
    tensors = {name: kind for planned in shard for name, kind in planned.tensors.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    starts: dict[str, int] = {}
    end = 0
    for name, (shape, dtype) in sorted(tensors.items(), key=lambda item: -item[1][1].itemsize):  # wide ones first: each lies aligned
        starts[name], end = end, end + _num_bytes(shape, dtype)
        header[name] = {"dtype": KINDS[dtype], "shape": shape, "data_offsets": (starts[name], end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = 8 + len(text)
    try:
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(data + end)
            for planned in shard:
                _write_tensors(file, planned, {name: data + starts[name] for name in planned.tensors}, told)
    except OSError as error:
        raise CheckpointError(f"{path}: writing {data + end} bytes failed: {error}") from error


def _write_tensors(file: BinaryIO, planned: Planned, places: dict[str, int], told: _Progress) -> None:
    """A function of its own, so that its last tensor is let go before the next source is read."""
    for name, tensor in planned.make():
        assert (tuple(tensor.shape), tensor.dtype) == planned.tensors[name], f"{name} is not what was planned"
        file.seek(places.pop(name))
        file.write(tensor.detach().to("cpu").contiguous().view(-1).view(torch.uint8).numpy().data)
        told.add(tensor.nbytes)
    assert not places, f"planned but not made: {sorted(places)}"


def _num_bytes(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return torch.Size(shape).numel() * dtype.itemsize
