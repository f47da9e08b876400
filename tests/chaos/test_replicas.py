"""Replicas die under load; clients must not notice."""

import concurrent.futures
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from benchmarks.peers.wrk import unique
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
    stop = threading.Event()
    statuses: list[int] = []

    def load() -> None:
        while not stop.is_set():
            statuses.append(post(pooled, POOLED, unique(SMALL))[0].status)

    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        running = [clients.submit(load) for _ in range(4)]
        wait_for(lambda: len(statuses) > 20, 30, "load")
        os.kill(before[0], signal.SIGKILL)
        seen = len(statuses)
        wait_for(lambda: len(statuses) > seen + 40, 60, "answers after the kill")
        stop.set()
        for client in running:
            client.result()
    assert set(statuses) == {200}

    def replaced() -> bool:
        now = pooled.replicas("Resizer")
        return len(now) == 2 and before[0] not in now

    wait_for(replaced, 60, "a new replica")


def test_all_resizers_killed_recovers(pooled: Service) -> None:
    before = wait_for(
        lambda: pids if len(pids := pooled.replicas("Resizer")) == 2 else None, 60, "two replicas"
    )
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    # Tried twice within the time limit; then 503 or 504, never a lost connection.
    assert post(pooled, POOLED, unique(SMALL))[0].status in (200, 503, 504)
    wait_for(lambda: post(pooled, POOLED, unique(SMALL))[0].status == 200, 60, "recovery")
