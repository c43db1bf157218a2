"""The line before the model: how many requests may be in the house, answered or waiting. Knows nothing of HTTP but the 429 and 503.

A ticket is a place in the line. It is taken before a request's body is read, so that the line also bounds memory, and given back when the
answer's work is done, not when the client has read it.
"""

from puna.serve.errors import ApiError


class FullLineError(ApiError):
    """429: as many wait as may. A kind of its own, since some APIs tell it from a client that asks too often."""


class Ticket:
    """A place in the line. Giving it back twice is harmless."""

    def __init__(self, line: "Line") -> None:
        self._line: Line | None = line

    def give_back(self) -> None:
        if self._line is not None:
            self._line.in_flight -= 1
            self._line = None


class Line:
    """`answering` requests are answered at once, as many as the engine has streams, and `waiting` more may be here."""

    def __init__(self, answering: int, waiting: int) -> None:
        self.answering, self.waiting = answering, waiting
        self.in_flight = 0
        self.is_closed = False

    def ticket(self) -> Ticket:
        """Raises 503 once the line is closed, and 429 while it is full."""
        if self.is_closed:
            raise closing()
        if self.in_flight >= self.answering + self.waiting:
            message = f"{self.answering} answers are being written and {self.waiting} requests wait, as many as may; try again in a moment"
            raise FullLineError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers={"Retry-After": "2"})
        self.in_flight += 1
        return Ticket(self)


def closing() -> ApiError:
    """What is told to whom a server that is going down cannot answer any more."""
    message = "this server is shutting down; send the request again, to another one or later"
    return ApiError(503, message, type="server_error", code="shutting_down", headers={"Retry-After": "5"})
