"""Signs of life on standard error while something takes longer than a moment. Silent unless a person is watching."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

_PATIENCE_S = 2.0


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner with the seconds so far, gone without trace when the block ends."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(what, total=None)
        yield


@contextmanager
def measured(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that says how far it is, by calling what is given with (done, total); it appears once two seconds have passed."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    began = monotonic()
    progress = Progress(console=Console(stderr=True), transient=True)
    task = progress.add_task(what, total=None)

    def tell(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)
        if monotonic() - began > _PATIENCE_S:
            progress.start()  # again and again does no harm

    try:
        yield tell
    finally:
        progress.stop()
