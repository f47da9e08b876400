from collections.abc import Iterator

import pytest

from tests.integration.pictures import PictureServer
from tests.integration.service import Service, start_service


@pytest.fixture(scope="package")
def pictures() -> Iterator[PictureServer]:
    """A web server of pictures, which the service may ask."""
    server = PictureServer()
    yield server
    server.stop()


@pytest.fixture(scope="package")
def service(pictures: PictureServer) -> Iterator[Service]:
    """One service for the tests of this folder. 20 ms part the lanes, so both are used."""
    running = start_service(
        environment={
            "OMNISHOT_DISPATCH__INLINE_MS": "20",
            "OMNISHOT_FETCH__ALLOW": f"127.0.0.1:{pictures.port}",
        }
    )
    yield running
    running.stop()
