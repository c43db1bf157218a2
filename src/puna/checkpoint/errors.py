"""The one error of this room."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written as asked. The message names the file, what was found in it, and the rule."""
