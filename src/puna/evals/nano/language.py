"""Whether a free question is answered in its own language, well formed, and whether a list is the list that was asked for.

The language of an answer is told by its script; among the six languages in Latin letters by py3langid, which knows none of our texts.
"""

# Tables of phrases read best one row a line.
# ruff: noqa: E501

import re
import unicodedata
from collections import Counter
from functools import cache
from typing import Any

from puna.data import ask_text, formats
from puna.data.languages import LANGUAGES
from puna.evals.ask import Answerer, replies
from puna.evals.nano.replies import is_well_formed
from puna.evals.score import MAX_MISSES, Score, part, question_rng, score_of
from puna.stream import Message, Text

_LATIN = ("en", "es", "fr", "de", "pt", "id")
_SCRIPTS = {"CYRILLIC": "ru", "ARABIC": "ar", "DEVANAGARI": "hi", "HANGUL": "ko", "HIRAGANA": "ja", "KATAKANA": "ja"}
# Below so many letters the identifier is not sure: "Berlin." may be anything.
_SURE_LETTERS, _POSSIBLE = 20, 0.05

# None of these is trained on in this wording.
OPEN_QUESTIONS: dict[str, tuple[str, ...]] = {
    "en": ("Tell me about water.", "Why is the sky blue?", "What do you like?", "Describe a dog.", "What should I do today?", "I am hungry.", "What is a friend?", "Tell me something new."),
    "es": ("Háblame del agua.", "¿Por qué el cielo es azul?", "¿Qué te gusta?", "Describe un perro.", "¿Qué hago hoy?", "Tengo hambre.", "¿Qué es un amigo?", "Dime algo nuevo."),
    "fr": ("Parle-moi de l'eau.", "Pourquoi le ciel est-il bleu ?", "Qu'est-ce que tu aimes ?", "Décris un chien.", "Que faire aujourd'hui ?", "J'ai faim.", "Qu'est-ce qu'un ami ?", "Dis-moi quelque chose de nouveau."),
    "de": ("Erzähl mir etwas über Wasser.", "Warum ist der Himmel blau?", "Was magst du?", "Beschreibe einen Hund.", "Was soll ich heute tun?", "Ich habe Hunger.", "Was ist ein Freund?", "Sag mir etwas Neues."),
    "pt": ("Fale-me sobre a água.", "Por que o céu é azul?", "Do que você gosta?", "Descreva um cachorro.", "O que devo fazer hoje?", "Estou com fome.", "O que é um amigo?", "Diga-me algo novo."),
    "ru": ("Расскажи мне о воде.", "Почему небо голубое?", "Что тебе нравится?", "Опиши собаку.", "Что мне делать сегодня?", "Я хочу есть.", "Что такое друг?", "Скажи мне что-нибудь новое."),
    "ar": ("حدثني عن الماء.", "لماذا السماء زرقاء؟", "ماذا تحب؟", "صف كلبا.", "ماذا أفعل اليوم؟", "أنا جائع.", "ما هو الصديق؟", "قل لي شيئا جديدا."),
    "hi": ("मुझे पानी के बारे में बताओ।", "आसमान नीला क्यों है?", "तुम्हें क्या पसंद है?", "कुत्ते का वर्णन करो।", "मैं आज क्या करूँ?", "मुझे भूख लगी है।", "दोस्त क्या होता है?", "मुझे कुछ नया बताओ।"),
    "id": ("Ceritakan tentang air.", "Mengapa langit biru?", "Apa yang kamu suka?", "Gambarkan seekor anjing.", "Apa yang harus saya lakukan hari ini?", "Saya lapar.", "Apa itu teman?", "Katakan sesuatu yang baru."),
    "ja": ("水について教えてください。", "空はなぜ青いのですか？", "何が好きですか？", "犬について説明してください。", "今日は何をすればいいですか？", "お腹がすきました。", "友達とは何ですか？", "何か新しいことを教えてください。"),
    "ko": ("물에 대해 말해 주세요.", "하늘은 왜 파란가요?", "무엇을 좋아하나요?", "개를 설명해 주세요.", "오늘 무엇을 할까요?", "배가 고파요.", "친구란 무엇인가요?", "새로운 것을 말해 주세요."),
    "zh": ("跟我说说水。", "天空为什么是蓝色的？", "你喜欢什么？", "描述一只狗。", "我今天该做什么？", "我饿了。", "什么是朋友？", "告诉我一件新鲜事。"),
}  # fmt: skip


class LanguageUnknown(RuntimeError):
    """The language identifier is not installed."""


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise LanguageUnknown("telling languages apart needs py3langid: pip install 'puna[evals]'") from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(_LATIN))
    return identifier


def languages_of(text: str) -> tuple[str, ...]:
    """The languages of ours that `text` may be in: one for a sentence, several for a word or two, all for numbers and signs alone."""
    scripts = Counter(unicodedata.name(letter, "?").split()[0] for letter in text if letter.isalpha())
    if not scripts:
        return LANGUAGES
    japanese = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if scripts["CJK"] + japanese > scripts.total() / 2:
        # Kana is Japanese; ideographs alone are Chinese, unless they are so few that they may be one Japanese word.
        return ("ja",) if japanese else ("zh", "ja") if scripts["CJK"] <= 4 else ("zh",)
    script, count = scripts.most_common(1)[0]
    if script in _SCRIPTS and count > scripts.total() / 2:
        return (_SCRIPTS[script],)
    if scripts["LATIN"] <= scripts.total() / 2:
        return ()
    ranked = _identifier().rank(text)
    if scripts["LATIN"] >= _SURE_LETTERS:
        return (ranked[0][0],)
    return tuple(language for language, probability in ranked if probability >= _POSSIBLE)


def prompts() -> list[tuple[str, str]]:
    """(language, question): the open questions, and two that ask for a story."""
    return [(language, text) for language in LANGUAGES for text in (*OPEN_QUESTIONS[language], *ask_text.ASK_ANY_STORY[language])]


def asked_language(answerer: Answerer, scale: float = 1.0) -> Score:
    """Share of answers that end by themselves, are well formed, and are in the language of the question. Groups: the language."""
    asked = part(prompts(), scale)
    said = replies(answerer, [[Message("user", (Text(text),))] for _, text in asked], 200, "asked-language")
    results, misses = [], []
    for (language, text), reply in zip(asked, said, strict=True):
        is_right = is_well_formed(*reply) and language in languages_of(reply.text)
        results.append((language, is_right))
        if not is_right:
            misses.append((text, f"a well-formed reply in {language}", f"[{reply.finish_reason}] {reply.text[:120]}"))
    return score_of("asked-language", results, misses[:MAX_MISSES])


def is_listed(said: str, members: tuple[str, ...], number: int, form: str) -> bool:
    """Whether `said` lists `number` different members, in one line ("line"), one per line ("lines"), or numbered ("numbered")."""
    if form == "line":
        parts = re.split(r"[,،、]\s*", said.strip())
    else:
        parts = said.strip().split("\n")
    if form == "numbered":
        if [part.partition(". ")[0] for part in parts] != [str(place) for place in range(1, number + 1)]:
            return False
        parts = [part.partition(". ")[2] for part in parts]
    return len(parts) == number == len(set(parts)) and set(parts) <= set(members)


def lists(answerer: Answerer, total: int = 180) -> Score:
    """Lists of three to five members of a group, in all languages. Groups: the form."""
    asked: list[tuple[str, tuple[str, ...], int, str]] = []
    for index in range(total):
        rng = question_rng("lists", index)
        language, form = LANGUAGES[index % len(LANGUAGES)], ("line", "lines", "numbered")[index // len(LANGUAGES) % 3]
        (name, members), number = rng.choice(formats.groups(language)), rng.randint(3, 5)
        asked.append((formats.list_question(rng, language, name, number, form), members, number, form))
    said = replies(answerer, [[Message("user", (Text(text),))] for text, *_ in asked], 60, "lists")
    results, misses = [], []
    for (text, members, number, form), reply in zip(asked, said, strict=True):
        is_right = reply.finish_reason == "stop" and is_listed(reply.text, members, number, form)
        results.append((form, is_right))
        if not is_right:
            misses.append((text, f"{number} of {', '.join(members[:8])}", reply.text[:120]))
    return score_of("lists", results, misses[:MAX_MISSES])
