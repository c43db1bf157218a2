"""Counts of who went where, and the picture that shows them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from puna.model import Model
from puna.stream import Stream
from puna.testing.models import tiny_config, tiny_model
from puna.train.expert_map import ExpertMap, Group, colour, draw
from puna.train.packing import Row, TrainingBatch, pack

E = 4


class Rows:
    """A Korean picture of one patch row and three words, then five English words, and so on."""

    def row(self, index: int) -> Row:
        if index % 2:
            return Row("prose", Stream(np.arange(5) + 65), language="en")
        return Row("naming", Stream(np.array([1, *[348] * 4, 66, 67]), np.zeros((1, 3, 16, 16), np.float32)), language="ko")

    def filler(self, index: int, num_tokens: int) -> Row:
        return Row("filler", Stream(np.full(num_tokens, 46)))


@pytest.fixture
def model() -> Model:
    return tiny_model(tiny_config(num_layers=4, moe_layers=(1, 3), nope_layers=(3,), num_experts=E))


@pytest.fixture
def data() -> TrainingBatch:
    return pack(Rows(), 0, 0, 26)  # 7 + 5 + 7 + 5 tokens and 2 of filler


def test_every_token_is_counted_once_a_layer_in_its_groups(model: Model, data: TrainingBatch) -> None:
    experts = ExpertMap(model)
    with experts.watching(data):
        model(data.batch)
    assert experts.layers == [1, 3]
    totals = {group: counts.sum(1).tolist() for group, counts in experts.counts.items()}
    assert totals == {
        Group("kind", "naming"): [14, 14], Group("kind", "prose"): [10, 10], Group("kind", "filler"): [2, 2],
        Group("language", "ko"): [6, 6], Group("language", "en"): [10, 10],
        Group("modality", "words"): [18, 18], Group("modality", "picture patches"): [8, 8],
    }  # fmt: skip


def test_the_counts_are_the_routers_own_choices(model: Model, data: TrainingBatch) -> None:
    experts = ExpertMap(model)
    chosen: list[torch.Tensor] = []
    experts.routers[1].watch = chosen.append
    with torch.no_grad():
        model(data.batch)
        with experts.watching(data):
            model(data.batch)
    is_patch = data.batch.token_ids == 348
    expected = torch.bincount(chosen[0][is_patch], minlength=E)
    assert experts.counts[Group("modality", "picture patches")][1].tolist() == expected.tolist()
    assert all(router.watch is None for router in experts.routers)


def test_watching_ends_with_an_error_too(model: Model, data: TrainingBatch) -> None:
    experts = ExpertMap(model)
    with pytest.raises(KeyError), experts.watching(data):
        raise KeyError
    assert all(router.watch is None for router in experts.routers)


def test_a_picture_and_its_numbers_are_written_and_the_past_fades(model: Model, data: TrainingBatch, tmp_path: Path) -> None:
    experts = ExpertMap(model)
    assert experts.write(tmp_path, "experts", 3) is None
    with experts.watching(data):
        model(data.batch)
    groups, shares = experts.table()
    assert [group.grouping for group in groups] == ["modality"] * 2 + ["language"] * 2 + ["kind"] * 3
    np.testing.assert_allclose(shares.sum(-1), 1)
    drawn = experts.write(tmp_path, "experts", 3)
    assert drawn is not None
    with Image.open(tmp_path / "experts.png") as picture:
        assert picture.size == drawn[1:]
    facts = json.loads((tmp_path / "experts.json").read_text())
    assert facts["step"] == 3 and facts["layers"] == [1, 3] and np.sum(facts["tokens"]["language: en"]) == 20
    assert experts.counts[Group("language", "en")].sum() == 10


def test_a_dense_model_has_no_map(tmp_path: Path, data: TrainingBatch) -> None:
    dense = tiny_model(tiny_config(num_experts=0, moe_layers=()))
    experts = ExpertMap(dense)
    with experts.watching(data):
        dense(data.batch)
    assert experts.write(tmp_path, "experts", 1) is None


def test_colours_say_more_even_and_fewer() -> None:
    assert colour(1.0) == (247, 247, 247)
    assert colour(8.0) == colour(32.0) == (178, 24, 43)
    assert colour(0.0) == colour(1 / 8) == (33, 102, 172)
    shares = np.array([[[1.0, 0.0]], [[0.5, 0.5]]])
    picture = draw("x", [2], [Group("kind", "a"), Group("kind", "b")], shares)
    colours = {pixel for _, pixel in picture.getcolors(1 << 20)}
    assert {colour(2.0), colour(0.0), colour(1.0)} <= colours
