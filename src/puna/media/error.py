"""The one error of the media room."""


class MediaError(ValueError):
    """A picture that cannot be used. The message names what it is about, the value, the rule and the way out, in one sentence."""
