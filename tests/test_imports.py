"""The table of rooms: each imports only itself and rooms above it, and what a room must not know it does not import."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import puna

PACKAGE = Path(puna.__file__).parent

# The order in which rooms may import each other. Rooms on one line do not know each other.
ROOMS = (
    ("config",),
    ("presets",),
    ("stream",),
    ("kernels",),
    ("model",),
    ("tokens",),
    ("media",),
    ("checkpoint",),
    ("engine",),
    ("messages",),
    ("pipeline",),
    ("endpoints",),
    ("grading",),
    ("data",),
    ("train",),
    ("evals",),
    ("safety",),
    ("serve",),
    ("cli",),
    ("testing",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}

# Rooms that know nothing of tensors: importing them does not import torch.
WITHOUT_TORCH = ("config", "presets", "stream", "tokens", "media", "data")

# A room's packages beside the standard library. Rooms that are not named may use what they need.
PACKAGES = {
    "config": set(),
    "presets": set(),
    "stream": {"numpy"},
    "kernels": {"torch", "numpy", "triton"},
    "model": {"torch", "numpy"},
    "tokens": {"numpy", "tiktoken", "tokenizers"},
}
HTTP = {"fastapi", "starlette", "uvicorn", "httpx", "httpx2", "requests", "aiohttp", "http", "urllib"}
WITHOUT_HTTP = ("config", "presets", "stream", "kernels", "model", "tokens", "checkpoint", "engine", "pipeline", "train")
FILES = {"pathlib", "os", "io", "shutil", "safetensors", "json", "tempfile"}


class Import(NamedTuple):
    file: Path
    line: int
    module: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(PACKAGE)}:{self.line} imports {self.module}"


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports() -> Iterator[tuple[str, Import]]:
    """Every import statement of the package, wherever it stands in its file, with the room it stands in."""
    for file in sorted(PACKAGE.rglob("*.py")):
        if file.parent == PACKAGE and file.name in ("__init__.py", "__main__.py"):
            continue  # the package's own door: it opens the pipeline and the command line when asked
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}:{node.lineno}: imports in this package name the whole path"
                modules = [f"puna.{name}" for name in names] if node.module == "puna" else [node.module or ""]
            else:
                modules = names
            for module in modules:
                yield room_of(file), Import(file, node.lineno, module)


def ours(module: str) -> str | None:
    """The room of an import of our own, None for a package."""
    parts = module.split(".")
    return parts[1] if parts[0] == "puna" and len(parts) > 1 else None


def test_every_room_stands_in_the_table() -> None:
    found = {entry.name.removesuffix(".py") for entry in PACKAGE.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert found - {"__init__", "__main__"} <= set(LEVEL)


def test_a_room_imports_only_rooms_above_it() -> None:
    upward = [str(found) for room, found in imports() if (other := ours(found.module)) in LEVEL and LEVEL[other] > LEVEL[room]]
    assert not upward


def test_the_door_of_the_package_is_lazy_about_everything() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    outermost = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [node.module for node in outermost if isinstance(node, ast.ImportFrom)] == ["typing"]


@pytest.mark.parametrize("room", PACKAGES)
def test_a_room_near_the_top_uses_few_packages(room: str) -> None:
    allowed = PACKAGES[room] | set(sys.stdlib_module_names) | {"puna"}
    assert not [str(found) for where, found in imports() if where == room and found.module.split(".")[0] not in allowed]


def test_http_stays_in_the_rooms_that_serve_or_fetch() -> None:
    assert not [str(found) for room, found in imports() if room in WITHOUT_HTTP and found.module.split(".")[0] in HTTP]


def test_the_model_knows_no_files() -> None:
    assert not [str(found) for room, found in imports() if room == "model" and found.module.split(".")[0] in FILES]


def test_device_meshes_are_applied_from_outside() -> None:
    rooms = ("kernels", "model", "tokens", "engine")
    assert not [str(found) for room, found in imports() if room in rooms and found.module.startswith("torch.distributed")]


def test_no_room_that_users_run_needs_the_test_helpers() -> None:
    assert not [str(found) for room, found in imports() if room != "testing" and ours(found.module) == "testing"]


def test_plain_rooms_are_imported_without_torch() -> None:
    modules = [
        ".".join(("puna", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for file in sorted(PACKAGE.rglob("*.py"))
        if room_of(file) in WITHOUT_TORCH
    ]
    assert len(modules) > 15
    program = f"import sys; sys.modules['torch'] = None\nfor name in {modules!r}: __import__(name)"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert outcome.returncode == 0, outcome.stderr
