"""What the tests of jobs share: jobs, stores of each kind, and failures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnishot_ray.jobs.memory_store import MemoryStore
from omnishot_ray.jobs.model import Failure, Job, Work
from omnishot_ray.jobs.redis_store import RedisStore
from omnishot_ray.jobs.sqlite_store import SqliteStore
from omnishot_ray.jobs.store import Store
from tests.redis_server import RedisServer

NOW = 1_800_000_000.0
LEASE_S = 15.0
PASSING = Failure("engine-unavailable", "No engine available", "Try again.", retryable=True)
LASTING = Failure("corrupt-image", "Image cannot be decoded", "It is broken.")
WORK = Work(({"name": "a", "width": 20}, {"name": "b", "width": 10}), digest="d" * 64)


def a_job(number: int = 1, **values: object) -> Job:
    """Jobs with rising numbers are made a second after each other."""
    given = {"created_at": NOW + number, "queued_at": NOW + number, "work": WORK, **values}
    return Job(id=f"{number:032x}", **given)  # type: ignore[arg-type]


@contextmanager
def a_store(kind: str, place: Path, redis: RedisServer | None = None) -> Iterator[Store]:
    """An empty store: `memory`, `sqlite` in a folder, or `redis`."""
    store: Store
    if kind == "memory":
        store = MemoryStore()
    elif kind == "sqlite":
        store = SqliteStore(place / "jobs.db")
    else:
        assert redis is not None
        store = RedisStore(redis.url)
        store._client.flushall()
    yield store
    store.close()
