"""The runner of jobs as a Serve replica: one, which Serve's controller starts anew when it dies.

It takes 110 MB, so there is none while there is nothing to do. Serve scales a deployment by the
calls that are open, from none too, and the first of the gateways keeps one open while the store has
work. It looks there for it, so that all is found: of other gateways, and of before a crash.
"""

import asyncio
import logging
import secrets

from ray.serve.handle import DeploymentHandle

from omnishot_ray.cache.quarantine import Quarantine
from omnishot_ray.errors import StorageUnavailable
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.jobs.building import JobSettings, build_runner
from omnishot_ray.jobs.service import Jobs
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.serving.census import find_place
from omnishot_ray.serving.job_engine import PoolEngine
from omnishot_ray.serving.metrics_client import HubMetrics
from omnishot_ray.serving.parcels import Hatch
from omnishot_ray.serving.pool import ReplicaPool
from omnishot_ray.serving.resizer import Resizer
from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.logs import configure_logs

logger = logging.getLogger(__name__)

_LOOK_S = 0.5
"""How often is looked for work while there is none."""
_STAY_S = 2.0
"""How long a call is open: as long may the end of a runner take."""


class JobRunner:
    """Holds nothing that is not in the store: killed at any point, it goes on where it was."""

    def __init__(
        self,
        resizers: DeploymentHandle[Resizer],
        settings: JobSettings,
        limits: Limits,
        node_dir: str,
        metrics: MetricsConfig,
        logs: LogConfig,
    ) -> None:
        name = f"runner-{secrets.token_hex(4)}"
        configure_logs(logs, name)
        watched = HubMetrics(name, metrics, logs) if metrics.enabled else None
        if watched:
            watched.start("runner")
        pool = ReplicaPool(resizers, Hatch(node_dir))
        engine = PoolEngine(pool, settings.jobs.share, Quarantine(node_dir))
        self._runner = build_runner(settings, engine, limits, watched)
        self._running = asyncio.get_running_loop().create_task(self._runner.run())

    async def check_health(self) -> None:
        """Raise when the runner has ended, so that Serve starts another."""
        if self._running.done():
            raise RuntimeError("the runner of jobs has ended")

    async def stay(self) -> None:
        """Take a moment, in which Serve counts a call."""
        await asyncio.sleep(_STAY_S)

    async def __del__(self) -> None:
        """Give back what is at work; Serve awaits this when it ends a replica in peace."""
        await self._runner.stop()


async def keep_running(runner: DeploymentHandle[JobRunner], jobs: Jobs) -> None:
    """Have a runner while there is work for one, if this is the first gateway. Goes on for good."""
    while True:
        place = find_place()
        try:
            if place and place.rank == 0 and await jobs.has_work():
                await runner.stay.remote()
                continue
        except StorageUnavailable:
            pass  # which a runner could not reach either
        except Exception:  # of Ray, while replicas come and go
            logger.warning("the runner of jobs did not answer", exc_info=True)
        await asyncio.sleep(_LOOK_S)
