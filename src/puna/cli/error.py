"""Mistakes that only the command line can see."""


class UserError(ValueError):
    """An argument, a line or a file that cannot be used. The message names it, its value, the rule and the way out."""
