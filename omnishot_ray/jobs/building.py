"""The parts of the jobs as the settings want them. Nothing is opened before its first use."""

from dataclasses import dataclass, field
from pathlib import Path

from omnishot_ray.imaging.limits import Limits
from omnishot_ray.jobs.attempt import Engine
from omnishot_ray.jobs.config import JobsConfig
from omnishot_ray.jobs.runner import Runner, Stores
from omnishot_ray.jobs.service import Jobs
from omnishot_ray.jobs.store import Store
from omnishot_ray.jobs.webhooks import WebhookConfig, Webhooks
from omnishot_ray.metrics.query import Metrics
from omnishot_ray.storage.blobs import Blobs
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.outputs import Outputs
from omnishot_ray.storage.sources import Sources


@dataclass(frozen=True, slots=True)
class JobSettings:
    """All that the jobs are set by."""

    jobs: JobsConfig = field(default_factory=JobsConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    fetch: FetchConfig = field(default_factory=FetchConfig)
    webhooks: WebhookConfig = field(default_factory=WebhookConfig)


def build_jobs(settings: JobSettings) -> Jobs:
    """The service of a gateway."""
    stores = build_stores(settings.jobs, settings.storage, settings.fetch)
    return Jobs(stores, Webhooks(settings.webhooks, settings.fetch), settings.jobs)


def build_runner(
    settings: JobSettings, engine: Engine, limits: Limits, metrics: Metrics | None = None
) -> Runner:
    """A runner for an engine."""
    stores = build_stores(settings.jobs, settings.storage, settings.fetch)
    webhooks = Webhooks(settings.webhooks, settings.fetch)
    most = settings.webhooks.max_attempts
    return Runner(stores, engine, settings.jobs, limits, webhooks, most, metrics)


def build_stores(jobs: JobsConfig, storage: StorageConfig, fetch: FetchConfig) -> Stores:
    """Where jobs, their bytes and their outputs are."""
    folder = Path(jobs.dir).expanduser().absolute()
    return Stores(
        build_store(jobs, folder),
        Blobs(jobs.blobs_uri or (folder / "blobs").as_uri()),
        Sources(fetch, storage),
        Outputs(storage),
    )


def build_store(config: JobsConfig, folder: Path) -> Store:
    """Redis where it is set, else SQLite in a folder."""
    rules = (config.ageing_s, config.max_waiting, config.key_life_s)
    if config.redis_url:
        # 110 ms and 7 MB: only for who uses it.
        from omnishot_ray.jobs.redis_store import RedisStore  # noqa: PLC0415

        return RedisStore(config.redis_url, *rules)
    from omnishot_ray.jobs.sqlite_store import SqliteStore  # noqa: PLC0415

    return SqliteStore(folder / "jobs.db", *rules)
