"""Korean first sentences that define their title."""

import random
from pathlib import Path

from puna.data.definitions import definition, definition_turn, definitions


def test_only_short_definitions_of_the_title_are_kept() -> None:
    assert definition("사과", "사과(沙果)는 사과나무에서 자라는 둥근 과일이다. 맛이 좋다.") == "사과는 사과나무에서 자라는 둥근 과일이다."
    assert definition("사과", "둥근 과일인 사과는 나무에서 자란다.") is None
    assert definition("홍길동", "홍길동은 1950년에 태어난 대한민국의 가수이다.") is None
    assert definition("Apple", "Apple은 미국의 회사이다.") is None


def test_a_turn_asks_for_a_title_and_answers_with_its_sentence(data: Path) -> None:
    assert {title for title, _ in definitions()} <= {"사과", "포도"} and definitions()
    question, answer = definition_turn(random.Random(0))
    assert answer.startswith(question[:2]) and answer.endswith("과일이다.")
