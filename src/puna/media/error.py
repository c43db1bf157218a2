"""The errors of the media room: `MediaError`, and `FetchError` for what comes from an address."""

from typing import Literal

FetchCode = Literal[
    "fetch_disabled",  # nothing is fetched at all
    "bad_url",  # not an http(s) address, or one with parts that are refused, such as a password
    "scheme_refused",
    "host_refused",
    "port_refused",
    "address_refused",  # the host is, or resolves to, an address that is not public
    "redirect_refused",  # a redirect without a usable target, or from https to http
    "too_many_redirects",
    "unresolvable",
    "unreachable",
    "tls_failed",
    "timeout",
    "busy",  # too many fetches at once: the one that a caller may try again soon
    "bad_status",
    "bad_response",  # not HTTP, or cut off
    "bad_encoding",  # compressed although it was asked not to be
    "too_large",
    "file_refused",  # a file: URL outside the media root, or not a plain file
    "file_missing",
]


class MediaError(ValueError):
    """A picture that cannot be used. The message names what it is about, the value, the rule and the way out, in one sentence."""


class FetchError(MediaError):
    """Media that could not be had from its address. `code` says why to a program.

    The message names the host and the rule. It never holds what a server answered, an address that a name resolved to, or the path and
    query of a URL: the first two would let a stranger look into the server's network, and the last often carries a signature.
    """

    def __init__(self, message: str, code: FetchCode) -> None:
        super().__init__(message)
        self.code: FetchCode = code
