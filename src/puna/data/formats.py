"""Rows whose point is the form of the answer: a list of so many, one word, JSON, capital letters, another language than the question's.

What is listed is true: groups of the inventory's things, by hand. [ours] Knows no tokens.
"""

# Tables of phrases read best one row a line.
# ruff: noqa: E501

import json
import random
from functools import cache

from puna.data import ask_text, phrases
from puna.data.copying import joined
from puna.data.emoji import inventory
from puna.data.geography import CONTINENTS, with_capital, with_continent
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES
from puna.data.lexicon import is_held_out, words_of
from puna.data.numbers import number_word

# Characters of the emoji; a thing that the inventory does not have is simply not listed.
_GROUPS: dict[str, str] = {
    "animals": "🐈🐕🐁🐄🐅🐇🐊🐋🐌🐍🐎🐐🐒🐖🐘🐙🐜🐝🐟🐢🐦🐧🐨🐪🐬🐸🐺🐻🐼🦁🦅🦆🦇🦈🦉🦊🦋🦌🦒🦓🦔🦘🦙🦜🦢🐑🐓🐞🦀🦂🦚🦞🦩🕷🐔🐗🐆🐛🐿🐹🦃🦍🦎🦏🦐🦑🦛🦝🦟🦥🦦🦡🐠🐤🕊",
    "fruits": "🍇🍉🍊🍋🍌🍍🍐🍑🍓🥝🥥🍎🍏🍒🍈🥭",
    "vehicles": "🚗🚌🚕🚆🚲✈🚀🚁🚢🚜🚑🚒⛵🛴🚂🚓🏍🛶",
    "instruments": "🎸🎻🎺🥁🎷🎹",
}
# Genitive where a language counts so: "из 3 слов". Order: animals, fruits, vehicles, instruments, countries, colours.
_GROUP_NAMES: dict[str, tuple[str, ...]] = {
    "en": ("animals", "fruits", "vehicles", "musical instruments", "countries", "colours"),
    "es": ("animales", "frutas", "vehículos", "instrumentos musicales", "países", "colores"),
    "fr": ("animaux", "fruits", "véhicules", "instruments de musique", "pays", "couleurs"),
    "de": ("Tiere", "Früchte", "Fahrzeuge", "Musikinstrumente", "Länder", "Farben"),
    "pt": ("animais", "frutas", "veículos", "instrumentos musicais", "países", "cores"),
    "ru": ("животные", "фрукты", "транспорт", "музыкальные инструменты", "страны", "цвета"),
    "ar": ("حيوانات", "فواكه", "مركبات", "آلات موسيقية", "دول", "ألوان"),
    "hi": ("जानवर", "फल", "वाहन", "वाद्य यंत्र", "देश", "रंग"),
    "id": ("hewan", "buah", "kendaraan", "alat musik", "negara", "warna"),
    "ja": ("動物", "果物", "乗り物", "楽器", "国", "色"),
    "ko": ("동물", "과일", "탈것", "악기", "나라", "색"),
    "zh": ("动物", "水果", "交通工具", "乐器", "国家", "颜色"),
}
ASK_LIST: dict[str, tuple[str, ...]] = {
    "en": ("Name {number} {group}.", "List {number} {group}.", "Give me {number} {group}."),
    "es": ("Nombra {number} {group}.", "Dime {number} {group}."),
    "fr": ("Cite {number} {group}.", "Donne-moi {number} {group}."),
    "de": ("Nenne {number} {group}.", "Sag mir {number} {group}."),
    "pt": ("Diga {number} {group}.", "Cite {number} {group}."),
    "ru": ("Дай список из {number} слов: {group}.",),
    "ar": ("اذكر {number} كلمات: {group}.",),
    "hi": ("{number} शब्द बताओ: {group}।",),
    "id": ("Sebutkan {number} {group}.",),
    "ja": ("{group}を{number}つ挙げてください。",),
    "ko": ("{group} {number}개를 말해 주세요.",),
    "zh": ("说出{number}个{group}。",),
}
# Wishes that may follow: one line each, numbered; separated by commas.
AS_LINES: dict[str, str] = {
    "en": "One per line.", "es": "Cada elemento en una línea.", "fr": "Chaque élément sur une ligne.", "de": "Eins pro Zeile.", "pt": "Cada item em uma linha.", "ru": "По одному на строку.",
    "ar": "واحد في كل سطر.", "hi": "हर पंक्ति में एक।", "id": "Satu per baris.", "ja": "一行に一つずつ。", "ko": "한 줄에 하나씩.", "zh": "每行一个。",
}  # fmt: skip
AS_NUMBERED: dict[str, str] = {
    "en": "As a numbered list.", "es": "Como lista numerada.", "fr": "En liste numérotée.", "de": "Als nummerierte Liste.", "pt": "Como lista numerada.",
    "ru": "Нумерованным списком.", "ar": "في قائمة مرقمة.", "hi": "क्रमांकित सूची में।", "id": "Dalam daftar bernomor.", "ja": "番号付きで。",
    "ko": "번호를 붙여서.", "zh": "请编号。",
}  # fmt: skip


def _space(language: str) -> str:
    """What stands between two sentences."""
    return "" if language in ("ja", "zh") else " "


@cache
def groups(language: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(what it is called, its members) of each group in `language`."""
    by_char = {emoji.char: emoji.names[language] for emoji in inventory().values()}
    members = [tuple(dict.fromkeys(by_char[char] for char in chars if char in by_char)) for chars in _GROUPS.values()]
    members += [tuple(word.names[language] for word in words_of("country")), phrases.COLOURS[language]]
    return tuple(zip(_GROUP_NAMES[language], members, strict=True))


def list_question(rng: random.Random, language: str, group: str, number: int, form: str) -> str:
    """Asks for `number` of a group, in one "line", in "lines", or "numbered"."""
    wish = {"line": "", "lines": AS_LINES[language], "numbered": AS_NUMBERED[language]}[form]
    question = rng.choice(ASK_LIST[language]).format(number=number, group=group)
    return f"{question}{_space(language)}{wish}" if wish else question


def list_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """Three to five members of a group, in one line, in lines, or numbered."""
    name, members = rng.choice(groups(language))
    chosen = rng.sample(members, rng.randint(3, 5))
    form = rng.choice(("line", "line", "line", "lines", "numbered"))
    question = list_question(rng, language, name, len(chosen), form)
    if form == "lines":
        return question, "\n".join(chosen)
    if form == "numbered":
        return question, "\n".join(f"{place}. {member}" for place, member in enumerate(chosen, 1))
    return question, joined(chosen, language)


def json_turn(rng: random.Random) -> tuple[str, str]:
    """Names of a word in two or three languages, as JSON; asked in English. Directions that belong to the evaluation are left out."""
    word = rng.choice(words_of(rng.choice(("noun", "country"))))
    targets = rng.sample([language for language in LANGUAGES if not is_held_out(word.names["en"], language)], rng.choice((2, 3)))
    named = [LANGUAGE_NAMES["en"][target] for target in targets]
    listed = f"{', '.join(named[:-1])} and {named[-1]}"
    answer = json.dumps({name: word.names[target] for name, target in zip(named, targets, strict=True)}, ensure_ascii=False)
    return f'Give the word "{word.names["en"]}" in {listed} as JSON.', answer


def spelling_turn(rng: random.Random) -> tuple[str, str]:
    """Capital letters, spelling, number of letters, first letter: English words, asked in English."""
    words = [word.names["en"] for word in words_of("noun") if word.names["en"].isalpha() and word.names["en"].isascii()]
    word = rng.choice(words).lower()
    draw = rng.randrange(4)
    if draw == 0:
        return f'Write "{word}" in capital letters.', word.upper()
    if draw == 1:
        return f'Spell "{word}".', "-".join(word.upper())
    if draw == 2:
        return f'What is the first letter of "{word}"?', word[0].upper()
    return f'How many letters has "{word}"?', str(len(word))


def geography_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """A capital, a capital's country, or a continent."""
    draw = rng.random()
    if draw < 0.5:
        country = rng.choice(with_capital())
        return ask_text.ASK_CAPITAL[language].format(of_country=country.of_country[language]), country.capital[language]
    if draw < 0.7:
        country = rng.choice(with_capital())
        return ask_text.ASK_CAPITAL_OF[language].format(capital=country.capital[language]), country.names[language]
    country = rng.choice(with_continent())
    assert country.continent is not None  # with_continent() holds no others
    name = country.names[language] if language != "en" or country.letters not in ("GB", "US", "NL", "PH") else f"the {country.names['en']}"
    return ask_text.ASK_CONTINENT[language].format(country=name), CONTINENTS[language][country.continent]


def answer_in_turn(rng: random.Random, language: str) -> tuple[str, str]:
    """A question in one language with the wish to be answered in another."""
    target = rng.choice([other for other in LANGUAGES if other != language])
    wish = _space(language) + ask_text.ANSWER_IN[language].format(language=LANGUAGE_NAMES[language][target])
    draw = rng.randrange(3)
    if draw == 0:
        country = rng.choice(with_capital())
        return f"{ask_text.ASK_CAPITAL[language].format(of_country=country.of_country[language])}{wish}", country.capital[target]
    if draw == 1:
        number = rng.randint(0, 20)
        return f"{phrases.ASK_WORDS[language][0].format(number=number)}{wish}", number_word(number, target)
    country = rng.choice(with_continent())
    assert country.continent is not None  # with_continent() holds no others
    return f"{ask_text.ASK_CONTINENT[language].format(country=country.names[language])}{wish}", CONTINENTS[target][country.continent]
