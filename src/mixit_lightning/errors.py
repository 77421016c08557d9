"""The one exception that people are meant to read, and names as they can be shown to them."""

import re

FROM_LOADING = re.compile(r"Caught \w+ in DataLoader worker process.*\n(?:[\w.]+: )?", re.DOTALL)
"""What comes before the message, in the last line, of an error of a loading process: that process's traceback."""


class UserError(Exception):
    """Something given to the program is wrong: the message names the file, row or key, and what to do about it.

    Args:
        message: is kept as one line, see `visible`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(FROM_LOADING.sub("", message.strip())))


def visible(text: str) -> str:
    """A text in one line, with what cannot be seen as Python writes it: a name of a file may hold line breaks."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
