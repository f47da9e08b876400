"""The whole HTTP face in this process, with the real engine behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import Optimizer
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.sources import Sources
from tests.contract.checks import CheckedClient
from tests.web import Web

Serve = Callable[..., CheckedClient]


@pytest.fixture(scope="session")
def client() -> Iterator[CheckedClient]:
    """A client of the application as it is by default, on an Internet where there is nobody."""
    sources = Sources(FetchConfig(), StorageConfig(), Web().resolve)
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), None, sources)
    with CheckedClient(app) as client:
        yield client
        assert client.portal is not None
        client.portal.call(sources.close)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes a client of an application with another optimizer or configuration."""
    with ExitStack() as stack:

        def make(optimizer: Optimizer | None = None, **config: object) -> CheckedClient:
            api = ApiConfig(**config)  # type: ignore[arg-type]
            app = create_app(optimizer or LocalOptimizer(Limits()), api)
            return stack.enter_context(CheckedClient(app))

        yield make
