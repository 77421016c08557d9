"""What no file may bring to run."""

SPRUNG = []


def spring(*args, **kwargs):
    SPRUNG.append((args, kwargs))


class Trap:
    """Springs where it is unpickled."""

    def __reduce__(self):
        return spring, ("unpickled",)
