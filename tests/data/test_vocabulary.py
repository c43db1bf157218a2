"""What a vocabulary is learned from: drills of all languages, digits apart."""

import re
from pathlib import Path

from puna.data.languages import LANGUAGES
from puna.data.lexicon import words
from puna.data.vocabulary import drill_texts, tokenizer_texts
from puna.tokens.train import train_tokenizer


def test_no_two_digits_become_one_token(data: Path) -> None:
    prose = ["In 1990 and 1990 there were 20 of 20 and 12 of 12.", "年は2020年と2020年。"] * 50
    texts = list(tokenizer_texts(prose))
    assert not any(re.search(r"\d\d", text) for text in texts)
    tokenizer = train_tokenizer([*texts[:110], *texts[-500:]], 2048)
    for number in ("27", "1990", "2020"):
        ids = tokenizer.encode(number)
        assert len(ids) == len(number) and tokenizer.decode(ids) == number
    assert len(tokenizer.encode("there were")) < 5


def test_every_word_of_the_lexicon_is_in_the_drills(data: Path) -> None:
    lines = set(next(iter(drill_texts())).split("\n"))
    assert all(word.names[language] in lines for word in words() for language in LANGUAGES)
