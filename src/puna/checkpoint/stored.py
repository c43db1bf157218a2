"""A model's tensors as they lie in a Hugging Face directory, read one at a time by our own names.

Every stored name, shape and kind is checked against the config before the first tensor is read, so that a wrong file is reported whole
and at once. Floats come as they are stored, from the mapped file; integers come as the bf16 weights that they stand for.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from puna.checkpoint.compressed import Matrix, matrices, scheme_of, schemes_from_hf, unpacked
from puna.checkpoint.config_hf import config_from_hf
from puna.checkpoint.errors import CheckpointError
from puna.checkpoint.names_hf import to_hf_name
from puna.checkpoint.processor_hf import max_tiles_from
from puna.checkpoint.quantized import Quantized, Scheme, dequantize
from puna.checkpoint.shards import KINDS, ShardedTensors, TensorInfo, read_json
from puna.config import ModelConfig
from puna.model import Model

# How weights may be kept as floats, in our words.
FLOATS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_FLOAT_KINDS = tuple(KINDS[dtype] for dtype in (torch.float32, torch.bfloat16, torch.float16))
_SHOWN_PROBLEMS = 10


class Storage(NamedTuple):
    """What a directory's weights take: bytes of its files, and parameters and bytes by what they are stored as, such as "int8" or "bf16".

    `schemes` are those of which there is at least one matrix. Scales and shapes count among an integer's bytes.
    """

    schemes: tuple[Scheme, ...]
    num_bytes: int
    by_kind: dict[str, int]
    bytes_by_kind: dict[str, int]

    @property
    def bits_per_weight(self) -> float:
        """Scales, shapes and file headers included."""
        return 8 * self.num_bytes / sum(self.by_kind.values())


@dataclass(frozen=True, slots=True)
class StoredModel:
    """An open checkpoint. `shapes` has our names, in the model's order; `matrices` those that are stored as integers, and how."""

    directory: Path
    config: ModelConfig
    shapes: Mapping[str, tuple[int, ...]]
    matrices: Mapping[str, Sequence[tuple[Matrix, Scheme]]]
    files: ShardedTensors

    def read(self, name: str) -> Tensor:
        """Our tensor: as stored, backed by the mapped file, or bf16 made of integers."""
        if name not in self.matrices:
            return self.files.load(to_hf_name(name, text_only=self.config.vision is None))
        whole = torch.empty(self.shapes[name], dtype=torch.bfloat16)
        for (matrix, _), integers in zip(self.matrices[name], self.read_integers(name), strict=True):
            matrix.view(whole).copy_(dequantize(integers))
        return whole

    def read_integers(self, name: str) -> Iterator[Quantized]:
        """The integers of each of `matrices[name]`, in order."""
        for matrix, scheme in self.matrices[name]:
            try:
                yield unpacked(matrix, scheme, self.files.load)
            except CheckpointError as error:
                raise CheckpointError(f"{self.directory}: {error}") from error

    def num_bytes(self, name: str) -> int:
        """What our tensor takes in the files, scales and shapes of integers included."""
        if name not in self.matrices:
            return self._info(name).num_bytes
        return sum(self.files.tensors[part].num_bytes for matrix, _ in self.matrices[name] for part in matrix.names)

    def _info(self, name: str) -> TensorInfo:
        return self.files.tensors[to_hf_name(name, text_only=self.config.vision is None)]

    def storage(self) -> Storage:
        """What the weights take, told from the files' headers and sizes."""
        words = {KINDS[dtype]: word for word, dtype in FLOATS.items()}
        numbers: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for name, shape in self.shapes.items():
            for matrix, scheme in self.matrices.get(name, ()):
                kind = f"int{scheme.bits}"
                numbers[kind] += torch.Size(matrix.shape).numel()
                sizes[kind] += sum(self.files.tensors[part].num_bytes for part in matrix.names)
            if name not in self.matrices:
                info = self._info(name)
                numbers[words[info.kind]] += torch.Size(shape).numel()
                sizes[words[info.kind]] += info.num_bytes
        files = {info.file for info in self.files.tensors.values()}
        num_bytes = sum((self.directory / file).stat().st_size for file in files)
        schemes = dict.fromkeys(scheme for stored in self.matrices.values() for _, scheme in stored)
        return Storage(tuple(schemes), num_bytes, dict(numbers), dict(sizes))


@contextmanager
def open_model(path: str | Path) -> Iterator[StoredModel]:
    """The checkpoint in a directory; its files stay open inside the `with` block."""
    directory = checked_directory(path)
    config = read_config(directory)
    schemes = schemes_from_hf(read_json(directory / "config.json"))
    shapes = shapes_of(config)
    with ShardedTensors(directory) as files:
        yield StoredModel(directory, config, shapes, _match(files, shapes, schemes, text_only=config.vision is None), files)


def read_config(path: str | Path) -> ModelConfig:
    """The model that a directory's JSON files describe; its name is the one in the file, or else the directory's."""
    directory = checked_directory(path)
    hf = read_json(directory / "config.json")
    named = "name" in hf.get("puna", {}) if isinstance(hf.get("puna", {}), Mapping) else False
    config = config_from_hf(hf, None if named or hf.get("_name_or_path") else directory.resolve().name)
    if config.vision is None:
        return config
    stated = "max_tiles" in hf.get("puna", {})
    max_tiles = max_tiles_from(directory, config.vision, config.vision.max_tiles if stated else None)
    return replace(config, vision=replace(config.vision, max_tiles=max_tiles))


def checked_directory(path: str | Path) -> Path:
    directory = Path(path)
    if not directory.is_dir():
        found = "is a file" if directory.exists() else "does not exist"
        raise CheckpointError(f"{directory} {found}; a checkpoint is a directory with config.json and *.safetensors")
    return directory


def shapes_of(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Our names and shapes of all tensors that a checkpoint of this model holds."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in Model(config).state_dict().items()}


def _match(
    files: ShardedTensors, shapes: Mapping[str, tuple[int, ...]], schemes: Sequence[Scheme], *, text_only: bool
) -> dict[str, list[tuple[Matrix, Scheme]]]:
    """Which of our tensors are stored as integers, as which matrices and how; or one error that lists all that is wrong."""
    integers: dict[str, list[tuple[Matrix, Scheme]]] = {}
    stated = {name: info.shape for name, info in files.tensors.items()}
    expected: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}
    for ours, shape in shapes.items():
        theirs = to_hf_name(ours, text_only=text_only)
        found = matrices(ours, theirs, shape) if schemes else []
        if any(name in files.tensors for matrix in found for name in matrix.names):
            integers[ours] = [(matrix, scheme_of(matrix, schemes, stated)) for matrix in found]
            for matrix, scheme in integers[ours]:
                (words, (words_shape, _)), (scales, (scales_shape, _)), (size, (size_shape, _)) = matrix.stored(scheme).items()
                expected |= {words: (words_shape, ("I32",)), scales: (scales_shape, _FLOAT_KINDS), size: (size_shape, ("I64",))}
        else:
            expected[theirs] = shape, _FLOAT_KINDS
    problems = []
    for name, info in files.tensors.items():
        if name not in expected:
            problems.append(f"extra: {name} {list(info.shape)} in {info.file}; the config describes no such tensor")
            continue
        shape, kinds = expected[name]
        if info.shape != shape:
            problems.append(f"wrong shape: {name} is {list(info.shape)} in {info.file}; the config asks for {list(shape)}")
        elif info.kind not in kinds:
            rule = f"weights must be one of {', '.join(kinds)}" if kinds is _FLOAT_KINDS else f"it must be {kinds[0]}"
            problems.append(f"wrong kind: {name} is {info.kind} in {info.file}; {rule}")
    problems += [f"missing: {name} {list(shape)}" for name, (shape, _) in expected.items() if name not in files.tensors]
    if schemes and not integers:
        said = "; ".join(map(str, schemes))
        problems.append(f"nothing quantised: quantization_config says {said}, but no tensor is stored so")
    if problems:
        problems.sort()
        rest = len(problems) - _SHOWN_PROBLEMS
        more = [f"and {rest} more"] if rest > 0 else []
        lines = "\n  ".join(problems[:_SHOWN_PROBLEMS] + more)
        raise CheckpointError(f"{files.directory}: config.json and weights disagree, {len(problems)} tensors in all:\n  {lines}")
    return integers
