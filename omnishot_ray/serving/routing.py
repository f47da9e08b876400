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

        Each gateway knows its own line best. Of equal ones it takes the nearest to its own share,
        and a process that is no gateway any: if all began with the same one, they would meet there.
        """
        del pending_request  # one batch is like the other
        lengths = self.replica_queue_len_cache
        in_order = sorted(
            candidate_replicas, key=lambda r: (r.node_id or "", r.replica_id.unique_id)
        )
        place = census.find_place()
        if place is None:
            turns = random.sample(range(len(in_order)), len(in_order))
        else:
            turns = census.measure_distances([r.node_id or "" for r in in_order], place)
        ranked = sorted(
            zip(turns, in_order, strict=True),
            key=lambda one: (lengths.get(one[1].replica_id) or 0, one[0]),
        )
        return [[replica] for _, replica in ranked]
