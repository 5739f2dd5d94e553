from __future__ import annotations

import pytest

from isthmus import Space
from tests.retrieval.crowd import make_crowd


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Space:
    """A space that tests only read: see `tests.retrieval.crowd`."""
    return make_crowd(tmp_path_factory.mktemp("crowd"))
