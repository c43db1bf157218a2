"""For tests that configure the log: afterwards every logger is as it was."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loggers_restored() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("puna")]
    before = [(logger, list(logger.handlers), logger.level) for logger in loggers]
    try:
        yield
    finally:
        for logger, handlers, level in before:
            logger.handlers[:] = handlers
            logger.setLevel(level)
