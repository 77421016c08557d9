from collections.abc import Iterator

import pytest

from .worker import Worker


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """The process that runs commands."""
    worker = Worker()
    yield worker
    worker.close()
