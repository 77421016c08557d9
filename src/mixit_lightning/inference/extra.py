"""Packages that only sharing needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError


@contextmanager
def share_packages() -> Iterator[None]:
    """Import packages of the extra `share` within this.

    Raises:
        UserError: one is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"the package {error.name} is missing; pip install -e '.[share]'") from error
