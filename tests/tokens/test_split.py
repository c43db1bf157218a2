"""Cutting long inputs. That the pattern and the cuts equal Meta's is tested in `test_against_meta.py`."""

import pytest

from puna.tokens.split import MAX_RUN, MAX_WINDOW, windows

LONG = [
    "x" * (3 * MAX_RUN + 5),
    " " * (MAX_RUN + 1),
    "a b " + "y" * MAX_RUN + " " * (MAX_RUN + 1) + "z" * (2 * MAX_RUN),
    "word " * (MAX_WINDOW // 4),
    "w" * (MAX_WINDOW + 1),
]


@pytest.mark.parametrize("text", ["", "a", "a b", *LONG], ids=lambda text: f"{len(text)} characters")
def test_the_windows_join_to_the_text(text):
    assert "".join(windows(text)) == text


def test_a_run_is_cut_only_beyond_25000_characters():
    assert len(list(windows("x" * MAX_RUN))) == 1
    assert [len(window) for window in windows("x" * (MAX_RUN + 1))] == [MAX_RUN, 1]


def test_a_change_between_space_and_text_starts_a_new_run():
    assert len(list(windows(("x" * MAX_RUN + " " * MAX_RUN) * 3))) == 1


def test_no_window_is_longer_than_400000_characters():
    assert [len(window) for window in windows("word " * 100_000)] == [MAX_WINDOW, 100_000]
