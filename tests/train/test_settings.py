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
