"""Whole numbers in words, 0 to 9,999, in 12 languages: one short rule a language. [ours]

The rules follow what each language's schoolbooks write: no "and" in English, hyphens below one hundred in French, no "one" before
hundred in German or Japanese. Knows no questions.
"""

# Lists of words read best as sentences.
# ruff: noqa: E501

from collections.abc import Callable, Sequence
from hashlib import sha256

from puna.data.phrases import NUMBER_WORDS, TENS_WORDS

LARGEST = 9999

# Evaluated numbers are above 100: everything below is drilled, since every larger number is built from it.
_HELD_OUT_FROM = 101
_HELD_OUT_ONE_IN = 8

# Hindi's words up to 99 follow no rule; 21 to 99 here, the rest in phrases.py.
_HINDI_21_TO_99 = (
    "इक्कीस बाईस तेईस चौबीस पच्चीस छब्बीस सत्ताईस अट्ठाईस उनतीस तीस इकतीस बत्तीस तैंतीस चौंतीस पैंतीस छत्तीस सैंतीस अड़तीस उनतालीस चालीस "
    "इकतालीस बयालीस तैंतालीस चौवालीस पैंतालीस छियालीस सैंतालीस अड़तालीस उनचास पचास इक्यावन बावन तिरपन चौवन पचपन छप्पन सत्तावन अट्ठावन उनसठ साठ "
    "इकसठ बासठ तिरसठ चौंसठ पैंसठ छियासठ सड़सठ अड़सठ उनहत्तर सत्तर इकहत्तर बहत्तर तिहत्तर चौहत्तर पचहत्तर छिहत्तर सतहत्तर अठहत्तर उन्यासी अस्सी "
    "इक्यासी बयासी तिरासी चौरासी पचासी छियासी सत्तासी अट्ठासी नवासी नब्बे इक्यानबे बानबे तिरानबे चौरानबे पंचानबे छियानबे सत्तानबे अट्ठानबे निन्यानबे"
).split()
_SPANISH_21_TO_29 = "veintiuno veintidós veintitrés veinticuatro veinticinco veintiséis veintisiete veintiocho veintinueve".split()
# 100, 200 .. 900 where they are words of their own.
_HUNDREDS: dict[str, Sequence[str]] = {
    "es": "ciento doscientos trescientos cuatrocientos quinientos seiscientos setecientos ochocientos novecientos".split(),
    "pt": "cento duzentos trezentos quatrocentos quinhentos seiscentos setecentos oitocentos novecentos".split(),
    "ru": "сто двести триста четыреста пятьсот шестьсот семьсот восемьсот девятьсот".split(),
    "ar": "مئة مئتان ثلاثمئة أربعمئة خمسمئة ستمئة سبعمئة ثمانمئة تسعمئة".split(),
}


def number_word(number: int, language: str) -> str:
    """`number` (0 to 9,999) in words; ValueError outside."""
    if not 0 <= number <= LARGEST:
        raise ValueError(f"number_word({number}): words are written for 0 to {LARGEST}")
    if number <= 20:
        return NUMBER_WORDS[language][number]
    return _RULES[language](number)


def is_held_out(number: int) -> bool:
    """Whether `number` is asked in evaluations only: one in eight from 101 on, in all languages at once."""
    return number >= _HELD_OUT_FROM and sha256(f"number {number}".encode()).digest()[0] % _HELD_OUT_ONE_IN == 0


def _ten(number: int, language: str) -> str:
    """The word of 20, 30 .. 90 that `number` begins with."""
    return NUMBER_WORDS[language][20] if number < 30 else TENS_WORDS[language][number // 10 - 3]


def _english(number: int) -> str:
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words = []
    if thousands:
        words.append(f"{NUMBER_WORDS['en'][thousands]} thousand")
    if hundreds:
        words.append(f"{NUMBER_WORDS['en'][hundreds]} hundred")
    if below > 20 and below % 10:
        words.append(f"{_ten(below, 'en')}-{NUMBER_WORDS['en'][below % 10]}")
    elif below:
        words.append(_ten(below, "en") if below > 20 else NUMBER_WORDS["en"][below])
    return " ".join(words)


def _spanish(number: int) -> str:
    thousands, rest = divmod(number, 1000)
    words = ["mil" if thousands == 1 else f"{NUMBER_WORDS['es'][thousands]} mil"] if thousands else []
    if rest == 100:
        return " ".join([*words, "cien"])
    hundreds, below = divmod(rest, 100)
    if hundreds:
        words.append(_HUNDREDS["es"][hundreds - 1])
    if below > 30 and below % 10:
        words.append(f"{_ten(below, 'es')} y {NUMBER_WORDS['es'][below % 10]}")
    elif below >= 30:
        words.append(_ten(below, "es"))
    elif below > 20:
        words.append(_SPANISH_21_TO_29[below - 21])
    elif below:
        words.append(NUMBER_WORDS["es"][below])
    return " ".join(words)


def _french_below_100(number: int) -> str:
    units = NUMBER_WORDS["fr"]
    if number <= 20:
        return units[number]
    # 70 and 90 count on from 60 and 80 by teens.
    ten, unit = divmod(number, 10)
    if ten in (7, 9):
        ten, unit = ten - 1, unit + 10
    word = {2: "vingt", 3: "trente", 4: "quarante", 5: "cinquante", 6: "soixante", 8: "quatre-vingt"}[ten]
    if unit == 0:
        return word + ("s" if ten == 8 else "")
    if unit in (1, 11) and ten != 8:
        return f"{word} et {units[unit]}"
    return f"{word}-{units[unit]}"


def _french(number: int) -> str:
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words = ["mille" if thousands == 1 else f"{NUMBER_WORDS['fr'][thousands]} mille"] if thousands else []
    if hundreds:
        plural = "s" if hundreds > 1 and not below else ""
        words.append("cent" if hundreds == 1 else f"{NUMBER_WORDS['fr'][hundreds]} cent{plural}")
    if below:
        words.append(_french_below_100(below))
    return " ".join(words)


def _german(number: int) -> str:
    units = NUMBER_WORDS["de"]
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    word = "" if not thousands else "tausend" if thousands == 1 else f"{units[thousands]}tausend"
    if hundreds:
        # "hundert" alone, but "tausendeinhundert".
        word += ("einhundert" if word else "hundert") if hundreds == 1 else f"{units[hundreds]}hundert"
    if below > 20 and below % 10:
        unit = "ein" if below % 10 == 1 else units[below % 10]
        word += f"{unit}und{_ten(below, 'de')}"
    elif below:
        word += _ten(below, "de") if below > 20 else units[below]
    return word


def _portuguese(number: int) -> str:
    thousands, rest = divmod(number, 1000)
    head = "" if not thousands else "mil" if thousands == 1 else f"{NUMBER_WORDS['pt'][thousands]} mil"
    if not rest:
        return head
    hundreds, below = divmod(rest, 100)
    words = []
    if rest == 100:
        words.append("cem")
    elif hundreds:
        words.append(_HUNDREDS["pt"][hundreds - 1])
    if below > 20:
        words.append(_ten(below, "pt"))
        if below % 10:
            words.append(NUMBER_WORDS["pt"][below % 10])
    elif below:
        words.append(NUMBER_WORDS["pt"][below])
    tail = " e ".join(words)
    # "mil e cem", "mil e um", but "mil duzentos e trinta".
    return tail if not head else f"{head} e {tail}" if rest < 100 or not below else f"{head} {tail}"


def _russian(number: int) -> str:
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words = []
    if thousands:
        # "тысяча" is feminine and counted: две тысячи, пять тысяч.
        words += {1: ["тысяча"], 2: ["две", "тысячи"], 3: ["три", "тысячи"], 4: ["четыре", "тысячи"]}.get(
            thousands, [NUMBER_WORDS["ru"][thousands], "тысяч"]
        )
    if hundreds:
        words.append(_HUNDREDS["ru"][hundreds - 1])
    if below > 20:
        words.append(_ten(below, "ru"))
        below %= 10
    if below:
        words.append(NUMBER_WORDS["ru"][below])
    return " ".join(words)


def _arabic(number: int) -> str:
    units = NUMBER_WORDS["ar"]
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words = []
    if thousands:
        words.append("ألف" if thousands == 1 else "ألفان" if thousands == 2 else f"{units[thousands]} آلاف")
    if hundreds:
        words.append(_HUNDREDS["ar"][hundreds - 1])
    if below > 20:
        # Units stand before tens.
        words += [units[below % 10]] if below % 10 else []
        words.append(_ten(below, "ar"))
    elif below:
        words.append(units[below])
    return " و".join(words)


def _hindi(number: int) -> str:
    units = [*NUMBER_WORDS["hi"], *_HINDI_21_TO_99]
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words = [f"{units[thousands]} हज़ार"] if thousands else []
    words += [f"{units[hundreds]} सौ"] if hundreds else []
    words += [units[below]] if below else []
    return " ".join(words)


def _indonesian(number: int) -> str:
    units = NUMBER_WORDS["id"]
    thousands, rest = divmod(number, 1000)
    hundreds, below = divmod(rest, 100)
    words = ["seribu" if thousands == 1 else f"{units[thousands]} ribu"] if thousands else []
    words += ["seratus" if hundreds == 1 else f"{units[hundreds]} ratus"] if hundreds else []
    if below > 20:
        words.append(_ten(below, "id"))
        below %= 10
    words += [units[below]] if below else []
    return " ".join(words)


def _japanese_or_korean(number: int, digits: tuple[str, ...], places: str) -> str:
    """Positional: digit and place, the digit one left out before a place."""
    word = ""
    for place, name in zip((1000, 100, 10), places, strict=True):
        digit, number = divmod(number, place)
        word += ("" if digit == 1 else digits[digit]) + name if digit else ""
    return word + (digits[number] if number else "")


def _chinese(number: int) -> str:
    digits = NUMBER_WORDS["zh"]
    if number < 100:
        return digits[number // 10] + "十" + (digits[number % 10] if number % 10 else "")
    word, skipped = "", False
    for place, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, place)
        if digit:
            # A gap between two places is said once: 一千零五. Two is 两 before 千.
            word += ("零" if skipped and word else "") + ("两" if digit == 2 and place == 1000 else digits[digit]) + name
        skipped = not digit
    return word


_RULES: dict[str, Callable[[int], str]] = {
    "en": _english,
    "es": _spanish,
    "fr": _french,
    "de": _german,
    "pt": _portuguese,
    "ru": _russian,
    "ar": _arabic,
    "hi": _hindi,
    "id": _indonesian,
    "ja": lambda number: _japanese_or_korean(number, NUMBER_WORDS["ja"], "千百十"),
    "ko": lambda number: _japanese_or_korean(number, NUMBER_WORDS["ko"], "천백십"),
    "zh": _chinese,
}
