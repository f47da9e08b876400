from collections.abc import Iterator

import pytest

from tests.integration.service import Service, start_service


@pytest.fixture(scope="package")
def service() -> Iterator[Service]:
    """One service for the tests of this folder. 20 ms part the lanes, so both are used."""
    running = start_service(environment={"OMNISHOT_DISPATCH__INLINE_MS": "20"})
    yield running
    running.stop()
