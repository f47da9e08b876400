"""Serve's request router for the Resizers: least loaded first, and a count of who is there.

The gateway sends no more batches than there are places at replicas, so a router has nothing to
queue and nothing to probe: it takes the replica with the shortest line it knows of.

Serve ships this module's code by value, so what it remembers lives in another one.
"""

import random

from ray.serve.request_router import (
    FIFOMixin,
    PendingRequest,
    RequestRouter,
    RunningReplica,
)

from omnishot_ray.serving import census


class LeastLoadedRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Routes to the replica with the fewest requests in flight from here."""

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take note of the replicas that run now."""
        super().update_replicas(replicas)
        census.note_replicas(self._deployment_id.name, len(replicas))

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """All candidates, the shortest line first, each a rank of its own.

        Ties go by chance: each gateway knows its own line best, and many of them with nothing at
        any replica would all begin with the same one.
        """
        del pending_request  # one batch is like the other
        lengths = self.replica_queue_len_cache
        ranked = sorted(
            candidate_replicas, key=lambda r: (lengths.get(r.replica_id) or 0, random.random())
        )
        return [[replica] for replica in ranked]
