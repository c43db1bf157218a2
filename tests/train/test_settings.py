import pytest

from puna.train.settings import RecipeError, with_overrides

DEFAULTS = {"words_steps": 10, "tune_steps": 5}


def test_settings_are_the_defaults_with_what_was_set() -> None:
    assert with_overrides(DEFAULTS, {"tune_steps": "7"}) == {"words_steps": 10, "tune_steps": 7}
    assert DEFAULTS["tune_steps"] == 5


@pytest.mark.parametrize(
    ("name", "value", "words"), [("lr", "1", "it has words_steps"), ("tune_steps", "0", "at least 1"), ("tune_steps", "x", "at least 1")]
)
def test_an_unknown_setting_or_a_value_that_is_no_number_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        with_overrides(DEFAULTS, {name: value})


def test_what_can_be_switched_off_takes_a_0() -> None:
    assert with_overrides(DEFAULTS, {"tune_steps": "0"}, off=("tune_steps",)) == {"words_steps": 10, "tune_steps": 0}
    with pytest.raises(RecipeError, match="it has size, words_steps, tune_steps"):
        with_overrides(DEFAULTS, {"lr": "1"}, others=("size",))


def test_numbers_that_need_not_be_whole_may_be_any_above_nothing() -> None:
    assert with_overrides({"minutes": 30.0, "lr": 4e-3}, {"minutes": "2", "lr": "1e-3"}) == {"minutes": 2.0, "lr": 1e-3}
    for value in ("0", "-1", "nan", "inf", "ten"):
        with pytest.raises(RecipeError, match=rf"--set minutes={value}: must be a number above 0 \(default 30.0\)"):
            with_overrides({"minutes": 30.0}, {"minutes": value})
