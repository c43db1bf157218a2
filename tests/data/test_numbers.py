"""Numbers in words: the awkward ones of each language, and the split."""

import pytest

from puna.data.languages import LANGUAGES
from puna.data.numbers import LARGEST, is_held_out, number_word


@pytest.mark.parametrize(
    ("language", "number", "word"),
    [
        ("en", 0, "zero"),
        ("en", 9999, "nine thousand nine hundred ninety-nine"),
        ("es", 100, "cien"),
        ("es", 121, "ciento veintiuno"),
        ("es", 1531, "mil quinientos treinta y uno"),
        ("fr", 71, "soixante et onze"),
        ("fr", 80, "quatre-vingts"),
        ("fr", 81, "quatre-vingt-un"),
        ("fr", 91, "quatre-vingt-onze"),
        ("fr", 200, "deux cents"),
        ("fr", 1280, "mille deux cent quatre-vingts"),
        ("de", 21, "einundzwanzig"),
        ("de", 101, "hunderteins"),
        ("de", 1137, "tausendeinhundertsiebenunddreißig"),
        ("pt", 100, "cem"),
        ("pt", 101, "cento e um"),
        ("pt", 1100, "mil e cem"),
        ("pt", 2230, "dois mil duzentos e trinta"),
        ("pt", 2005, "dois mil e cinco"),
        ("ru", 1001, "тысяча один"),
        ("ru", 2222, "две тысячи двести двадцать два"),
        ("ru", 5040, "пять тысяч сорок"),
        ("ar", 21, "واحد وعشرون"),
        ("ar", 2345, "ألفان وثلاثمئة وخمسة وأربعون"),
        ("ar", 3000, "ثلاثة آلاف"),
        ("hi", 99, "निन्यानबे"),
        ("hi", 1234, "एक हज़ार दो सौ चौंतीस"),
        ("id", 111, "seratus sebelas"),
        ("id", 1021, "seribu dua puluh satu"),
        ("ja", 1111, "千百十一"),
        ("ja", 3042, "三千四十二"),
        ("ko", 1111, "천백십일"),
        ("ko", 2305, "이천삼백오"),
        ("zh", 110, "一百一十"),
        ("zh", 1005, "一千零五"),
        ("zh", 1010, "一千零一十"),
        ("zh", 2222, "两千二百二十二"),
    ],
)
def test_awkward_numbers(language: str, number: int, word: str) -> None:
    assert number_word(number, language) == word


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_numbers_have_one_name(language: str) -> None:
    names = [number_word(number, language) for number in range(LARGEST + 1)]
    assert len(set(names)) == LARGEST + 1 and all(name == " ".join(name.split()) for name in names)


def test_numbers_without_words_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 9999"):
        number_word(10_000, "en")


def test_one_large_number_in_eight_is_held_out_and_no_small_one() -> None:
    assert not any(is_held_out(number) for number in range(101))
    assert 0.11 < sum(is_held_out(number) for number in range(101, LARGEST + 1)) / (LARGEST - 100) < 0.14
