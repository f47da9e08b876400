"""What the tests of jobs share: jobs, stores of each kind, and failures."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import Result
from omnishot_ray.jobs.attempt import Engine
from omnishot_ray.jobs.building import build_stores
from omnishot_ray.jobs.config import JobsConfig
from omnishot_ray.jobs.memory_store import MemoryStore
from omnishot_ray.jobs.model import Failure, Job, Work
from omnishot_ray.jobs.redis_store import RedisStore
from omnishot_ray.jobs.runner import Runner
from omnishot_ray.jobs.service import Jobs
from omnishot_ray.jobs.sqlite_store import SqliteStore
from omnishot_ray.jobs.store import Store
from omnishot_ray.jobs.threads import Threads
from omnishot_ray.jobs.webhooks import WebhookConfig, Webhooks
from omnishot_ray.metrics.query import Metrics
from omnishot_ray.protocol import ImageTask, run_task
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.sources import Sources
from tests.redis_server import RedisServer

NOW = 1_800_000_000.0
LEASE_S = 15.0
SECRET = "whsec_" + "c2VjcmV0" * 5
PASSING = Failure("upstream-failed", "Source failed", "Try again.", retryable=True)
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


class LocalEngine:
    """Does the work of a runner in threads of this process."""

    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self._threads = Threads(slots, "engine")
        self.tasks: list[ImageTask] = []

    async def run(self, task: ImageTask, limit_s: float) -> Result | OmnishotError:
        self.tasks.append(task)
        return await self._threads.run(lambda: run_task(task, Limits()))


class Workshop:
    """A store, its bytes, and the service in front of them, all of it below one folder."""

    def __init__(self, place: Path, store: Store | None = None, **config: Any) -> None:
        storage = StorageConfig(output_roots=((place / "out").as_uri(),))
        fetch = FetchConfig(allow=("127.0.0.1",), ports=(80, 443, *range(1024, 65536)))
        self.fetch = fetch
        self.config = JobsConfig(dir=str(place), **{"poll_s": 0.02, "lease_s": 2.0, **config})
        self.stores = build_stores(self.config, storage, fetch)
        if store is not None:
            self.stores = replace(self.stores, store=store)
        self.webhook_config = WebhookConfig(secrets=(SECRET,), backoff_s=0.05)
        self.jobs = Jobs(self.stores, Webhooks(self.webhook_config, fetch), self.config)

    def runner(self, engine: Engine, metrics: Metrics | None = None) -> Runner:
        sources = Sources(self.fetch, StorageConfig())  # for one event loop only
        return Runner(
            replace(self.stores, sources=sources),
            engine,
            self.config,
            Limits(),
            Webhooks(self.webhook_config, self.fetch),
            metrics=metrics,
        )

    @contextmanager
    def working(
        self, engine: Engine | None = None, metrics: Metrics | None = None
    ) -> Iterator[Runner]:
        """A runner in a thread of its own."""
        ready: queue.Queue[tuple[Runner, asyncio.Event, asyncio.AbstractEventLoop]] = queue.Queue()

        async def work() -> None:
            runner, end = self.runner(engine or LocalEngine(), metrics), asyncio.Event()
            ready.put((runner, end, asyncio.get_running_loop()))
            running = asyncio.create_task(runner.run())
            await end.wait()
            await runner.stop()
            assert running.done()

        thread = threading.Thread(target=lambda: asyncio.run(work()))
        thread.start()
        runner, end, loop = ready.get(timeout=10)
        try:
            yield runner
        finally:
            loop.call_soon_threadsafe(end.set)
            thread.join(timeout=20)
            assert not thread.is_alive()
