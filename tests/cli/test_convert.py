import json
from pathlib import Path

import pytest

from puna.testing.models import tiny_model
from puna.testing.tokenizer import byte_tokenizer


@pytest.fixture
def source(tmp_path: Path) -> Path:
    from puna.checkpoint import save_model

    return save_model(tiny_model(seed=0), tmp_path / "source", byte_tokenizer(), storage="fp32")


def test_a_directory_is_written_in_bf16_and_loads_again(puna, source: Path, tmp_path: Path) -> None:
    import torch

    from puna.checkpoint import load_model
    from puna.tokens.bpe import Tokenizer

    target = tmp_path / "new" / "target"
    outcome = puna("convert", str(source), str(target))
    assert outcome.code == 0, outcome.err
    assert "bf16" in outcome.out
    stored, original = load_model(target, "bfloat16").state_dict(), load_model(source, "float32").state_dict()
    assert stored.keys() == original.keys()
    assert all(torch.equal(stored[name], original[name].to(stored[name].dtype)) for name in original)
    assert Tokenizer.from_hf(target).encode("llama") == byte_tokenizer().encode("llama")


def test_storage_chooses_what_is_written(puna, source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    assert puna("convert", str(source), str(target), "--storage", "fp32").code == 0
    assert json.loads((target / "config.json").read_text())["torch_dtype"] == "float32"
    assert "float8" in puna("convert", str(source), str(tmp_path / "other"), "--storage", "float8").err


def test_every_storage_of_the_checkpoint_room_is_offered() -> None:
    from puna.checkpoint import STORAGES
    from puna.cli.convert import StorageKind

    assert {kind.value for kind in StorageKind} == set(STORAGES)


def test_int8_and_back_are_the_same_weights_and_the_error_is_said(puna, source: Path, tmp_path: Path) -> None:
    import torch

    from puna.checkpoint import load_model

    outcome = puna("convert", str(source), str(tmp_path / "int8"), "--storage", "int8")
    assert outcome.code == 0, outcome.err
    assert "matrices: 0." in outcome.out
    assert puna("convert", str(tmp_path / "int8"), str(tmp_path / "bf16")).code == 0
    integers, floats = (load_model(tmp_path / kind, "bfloat16").state_dict() for kind in ("int8", "bf16"))
    assert all(torch.equal(integers[name], floats[name]) for name in integers)


def test_nothing_is_written_over(puna, source: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").touch()
    (tmp_path / "file").touch()
    for name, words in [("full", "already holds files"), ("file", "is a file")]:
        outcome = puna("convert", str(source), str(tmp_path / name))
        assert (outcome.code, outcome.out) == (2, "")
        assert words in outcome.err


def test_a_source_that_is_no_model_is_a_mistake(puna, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, words in [("llama5", "no model is called"), (str(tmp_path / "empty"), ""), ("maverick", "do not come with puna")]:
        outcome = puna("convert", source, str(tmp_path / "target"))
        assert (outcome.code, outcome.out) == (2, "")
        assert words in outcome.err
    assert not (tmp_path / "target").exists()


def test_a_shipped_nano_is_found_by_its_name(puna, source: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("puna.pipeline.shipped_models", lambda: {"scout-nano": source})
    outcome = puna("convert", "scout-nano", str(tmp_path / "target"))
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "target" / "config.json").is_file()
