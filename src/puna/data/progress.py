"""Signs of life of long work on data: bars while a person is watching, else one line for each thing done. On standard error."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TransferSpeedColumn

_WORTH_A_LINE_S = 2.0


class Bars:
    """`advance(what, done, total)` as often as there is news, in bytes; `close` of a thing happens when done reaches total."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn()
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, line: str) -> None:
        """One line that stays."""
        if self._progress is not None:
            self._progress.console.print(line, highlight=False, markup=False)
        elif not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def advance(self, what: str, done: int, total: int) -> None:
        if what not in self._started:
            self._started[what] = time.monotonic()
            if self._progress is not None:
                self._tasks[what] = self._progress.add_task(what, total=total)
        if self._progress is not None:
            self._progress.update(self._tasks[what], completed=done, total=total)
        elif not self._quiet and done >= total and (took := time.monotonic() - self._started[what]) > _WORTH_A_LINE_S:
            print(f"{what}: {total / 1e6:.1f} MB in {took:.0f} s", file=sys.stderr, flush=True)
