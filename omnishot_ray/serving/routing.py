"""Serve's request router for the Resizers: least loaded first, and a count of who is there.

The gateway sends no more batches than there are places at replicas, so a router has nothing to
queue and nothing to probe: it takes the replica that has least of it.

Serve ships this module's code by value, so what others of the process ask for lives in another one.
"""

import random
from collections import Counter
from typing import Any

from ray.serve.request_router import (
    FIFOMixin,
    PendingRequest,
    ReplicaID,
    RequestRouter,
    RunningReplica,
)

from omnishot_ray.serving import census


class LeastLoadedRouter(FIFOMixin, RequestRouter):  # type: ignore[misc]
    """Routes to the replica with the fewest requests in flight from here.

    Serve's own count has in it what a replica had from others when it was last sent something, and
    keeps that when they are done with it; so gateways left their own replica for another's.
    """

    def initialize_state(self, **options: Any) -> None:
        """Nothing is in flight."""
        super().initialize_state(**options)
        self._in_flight = Counter[ReplicaID]()

    def on_send_request(self, replica_id: ReplicaID) -> None:
        """Count it in."""
        super().on_send_request(replica_id)
        self._in_flight[replica_id] += 1

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Count it out, however it ended."""
        super().on_request_completed(replica_id, internal_request_id)
        if self._in_flight[replica_id]:  # what could not be sent ends too
            self._in_flight[replica_id] -= 1

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Take note of the replicas that run now."""
        super().update_replicas(replicas)
        running = {replica.replica_id for replica in replicas}
        for gone in self._in_flight.keys() - running:
            del self._in_flight[gone]
        census.note_replicas(self._deployment_id.name, len(replicas))

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """All candidates, the one with least in flight first, each a rank of its own.

        Of equal ones it takes the nearest to its own share, and a process that is no gateway any:
        if all began with the same one, they would meet there.
        """
        del pending_request  # one batch is like the other
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
            key=lambda one: (self._in_flight[one[1].replica_id], one[0]),
        )
        return [[replica] for _, replica in ranked]
