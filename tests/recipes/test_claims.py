"""The claims' arithmetic and reports, without training: what is to cost the same does, and a report says what it was given."""

import importlib
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from puna.model.count import count_parameters
from puna.train.machine import flops_per_token

CLAIMS = Path(__file__).parents[2] / "recipes" / "claims"
NAMES = ("pico", "codistillation", "moe_vs_dense", "early_fusion")


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, ModuleType]]:
    """The recipes as modules; their pictures go to a folder of the test."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(CLAIMS))
    modules = {name: importlib.import_module(name) for name in NAMES}
    monkeypatch.setattr(modules["pico"], "IMAGES", tmp_path)
    yield modules
    for name in NAMES:
        del sys.modules[name]


def scores(value: float) -> dict[str, Any]:
    return {"bits_per_byte": value, "picture_nats": value / 2, "right": 1 / value, "kinds": {}}


def test_arms_of_equal_compute_cost_the_same_a_token(claims: dict[str, ModuleType]) -> None:
    moe = claims["moe_vs_dense"]
    dense = count_parameters(moe.config_of("dense"))
    for arm in moe.ARMS[1:]:
        experts = count_parameters(moe.config_of(arm))
        assert experts.active_without_embedding == pytest.approx(dense.active_without_embedding, rel=0.01) and experts.text > dense.text
    pico = claims["pico"]
    assert flops_per_token(pico.maverick()) == pytest.approx(flops_per_token(pico.scout()), rel=0.01)
    assert 2 < flops_per_token(pico.behemoth()) / flops_per_token(pico.scout()) < 3


def test_the_teachers_cost_buys_hard_targets_more_tokens(claims: dict[str, ModuleType]) -> None:
    recipe = claims["codistillation"]
    students = sum(flops_per_token(config) for config in recipe.STUDENTS.values())
    forward = flops_per_token(claims["pico"].behemoth()) / 3
    tokens = {arm: recipe.tokens_of(arm, 1_000_000) for arm in ("hard", "dynamic", "hard-sunk", "teacher", "hard-paid")}
    assert tokens["hard"] == tokens["dynamic"]
    assert tokens["hard-sunk"] * students == pytest.approx(tokens["dynamic"] * (students + forward), rel=0.003)
    paid = tokens["dynamic"] * (students + forward) + tokens["teacher"] * 3 * forward
    assert tokens["hard-paid"] * students == pytest.approx(paid, rel=0.003)


def test_intervals_are_students_t_and_pairs_are_of_one_seed(claims: dict[str, ModuleType]) -> None:
    pico = claims["pico"]
    one = pico.interval([1.0, 2.0, 3.0])
    assert one.mean == 2 and one.half == pytest.approx(4.303 / math.sqrt(3)) and one.is_nil
    assert not pico.interval([2.0, 2.1, 2.2]).is_nil
    assert pico.interval([-1.0, 0.5, 1.0]).is_nil and math.isnan(pico.interval([1.0]).half) and pico.interval([1.0]).is_nil
    results = {f"{arm}-{seed}": {"x": base + 10 * seed} for arm, base in (("a", 1.0), ("b", 3.0)) for seed in range(3)}
    apart = pico.paired(results, "a", "b", lambda result: result["x"])
    assert apart.mean == -2 and apart.half == 0 and not apart.is_nil  # what seeds share cancels


def codistillation_results(recipe: ModuleType, distilled: float) -> dict[str, dict[str, Any]]:
    """Hard targets lose 0.1 bits for each doubling of compute, from 3 bits."""
    costs = {"teacher": 1.0, "elder": 1.0} | {
        arm: recipe.tokens_of(arm, 10_000_000) / 10_000_000 for arm in ("hard", "hard-sunk", "hard-paid")
    }
    values = {arm: 3 - 0.1 * math.log2(cost) for arm, cost in costs.items()} | dict.fromkeys(recipe.DISTILLED, distilled)
    return {
        f"{arm}-{seed}": {"job": f"{arm}-{seed}", "flops": costs.get(arm, 1.4), "scores": {"scout": scores(value + 0.01 * (seed - 1))}}
        for arm, value in values.items()
        for seed in range(3)
    }


def test_students_to_pay_is_where_the_distilled_cost_meets_the_hard_curve(claims: dict[str, ModuleType]) -> None:
    recipe = claims["codistillation"]
    extra = 2 * sum(recipe.extra_cost())
    for students in (2, 3, 7):
        reached = 3 - 0.1 * math.log2(1 + extra / (students - 0.5))  # as good as hard targets at a cost between those of n - 1 and of n
        results = codistillation_results(recipe, reached)
        assert recipe.students_to_pay(results, "dynamic", "bits_per_byte") == str(students)
    assert recipe.students_to_pay(codistillation_results(recipe, 3.2), "dynamic", "bits_per_byte") == "none"
    assert recipe.students_to_pay(codistillation_results(recipe, 2.0), "dynamic", "bits_per_byte") == "any"


def last_line(text: str) -> dict[str, Any]:
    return json.loads(text.strip().splitlines()[-1])


def test_reports_print_intervals_and_write_their_plots(
    claims: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = claims["codistillation"]
    recipe.report(codistillation_results(recipe, 2.9))
    facts = last_line(capsys.readouterr().out)
    assert facts["seeds"] == 3 and facts["bits_per_byte: dynamic - hard"] == pytest.approx([-0.1, 0.0], abs=1e-3)
    moe = claims["moe_vs_dense"]
    counts = {"tokens": 299_008, "parameters": 5, "active": 3, "flops": 1e9, "seconds": 9.0}
    moe.report(
        {f"{arm}-{seed}": {**counts, "scores": scores(3 - 0.1 * place + seed)} for place, arm in enumerate(moe.ARMS) for seed in range(3)}
    )
    assert last_line(capsys.readouterr().out)["bits_per_byte: moe-4 - dense"] == pytest.approx(
        [-0.1 * moe.ARMS.index("moe-4"), 0], abs=1e-3
    )
    early = claims["early_fusion"]
    arms = ("early", "text", "bolted", "mended")
    early.report(
        {
            f"{arm}-{seed}": {"flops": 1e9, "pictures": 7, "scores": scores(1.0 + place)}
            for place, arm in enumerate(arms)
            for seed in range(3)
        }
    )
    assert last_line(capsys.readouterr().out)["bits_per_byte: early - bolted"] == [-2.0, 0.0]
    for name in ("codistillation", "moe-vs-dense-300k", "early-fusion"):
        assert (tmp_path / f"claim-{name}.svg").read_text().startswith("<?xml")
