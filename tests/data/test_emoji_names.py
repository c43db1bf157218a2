"""The choice: 400 things, names shortened by rule, and what the program would write again from its sources."""

import json
from pathlib import Path
from zipfile import ZipFile

import pytest

from puna.data import emoji_names
from puna.data.emoji import codes, inventory
from puna.data.emoji_names import CHOSEN_FLAGS, chosen_codes, code_of, flag_code, short_name
from puna.data.languages import LANGUAGES


@pytest.mark.parametrize(
    ("name", "language", "english", "short"),
    [
        ("rosto de lobo", "pt", "wolf", "lobo"),
        ("rosto de lobo", "pt", "wolf face", "rosto de lobo"),
        ("オオカミの顔", "ja", "wolf", "オオカミ"),
        ("लोमड़ी जैसा चेहरा", "hi", "fox", "लोमड़ी"),
        ("अंगूर, फल", "hi", "grapes", "अंगूर"),
        ("gâteau d’anniversaire", "fr", "birthday cake", "gâteau d'anniversaire"),
        ("cara de lobo", "de", "wolf", "cara de lobo"),
    ],
)
def test_names_are_shortened_by_rule(name: str, language: str, english: str, short: str) -> None:
    assert short_name(name, language, english) == short


def test_the_choice_file_holds_the_choice_in_order() -> None:
    assert tuple(chosen_codes()) == codes() and len(set(codes())) == 400
    assert codes("flag") == tuple(map(flag_code, CHOSEN_FLAGS)) and len(CHOSEN_FLAGS) == 80


def test_corrections_reach_the_file() -> None:
    rows = json.loads(Path(emoji_names._CORRECTIONS).read_text(encoding="utf-8"))
    for key, names in rows.items():
        code = flag_code(key) if key.isascii() else code_of(key)
        assert {language: inventory()[code].names[language] for language in names} == names


def test_the_file_is_made_from_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cat, smile = code_of("🐈"), code_of("😀")
    annotations = {code: {language: f"{kind}, or so" for language in LANGUAGES} for code, kind in ((cat, "a cat"), (smile, "a smile"))}
    annotations["1f468-200d-1f466"] = annotations[smile]
    (tmp_path / "names.json").write_text(json.dumps(annotations))
    (tmp_path / "lands.json").write_text(json.dumps({language: {"FR": "France", "NO": "Norway"} for language in LANGUAGES}))
    with ZipFile(tmp_path / "noto.zip", "w") as archive:
        archive.writestr(f"{smile}.png", b"")
        archive.writestr("1f468-200d-1f466.png", b"")
    files = {"emoji_names": "names.json", "territories_12": "lands.json", "emoji_noto_72": "noto.zip"}
    monkeypatch.setattr(emoji_names, "fetch", lambda name: tmp_path / files[name])
    monkeypatch.setattr(emoji_names, "CHOSEN", "🐈")
    monkeypatch.setattr(emoji_names, "CHOSEN_FLAGS", ("FR",))
    emoji_names._sources.cache_clear()
    written = json.loads(emoji_names.choice())
    everything = emoji_names.all_codes()
    emoji_names._sources.cache_clear()
    assert written[cat]["names"]["de"] == "a cat" and written[flag_code("FR")] == {
        "kind": "flag",
        "names": dict.fromkeys(LANGUAGES, "France"),
    }
    # The joined sequence is no base form; Norway has no picture.
    assert everything == [cat, flag_code("FR"), smile]
