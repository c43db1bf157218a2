"""The two mistakes that a caller can make in this room."""


class TokenizerError(ValueError):
    """A vocabulary that cannot be read or written, or an id that it does not have."""


class ChatError(ValueError):
    """A conversation that cannot be written. The message names the part, its value, the rule and the way out."""
