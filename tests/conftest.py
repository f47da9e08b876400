"""What all tests share. The pictures are in `tests/corpus.py` and `tests/pictures.py`."""

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,  # the machine is shared; pytest-timeout bounds every test
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines are marked `anyio` and run on asyncio."""
    return "asyncio"
