"""Texts and tokenizers that the tests of this room share. The corpus is written here: twelve languages, code, and odd spacing."""

import random

import pytest

from puna.testing.tokenizer import byte_tokenizer
from puna.tokens.bpe import Tokenizer
from puna.tokens.train import train_tokenizer

SENTENCES = [
    "The llama stood on the high plain, and the wind didn't move it; nobody's shepherd would've dared.",
    "Les lamas n'aiment pas qu'on les presse : à l'aube, ils s'arrêtent près du ruisseau gelé.",
    "Über der Hochebene kreisten große Vögel, während die Straße im Süden völlig leer blieb.",
    "¿Quién dijo que la puna es un desierto? Allí crecen el ichu, la yareta y muchísimas flores pequeñas.",
    "Il pastore contò gli animali più volte: erano ventitré, perché uno s'era già perso.",
    "A manhã começou fria; às sete horas, porém, o sol já aquecia as pedras do vulcão.",
    "Hewan itu berjalan perlahan-lahan menuju danau, lalu minum sebanyak-banyaknya.",
    "Con lạc đà không bướu đứng nhìn đàn chim bay qua những ngọn núi phủ tuyết trắng xoá.",
    "ยามาตัวเล็กเดินตามแม่ของมันไปที่ทะเลสาบบนภูเขาสูง แล้วหยุดพักใต้ต้นไม้",
    "पहाड़ की ठंडी हवा में ऊँट जैसे जानवर धीरे-धीरे चल रहे थे और बच्चे हँस रहे थे।",
    "وقف القطيعُ عند البحيرةِ، وشَرِبَ الماءَ البارد ثم عاد إلى السهل قبل الغروب.",
    "Naglakad ang mga hayop patungo sa lawa habang ang mga bata'y nagtatawanan sa ilalim ng araw.",
    "高原の朝はとても静かで、リャマの足音だけが聞こえた。牧人说：今天会下雪吗？라마는 대답하지 않았다.",
    "Высоко в горах ЛАМЫ щиплют траву; Ёж спит. Ψηλά στα βουνά ο άνεμος φυσάει. ΚΑΛΗΜΕΡΑ!",
]

CODE = [
    'def steps(n: int) -> list[int]:\n\treturn [k**2 for k in range(n) if k % 3 != 0]  # squares\n\n\nprint(steps(10), "ok\\n")\n',
    '{"name": "get_weather", "arguments": {"city": "La Paz", "days": [1, 2.5e-3, null]}}\r\n\r\n<a href="https://example.org/x?y=1&z=%20#q">',
    "SELECT * FROM llamas WHERE height_m>=3600 AND name LIKE '%a'; -- 0x1F 1234567890 3.14159 1,000,000",
    "camelCaseAndHTTPServer2Go IT'S it'S WE'LL we'Ll ſ'ſ l'l 'tis ''re'",
]

ODD = [
    "",
    " ",
    "\n",
    "\r\n \r\n\t\n  x",
    "  leading  spaces\t\n\n",
    "trailing   ",
    "a\u00a0b\u2003c\u3000d\u200be\u2028f\u2029g\x85h\x1ci\x0bj\x0ck",
    "\x00\x01\x7f\u00ad\ufeff\ufffd\ufffe",
    "é e\u0301 \u0301 ﬁ ǅ ª ʰ Ⅷ ½ ٣٤٥٦ १२३४",
    "🙂🙃👩🏽‍🚀🇵🇪🏳️‍🌈 ♥︎ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𓀀𐍈",
    "<|begin_of_text|><|eot|><|header_start|>assistant<|header_end|>\n\n<|image|><|patch|> <|EOT|> <| eot |>",
    "!!!???...///\n///---***```~~~ \\n\\t [[[ ]]] {{{ }}} ((( )))",
    "a" * 300 + " " * 300 + "\n" * 50 + "ab" * 200 + "\t" * 40 + "=" * 500,
]

_POOLS = [
    "abc ABC xyz",
    " \t\n\r\u00a0\u2009\u3000\x85",
    "0123456789٠१½Ⅷ",
    ".,;:!?/\\'\"()[]{}<>|@#$%^&*-_=+~`",
    "éüßñçøåœ ÀÉÎÕÜ ſıİ",
    "абвгдЖЗИ αβγΔΩ ςσ",
    "नमस्तेकि ำไทยกู้ مَرْحَبًا עִבְרִית",
    "漢字かなカナ한글 ㄱ",
    "🙂👩🏽‍🚀🇵🇪️\u200d\u0301\u0327",
    "\x00\x1b\ufeff\ufffd\U0010ffff\U000e0041",
    "'s 't 're 've 'm 'll 'd 'S 'LL",
    "<|eot|><|image|>",
]


def random_texts(count: int, seed: int) -> list[str]:
    """Strings that mix scripts, marks and spaces at random; the same ones for the same seed."""
    chance = random.Random(seed)
    texts = []
    for _ in range(count):
        pools = chance.sample(_POOLS, chance.randint(1, 4))
        pieces = []
        for _ in range(chance.randint(0, 25)):
            pool = chance.choice(pools)
            pieces.append(chance.choice(pool) * chance.choice((1, 1, 1, 1, 2, 3, 7)))
        texts.append("".join(pieces))
    return texts


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    return [*SENTENCES, *CODE, *ODD, *random_texts(600, seed=4)]


@pytest.fixture(scope="session")
def trained() -> Tokenizer:
    """A vocabulary of 700 ids learned from the corpus: small, with merges in every script."""
    return train_tokenizer([*SENTENCES, *CODE] * 2, 700)


@pytest.fixture(scope="session")
def spelled() -> Tokenizer:
    """One id a byte."""
    return byte_tokenizer()
