"""A gateway turns to the Resizer that has least from it, whatever others have sent there."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import DeploymentHandleSource, DeploymentID
from ray.serve.request_router import ReplicaID

from omnishot_ray.serving import census
from omnishot_ray.serving.census import Place, count_replicas, note_place
from omnishot_ray.serving.routing import LeastLoadedRouter

pytestmark = pytest.mark.anyio

DEPLOYMENT = DeploymentID(name="Resizer of a test", app_name="test")


async def _tell_queue_length(*, deadline_s: float) -> int:
    """Serve asks a replica that is new."""
    del deadline_s
    return 0


def replica(name: str) -> Any:
    return SimpleNamespace(
        replica_id=ReplicaID(name, deployment_id=DEPLOYMENT),
        node_id="node",
        max_ongoing_requests=100,
        multiplexed_model_ids=set(),
        get_queue_len=_tell_queue_length,
    )


OWN, OTHERS = replica("a"), replica("b")


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> LeastLoadedRouter:
    monkeypatch.setattr(census, "_places", [])
    note_place(Place(rank=0, local_rank=0, of=2, node="node"))
    router = LeastLoadedRouter(
        deployment_id=DEPLOYMENT,
        handle_source=DeploymentHandleSource.REPLICA,
        use_replica_queue_len_cache=True,
    )
    router.initialize_state()
    return router


async def choose(router: LeastLoadedRouter) -> Any:
    ranks = await router.choose_replicas([OTHERS, OWN])
    assert sorted(map(len, ranks)) == [1, 1]
    return ranks[0][0]


async def test_the_own_replica_comes_first_and_the_other_while_it_is_busy(
    router: LeastLoadedRouter,
) -> None:
    assert await choose(router) is OWN
    router.on_send_request(OWN.replica_id)
    assert await choose(router) is OTHERS
    router.on_send_request(OTHERS.replica_id)
    assert await choose(router) is OWN
    router.on_request_completed(OTHERS.replica_id, "1")
    assert await choose(router) is OTHERS


async def test_what_a_replica_once_had_from_others_is_forgotten(router: LeastLoadedRouter) -> None:
    router.on_send_request(OWN.replica_id)
    router.on_new_queue_len_info(OWN.replica_id, 2)  # with another gateway's
    router.decrement_queue_len_cache(OWN.replica_id)
    router.on_request_completed(OWN.replica_id, "1")
    assert await choose(router) is OWN


async def test_what_could_not_be_sent_frees_no_place(router: LeastLoadedRouter) -> None:
    router.on_request_completed(OWN.replica_id, "1")
    router.on_send_request(OWN.replica_id)
    assert await choose(router) is OTHERS


async def test_a_replica_that_is_gone_is_forgotten(router: LeastLoadedRouter) -> None:
    router.update_replicas([OWN, OTHERS])
    assert count_replicas(DEPLOYMENT.name) == 2
    router.on_send_request(OWN.replica_id)
    router.update_replicas([OTHERS])
    assert count_replicas(DEPLOYMENT.name) == 1
    router.update_replicas([OWN, OTHERS])
    assert await choose(router) is OWN
