"""The whole HTTP face in this process, with the real engine behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import Optimizer
from tests.contract.checks import CheckedClient

Serve = Callable[..., CheckedClient]


@pytest.fixture(scope="session")
def client() -> Iterator[CheckedClient]:
    """A client of the application as it is by default."""
    with CheckedClient(create_app(LocalOptimizer(Limits()), ApiConfig())) as client:
        yield client


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Makes a client of an application with another optimizer or configuration."""
    with ExitStack() as stack:

        def make(optimizer: Optimizer | None = None, **config: object) -> CheckedClient:
            api = ApiConfig(**config)  # type: ignore[arg-type]
            app = create_app(optimizer or LocalOptimizer(Limits()), api)
            return stack.enter_context(CheckedClient(app))

        yield make
