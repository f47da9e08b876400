"""Jobs on the pool: a share of the replicas, work stopped at a job's own limit. Knows no Ray."""

import logging
import math

from omnishot_ray.cache.quarantine import Quarantine
from omnishot_ray.errors import EngineUnavailable, OmnishotError, Quarantined, TaskTimeout
from omnishot_ray.imaging.pipeline import Result
from omnishot_ray.protocol import ImageTask
from omnishot_ray.serving.dispatch import Pool, ReplicaLost

logger = logging.getLogger(__name__)

_TRIES = 3


class PoolEngine:
    """The `Engine` of a runner. Never more than `share` of the replicas have work of its jobs."""

    def __init__(self, pool: Pool, share: float, quarantine: Quarantine | None = None) -> None:
        self._pool = pool
        self._share = share
        self._quarantine = quarantine

    @property
    def slots(self) -> int:
        """At least one as soon as there is a replica."""
        replicas = self._pool.replicas
        return max(1, math.floor(self._share * replicas)) if replicas else 0

    async def run(self, task: ImageTask, limit_s: float) -> Result | OmnishotError:
        """Do the work on a replica, and once more on another when one is lost.

        A lost replica is not held against the picture, for anything may have ended it; work that
        had to be stopped is.
        """
        if self._quarantine and self._quarantine.is_quarantined(task.digest):
            return Quarantined(
                "This picture ended the processes that worked on it. It is turned away for an "
                "hour; write it anew with another program before you send it again."
            )
        for _ in range(_TRIES):
            try:
                (outcome,) = await self._pool.run([task], [limit_s])
            except ReplicaLost as lost:
                logger.warning("replica lost with job %s: %s", task.request_id, lost)
                continue
            if isinstance(outcome, TaskTimeout):
                if self._quarantine:
                    self._quarantine.note_kill(task.digest)
                return TaskTimeout(
                    f"The work was stopped after {limit_s:.0f} s; ask for fewer or smaller "
                    "renditions, a lower effort, or more time (timeout_s)."
                )
            if isinstance(outcome, Result | OmnishotError):
                return outcome
        return EngineUnavailable("The replicas that worked on this job were lost.")
