"""The 12 languages of the nano herd, and what each calls the others. [ours] Knows no tasks and no files."""

LANGUAGES: tuple[str, ...] = ("en", "es", "fr", "de", "pt", "ru", "ar", "hi", "id", "ja", "ko", "zh")

# Column order = LANGUAGES. Each row: how that language names the twelve, in the form that the phrases of `phrases.py` need.
_NAMES: dict[str, str] = {
    "en": "English Spanish French German Portuguese Russian Arabic Hindi Indonesian Japanese Korean Chinese",
    "es": "inglés español francés alemán portugués ruso árabe hindi indonesio japonés coreano chino",
    "fr": "anglais espagnol français allemand portugais russe arabe hindi indonésien japonais coréen chinois",
    "de": "Englisch Spanisch Französisch Deutsch Portugiesisch Russisch Arabisch Hindi Indonesisch Japanisch Koreanisch Chinesisch",
    "pt": "inglês espanhol francês alemão português russo árabe hindi indonésio japonês coreano chinês",
    # Russian needs the adverb: "по-английски".
    "ru": "по-английски по-испански по-французски по-немецки по-португальски по-русски по-арабски на_хинди по-индонезийски"
    " по-японски по-корейски по-китайски",
    # Arabic needs the definite adjective that follows "اللغة".
    "ar": "الإنجليزية الإسبانية الفرنسية الألمانية البرتغالية الروسية العربية الهندية الإندونيسية اليابانية الكورية الصينية",
    "hi": "अंग्रेज़ी स्पेनिश फ़्रेंच जर्मन पुर्तगाली रूसी अरबी हिंदी इंडोनेशियाई जापानी कोरियाई चीनी",
    "id": "Inggris Spanyol Prancis Jerman Portugis Rusia Arab Hindi Indonesia Jepang Korea Tionghoa",
    "ja": "英語 スペイン語 フランス語 ドイツ語 ポルトガル語 ロシア語 アラビア語 ヒンディー語 インドネシア語 日本語 韓国語 中国語",
    "ko": "영어 스페인어 프랑스어 독일어 포르투갈어 러시아어 아랍어 힌디어 인도네시아어 일본어 한국어 중국어",
    "zh": "英语 西班牙语 法语 德语 葡萄牙语 俄语 阿拉伯语 印地语 印尼语 日语 韩语 中文",
}

LANGUAGE_NAMES: dict[str, dict[str, str]] = {
    speaker: dict(zip(LANGUAGES, (name.replace("_", " ") for name in row.split()), strict=True)) for speaker, row in _NAMES.items()
}
"""`LANGUAGE_NAMES[speaker][target]`: what a speaker of `speaker` calls `target`."""
