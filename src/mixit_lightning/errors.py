"""The one exception that people are meant to read."""


class UserError(Exception):
    """Something given to the program is wrong: the message names the file, row or key, and what to do about it."""
