"""Letters are where they are said to be, stand out, and are drawn anew each time."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from puna.data import lettering
from puna.data.lettering import GLYPHS, SIZE, can_write, letter
from puna.data.reading import LANGUAGES_READ, any_number, any_word, vocabulary


def test_latin_letters_small_accents_and_digits_can_be_written() -> None:
    assert can_write("Schlüssel") and can_write("açaí") and can_write("0123456789") and can_write("ZEBRA")
    assert not any(can_write(text) for text in ("", "two words", "ÉTÉ", "кот", "猫", "straße"))
    with pytest.raises(ValueError, match="'кот'.*can_write"):
        letter("кот", random.Random(0))


def test_every_letter_has_a_form_of_its_own() -> None:
    forms = {char: tuple(stroke.round(2).tobytes() for stroke in lettering._strokes(char)) for char in GLYPHS if char != "0"}
    assert len(set(forms.values())) == len(forms)  # O and 0 differ in nothing but width
    assert len(lettering._strokes("í")) == 2 and len(lettering._strokes("i")) == 2


@pytest.mark.parametrize("face", [lettering._by_pen, lettering._in_font])
def test_all_ink_is_inside_and_near_a_letter_that_is_named(face: Callable[..., tuple[np.ndarray, Any]]) -> None:
    for seed in range(60):
        rng = random.Random(seed)
        text = any_number(rng)
        mask, letters = face(text, rng)
        assert "".join(char for char, _, _ in letters) == text
        assert all(a[1] < b[1] for a, b in zip(letters, letters[1:], strict=False))
        inked = np.argwhere(mask > 128)
        assert len(inked) > 8 and not mask[:1].any() and not mask[-1:].any()
        middle = np.mean([x for _, x, _ in letters]), np.mean([y for _, _, y in letters])
        low, high = inked[:, ::-1].min(axis=0), inked[:, ::-1].max(axis=0)
        assert (low - 1 <= middle).all() and (middle <= high + 1).all()


def test_text_stands_out_from_its_ground() -> None:
    for seed in range(80):
        canvas, ink = lettering._ground_and_ink(random.Random(seed))
        grey = canvas.mean(axis=-1)
        assert grey.shape == (SIZE, SIZE)
        assert sum(ink) / 3 < grey.min() - 75 or sum(ink) / 3 > grey.max() + 75


def test_a_picture_is_a_function_of_its_generator() -> None:
    first, again, other = (letter("42", random.Random(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first.picture, again.picture) and first.letters == again.letters
    assert not np.array_equal(first.picture, other.picture)


def test_numbers_have_one_to_four_digits_and_words_are_names() -> None:
    numbers = [any_number(random.Random(seed)) for seed in range(400)]
    assert {len(number) for number in numbers} == {1, 2, 3, 4}
    assert all(str(int(number)) == number for number in numbers)
    for seed in range(200):
        word, language = any_word(random.Random(seed))
        assert can_write(word) and word.casefold() in {name.casefold() for name in vocabulary(language)}
    assert all(len(vocabulary(language)) > 100 for language in LANGUAGES_READ)
