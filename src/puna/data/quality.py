"""Which texts are worth reading: rules a text must pass, each with its threshold and its reason, after cleaning and before packing.

The rules look at what is cheap to count: scripts, function words, symbols, repeated lines and phrases. They are made to drop what is
surely not prose in the claimed language, not to rank prose. [ours, after the rules of Gopher, paper: arXiv:2112.11446]
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from puna.data.words import (
    ARABIC,
    CLASSES,
    CYRILLIC,
    DEVANAGARI,
    DIGIT,
    HAN,
    HANGUL,
    KANA,
    LATIN,
    OTHER,
    SPACE,
    SYMBOL,
    Runs,
    Words,
    word_hash,
)

REASONS: dict[str, str] = {
    "wrong_script": "too few of its letters are in the language's script: untranslated, or a list of foreign names",
    "symbols": "too many symbols and digits: tables, code, link lists",
    "few_function_words": "hardly any of the language's commonest words: no sentences, or another language",
    "other_language": "the commonest words of another language are more frequent than its own",
    "repeated_lines": "too much of it stands in lines that came before",
    "repeated_phrases": "too many of its runs of words came before",
}

# The share of letters that must be in the language's own script. Names, code words and quotations are often Latin, so that a half
# is asked for outside Latin scripts; a Japanese page has kana besides.
_SCRIPTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("en", "es", "fr", "de", "pt", "id"), (LATIN,)),
    **{"ru": (CYRILLIC,), "ar": (ARABIC,), "hi": (DEVANAGARI,), "ja": (KANA, HAN), "ko": (HANGUL, HAN), "zh": (HAN,)},
}
_MIN_LATIN_SHARE = 0.8
_MIN_SCRIPT_SHARE = 0.5
# An ideograph, a kana or a Korean syllable says about as much as two letters, and counts as two.
_LETTER_WEIGHTS = np.array([2.0 if kind in (HANGUL, KANA, HAN) else 1.0 for kind in range(len(CLASSES))])
# Japanese without kana is Chinese or a list; Chinese with much kana is Japanese.
_MIN_KANA_SHARE, _MAX_KANA_SHARE = 0.1, 0.1
# Prose has one or two marks a clause: 3 to 8 % in all 12 languages. Numbers are counted at half: years and amounts are part of prose.
_MAX_SYMBOL_SHARE = 0.25
# Running prose has 25 to 50 % function words by these lists; tables of results and lists of names have almost none. Below this
# many words a text is too short to tell.
_MIN_FUNCTION_SHARE = 0.06
# Arabic and Indonesian write part of theirs as parts of words.
_MIN_FUNCTION_SHARES = {"ar": 0.04, "id": 0.04}
_MIN_WORDS_TO_JUDGE = 30
# Gopher: more than 30 % of the characters in repeated lines; for phrases, runs of five words.
_MAX_REPEATED_LINES = 0.3
_MAX_REPEATED_PHRASES = 0.3
PHRASE_WORDS = 5

# The commonest words that carry no topic. Words that two of these languages share (de, a, no) stand in neither list, so that each
# list tells its language; Korean particles are endings, and Japanese and Chinese are told by their script.
FUNCTION_WORDS: dict[str, str] = {
    "en": "the of and to is was for that it with by from are were this which be have has had you they their his her at an or but not can",
    "es": "el la los las y en del que una con por su sus es lo como más pero se al le ha está fue son sobre este esta muy ya cuando",
    "fr": "le les et des du dans est une pour que qui au aux sur par avec il elle ne pas ce cette ses sont nous vous je plus ou mais était",
    "de": "der die und das den von zu mit sich des auf für ist im dem nicht ein eine als auch es er sie aus bei wird war nach sind oder",
    "pt": "o os e do da dos das em no na um uma que com para por não se ao mais como seu sua foi mas ele ela é são você está pela pelo",
    "ru": "и в не на что с он как это по но из к у я его то за от же для так она был был был были или мы вы все при если также",
    "ar": "في من على إلى أن هذا هذه التي الذي عن مع كان لا ما هو هي أو ثم قد لم كل بين ذلك بعد كما عند إذا يمكن حتى لقد",
    "hi": "के का की में है और को से पर यह एक हैं था कि ने भी नहीं वह तो इस कर थे जो लिए आप हो या था। ही साथ",
    "id": "yang dan di untuk dengan dari ini itu pada tidak dalam adalah akan ke atau juga oleh saya anda dia ada bisa telah dapat mereka",
}


@cache
def _function_hashes() -> dict[str, np.ndarray]:
    """Sorted word hashes of each language's function words."""
    return {language: np.unique([word_hash(word) for word in words.split()]) for language, words in FUNCTION_WORDS.items()}


def _count_of(words: Words, language: str) -> np.ndarray:
    """How many function words of `language` stand in each text, int64 [texts]."""
    wanted = _function_hashes()[language]
    place = np.minimum(np.searchsorted(wanted, words.hashes), len(wanted) - 1)
    return np.bincount(words.text[wanted[place] == words.hashes], minlength=words.num_texts)


def _repeated_line_share(text: str) -> float:
    """Share of the characters that stand in lines seen before. Lines of a word or two (list marks, speakers) do not count."""
    seen: set[str] = set()
    repeated = 0
    for line in text.split("\n"):
        if len(line) > 20:
            repeated += len(line) if line in seen else 0
            seen.add(line)
    return repeated / max(1, len(text))


def _repeated_phrase_share(words: Words, runs: Runs) -> np.ndarray:
    """Share of each text's runs of `PHRASE_WORDS` words that came before in it, float [texts]."""
    hashes, text = runs.of(PHRASE_WORDS)
    total = np.bincount(text, minlength=words.num_texts)
    # 20 bits of text and 44 of hash in one number: a sort of numbers is several times as fast as one of pairs.
    distinct = np.unique((text.astype(np.uint64) << np.uint64(44)) | (hashes >> np.uint64(20))) >> np.uint64(44)
    return 1 - np.bincount(distinct.astype(np.int64), minlength=words.num_texts) / np.maximum(total, 1)


def judge(texts: Sequence[str], language: str, words: Words, runs: Runs) -> list[str]:
    """For each text the first rule that it breaks, or "". `words` and `runs` are those of `texts`; all are in `language`."""
    counts, num_words = words.classes, words.per_text()
    weighed = counts * _LETTER_WEIGHTS
    letters = np.maximum(weighed[:, LATIN : OTHER + 1].sum(axis=1), 1)
    own = weighed[:, list(_SCRIPTS[language])].sum(axis=1) / letters
    is_latin = _SCRIPTS[language] == (LATIN,)
    wrong = own < (_MIN_LATIN_SHARE if is_latin else _MIN_SCRIPT_SHARE)
    kana = weighed[:, KANA] / letters
    if language == "ja":
        wrong |= kana < _MIN_KANA_SHARE
    if language == "zh":
        wrong |= kana > _MAX_KANA_SHARE
    written = np.maximum(counts.sum(axis=1) - counts[:, SPACE], 1)
    symbols = (counts[:, SYMBOL] + 0.5 * counts[:, DIGIT]) / written > _MAX_SYMBOL_SHARE

    few = other = np.zeros(words.num_texts, dtype=bool)
    if language in FUNCTION_WORDS:
        is_long = num_words >= _MIN_WORDS_TO_JUDGE
        mine = _count_of(words, language)
        few = is_long & (mine < _MIN_FUNCTION_SHARES.get(language, _MIN_FUNCTION_SHARE) * num_words)
        if is_latin:
            rivals = [_count_of(words, rival) for rival in FUNCTION_WORDS if rival != language and _SCRIPTS[rival] == (LATIN,)]
            other = is_long & (np.max(rivals, axis=0) > mine)

    phrases = (_repeated_phrase_share(words, runs) > _MAX_REPEATED_PHRASES) & (num_words >= _MIN_WORDS_TO_JUDGE)
    verdicts = {"wrong_script": wrong, "symbols": symbols, "other_language": other, "few_function_words": few, "repeated_phrases": phrases}
    reasons = [""] * len(texts)
    for reason, is_bad in reversed(verdicts.items()):
        for place in np.flatnonzero(is_bad):
            reasons[place] = reason
    return [
        reason or ("repeated_lines" if _repeated_line_share(text) > _MAX_REPEATED_LINES else "")
        for reason, text in zip(reasons, texts, strict=True)
    ]
