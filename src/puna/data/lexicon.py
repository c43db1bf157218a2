"""Words that have one name in each of the 12 languages: things, countries, capitals, months, days, colours, and a small phrasebook.

[ours] A name into a language (Hund into Hindi) is asked in training or in the evaluation, never in both: one in twelve of all (name, target) is
held out, whatever the wording and the language of the question, with a picture or without. The word itself is trained in its other directions,
and captions and lists put a thing's names in several languages side by side.
"""

# Tables of names read best one row a line.
# ruff: noqa: E501

import random
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import NamedTuple

from puna.data import ask_text, phrases
from puna.data.emoji import inventory
from puna.data.geography import with_capital
from puna.data.languages import LANGUAGE_NAMES, LANGUAGES

_HELD_OUT_ONE_IN = 12

_MONTHS: dict[str, str] = {
    "en": "January|February|March|April|May|June|July|August|September|October|November|December",
    "es": "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre",
    "fr": "janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre",
    "de": "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember",
    "pt": "janeiro|fevereiro|março|abril|maio|junho|julho|agosto|setembro|outubro|novembro|dezembro",
    "ru": "январь|февраль|март|апрель|май|июнь|июль|август|сентябрь|октябрь|ноябрь|декабрь",
    "ar": "يناير|فبراير|مارس|أبريل|مايو|يونيو|يوليو|أغسطس|سبتمبر|أكتوبر|نوفمبر|ديسمبر",
    "hi": "जनवरी|फ़रवरी|मार्च|अप्रैल|मई|जून|जुलाई|अगस्त|सितंबर|अक्टूबर|नवंबर|दिसंबर",
    "id": "Januari|Februari|Maret|April|Mei|Juni|Juli|Agustus|September|Oktober|November|Desember",
    "ja": "1月|2月|3月|4月|5月|6月|7月|8月|9月|10月|11月|12月",
    "ko": "1월|2월|3월|4월|5월|6월|7월|8월|9월|10월|11월|12월",
    "zh": "一月|二月|三月|四月|五月|六月|七月|八月|九月|十月|十一月|十二月",
}
_DAYS: dict[str, str] = {
    "en": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "es": "lunes|martes|miércoles|jueves|viernes|sábado|domingo",
    "fr": "lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche",
    "de": "Montag|Dienstag|Mittwoch|Donnerstag|Freitag|Samstag|Sonntag",
    "pt": "segunda-feira|terça-feira|quarta-feira|quinta-feira|sexta-feira|sábado|domingo",
    "ru": "понедельник|вторник|среда|четверг|пятница|суббота|воскресенье",
    "ar": "الاثنين|الثلاثاء|الأربعاء|الخميس|الجمعة|السبت|الأحد",
    "hi": "सोमवार|मंगलवार|बुधवार|गुरुवार|शुक्रवार|शनिवार|रविवार",
    "id": "Senin|Selasa|Rabu|Kamis|Jumat|Sabtu|Minggu",
    "ja": "月曜日|火曜日|水曜日|木曜日|金曜日|土曜日|日曜日",
    "ko": "월요일|화요일|수요일|목요일|금요일|토요일|일요일",
    "zh": "星期一|星期二|星期三|星期四|星期五|星期六|星期日",
}
# What a traveller says first, and small words that every primer opens with.
_PHRASEBOOK: dict[str, str] = {
    "en": "hello|thank you|please|goodbye|good morning|good night|yes|no|sorry|I love you|friend|water|mother|father|sister|brother|day|night|school|city|music|love|year|world",
    "es": "hola|gracias|por favor|adiós|buenos días|buenas noches|sí|no|perdón|te quiero|amigo|agua|madre|padre|hermana|hermano|día|noche|escuela|ciudad|música|amor|año|mundo",
    "fr": "bonjour|merci|s'il vous plaît|au revoir|bonjour|bonne nuit|oui|non|pardon|je t'aime|ami|eau|mère|père|sœur|frère|jour|nuit|école|ville|musique|amour|année|monde",
    "de": "hallo|danke|bitte|auf Wiedersehen|guten Morgen|gute Nacht|ja|nein|Entschuldigung|ich liebe dich|Freund|Wasser|Mutter|Vater|Schwester|Bruder|Tag|Nacht|Schule|Stadt|Musik|Liebe|Jahr|Welt",
    "pt": "olá|obrigado|por favor|tchau|bom dia|boa noite|sim|não|desculpe|eu te amo|amigo|água|mãe|pai|irmã|irmão|dia|noite|escola|cidade|música|amor|ano|mundo",
    "ru": "привет|спасибо|пожалуйста|до свидания|доброе утро|спокойной ночи|да|нет|извините|я тебя люблю|друг|вода|мать|отец|сестра|брат|день|ночь|школа|город|музыка|любовь|год|мир",
    "ar": "مرحبا|شكرا|من فضلك|مع السلامة|صباح الخير|تصبح على خير|نعم|لا|آسف|أحبك|صديق|ماء|أم|أب|أخت|أخ|يوم|ليل|مدرسة|مدينة|موسيقى|حب|سنة|عالم",
    "hi": "नमस्ते|धन्यवाद|कृपया|अलविदा|सुप्रभात|शुभ रात्रि|हाँ|नहीं|माफ़ कीजिए|मैं तुमसे प्यार करता हूँ|दोस्त|पानी|माँ|पिता|बहन|भाई|दिन|रात|स्कूल|शहर|संगीत|प्यार|साल|दुनिया",
    "id": "halo|terima kasih|tolong|sampai jumpa|selamat pagi|selamat malam|ya|tidak|maaf|aku cinta kamu|teman|air|ibu|ayah|saudara perempuan|saudara laki-laki|hari|malam|sekolah|kota|musik|cinta|tahun|dunia",
    "ja": "こんにちは|ありがとう|お願いします|さようなら|おはよう|おやすみ|はい|いいえ|ごめんなさい|愛しています|友達|水|母|父|姉妹|兄弟|日|夜|学校|都市|音楽|愛|年|世界",
    "ko": "안녕하세요|감사합니다|부탁합니다|안녕히 가세요|좋은 아침|안녕히 주무세요|네|아니요|미안합니다|사랑해요|친구|물|어머니|아버지|자매|형제|날|밤|학교|도시|음악|사랑|년|세계",
    "zh": "你好|谢谢|请|再见|早上好|晚安|是|不|对不起|我爱你|朋友|水|母亲|父亲|姐妹|兄弟|天|夜晚|学校|城市|音乐|爱|年|世界",
}


class Word(NamedTuple):
    """One meaning: its kind and its name in each language."""

    kind: str
    names: Mapping[str, str]


def _table(kind: str, table: Mapping[str, str]) -> list[Word]:
    rows = {language: table[language].split("|") for language in LANGUAGES}
    return [Word(kind, {language: rows[language][place] for language in LANGUAGES}) for place in range(len(rows["en"]))]


@cache
def words() -> tuple[Word, ...]:
    """All words: noun, country, capital, month, day, colour, phrase."""
    things = [Word("country" if emoji.is_flag else "noun", emoji.names) for emoji in inventory().values()]
    colours = [Word("colour", {language: phrases.COLOURS[language][place] for language in LANGUAGES}) for place in range(11)]
    capitals = [Word("capital", country.capital) for country in with_capital()]
    return (*things, *capitals, *_table("month", _MONTHS), *_table("day", _DAYS), *colours, *_table("phrase", _PHRASEBOOK))


@cache
def words_of(kind: str) -> tuple[Word, ...]:
    """The words of one kind."""
    return tuple(word for word in words() if word.kind == kind)


def is_held_out(name: str, target: str, *, by_all: bool = False) -> bool:
    """Whether `name` into the language `target` is kept from training. Names that are spelled alike in two languages share a side, and so
    do those that differ in case alone: one of "panda" and "Panda" is enough. `by_all`: whether each of them is; what the evaluation asks,
    since nanos that have learned before this rule know the other.
    """
    fallen = (sha256(f"word {spelled} {target}".encode()).digest()[0] % _HELD_OUT_ONE_IN == 0 for spelled in _spellings(name))
    return all(fallen) if by_all else any(fallen)


@cache
def _by_letters() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for word in words():
        for name in word.names.values():
            found.setdefault(name.casefold(), set()).add(name)
    return found


def _spellings(name: str) -> set[str]:
    """The names in any language that are `name` but for case, itself among them."""
    return _by_letters().get(name.casefold(), set()) | {name}


# Nouns and countries are what pictures show as well; the rest keeps a conversation going.
_KINDS, _SHARES = ("noun", "country", "capital", "month", "day", "colour", "phrase"), (50, 20, 4, 4, 3, 5, 14)


def draw_word(rng: random.Random) -> Word:
    """A word, by the shares of the kinds."""
    return rng.choice(words_of(rng.choices(_KINDS, _SHARES)[0]))


def say_turns(rng: random.Random, speaker: str) -> list[tuple[str, str]]:
    """One word of the speaker's own language said in one to three others: "How do you say dog in Hindi?", "And in Korean?"."""
    others: list[str] = []
    while len(others) < 3:  # "bonjour" is hello and good morning: into most languages it has no one answer
        word = draw_word(rng)
        name = word.names[speaker]
        others = [
            language
            for language in LANGUAGES
            if language != speaker and not is_held_out(name, language) and len(meanings(name, language, speaker)) == 1
        ]
    turns = []
    for place, target in enumerate(rng.sample(others, rng.choice((1, 1, 2, 3)))):
        turns.append((_ask_say(name, speaker, target, rng, brief=place > 0), word.names[target]))
    return turns


def _ask_say(name: str, speaker: str, target: str, rng: random.Random, brief: bool) -> str:
    language = LANGUAGE_NAMES[speaker][target]
    if brief and rng.random() < 0.6:
        return phrases.ASK_IN[speaker][1].format(word=name, language=language)
    return rng.choice(phrases.ASK_SAY[speaker]).format(word=name, language=language)


def means_turn(rng: random.Random, speaker: str) -> tuple[str, str]:
    """A foreign word in the speaker's language: "What does Hund mean?"."""
    while True:
        word, source = draw_word(rng), rng.choice(LANGUAGES)
        name = word.names[source]
        # A name that several languages share means nothing more, and one that means two things has no one answer.
        if name == word.names[speaker] or is_held_out(name, speaker) or len(meanings(name, speaker)) > 1:
            continue
        asks = (*ask_text.ASK_MEANS[speaker], phrases.ASK_SAY[speaker][0])
        return rng.choice(asks).format(word=name, language=LANGUAGE_NAMES[speaker][speaker]), word.names[speaker]


def third_turn(rng: random.Random, speaker: str) -> tuple[str, str]:
    """Between two languages neither of which is the speaker's: «perro» in German, asked in English."""
    while True:
        word = draw_word(rng)
        source, target = rng.sample([language for language in LANGUAGES if language != speaker], 2)
        if not is_held_out(word.names[source], target) and len(meanings(word.names[source], target)) == 1:
            return phrases.ASK_SAY[speaker][0].format(word=word.names[source], language=LANGUAGE_NAMES[speaker][target]), word.names[target]


@cache
def _by_name() -> dict[str, tuple[Word, ...]]:
    found: dict[str, list[Word]] = {}
    for word in words():
        for name in set(word.names.values()):
            found.setdefault(name, []).append(word)
    return {name: tuple(entries) for name, entries in found.items()}


def meanings(name: str, target: str, source: str | None = None) -> set[str]:
    """What `name`, in the language `source` or in any, may be in `target`: more than one where it is the name of two words."""
    return {word.names[target] for word in _by_name()[name] if source is None or word.names[source] == name}
