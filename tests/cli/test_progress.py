import io
import sys

import pytest

from puna.cli.progress import measured


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("patience", "is_terminal", "is_seen"), [(-1.0, True, True), (60.0, True, False), (-1.0, False, False)])
def test_a_bar_is_seen_on_a_terminal_once_patience_has_run_out(
    patience: float, is_terminal: bool, is_seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr("puna.cli.progress._PATIENCE_S", patience)
    monkeypatch.setenv("TERM", "xterm")
    with measured("writing") as tell:
        tell(1, 4)
        tell(2, 4)
    assert ("writing" in stderr.getvalue()) == is_seen
