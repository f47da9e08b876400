"""Replicas die under load; clients must not notice."""

import os
import signal
from collections.abc import Iterator

import pytest

from benchmarks.peers.wrk import unique
from tests.chaos.load import load
from tests.integration.service import Service, start_service, wait_for
from tests.integration.test_service import SMALL, post

POOLED = "/api/variants?platforms=instagram-post,x-post&effort=2"


@pytest.fixture(scope="module")
def pooled() -> Iterator[Service]:
    """Everything goes to the pool, which has two replicas."""
    running = start_service(
        environment={
            "OMNISHOT_DISPATCH__INLINE_MS": "0",
            "OMNISHOT_RESIZERS__MIN_REPLICAS": "2",
            "OMNISHOT_RESIZERS__MAX_REPLICAS": "2",
        }
    )
    yield running
    running.stop()


def test_killed_resizer_costs_no_request(pooled: Service) -> None:
    before = wait_for(
        lambda: pids if len(pids := pooled.replicas("Resizer")) == 2 else None, 30, "two replicas"
    )
    with load(pooled, POOLED) as seen:  # twice as many as there are replicas
        seen.wait_for_more(20)
        os.kill(before[0], signal.SIGKILL)
        seen.wait_for_more(40)
    assert (seen.broken, set(seen.statuses)) == (0, {200})

    def replaced() -> bool:
        now = pooled.replicas("Resizer")
        return len(now) == 2 and before[0] not in now

    wait_for(replaced, 60, "a new replica")


def test_all_resizers_killed_recovers(pooled: Service) -> None:
    before = wait_for(
        lambda: pids if len(pids := pooled.replicas("Resizer")) == 2 else None, 60, "two replicas"
    )
    with load(pooled, POOLED) as seen:
        seen.wait_for_more(20)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: set(pooled.replicas("Resizer")) - set(before), 60, "a new replica")
        wait_for(lambda: post(pooled, POOLED, unique(SMALL))[0].status == 200, 60, "recovery")
        seen.wait_for_more(20)
    # Tried twice within the time limit; then 503 or 504, never a lost connection nor a blame.
    assert seen.broken == 0
    assert set(seen.statuses) <= {200, 503, 504}
