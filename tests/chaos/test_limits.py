"""Work that does not end, and the service that does: what is stopped, and what is not lost."""

import json
import signal
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.peers.wrk import unique
from tests.chaos.load import load
from tests.clusters import LocalCluster
from tests.integration.service import Service, start_service, wait_for
from tests.integration.test_service import PHOTO, SMALL, post

ENDLESS = "/api/optimize?width=2200&format=avif&effort=9&gravity=center"
POOLED = "/api/variants?platforms=instagram-post,x-post&effort=2"


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    environment = {
        "OMNISHOT_DISPATCH__INLINE_MS": "0",
        "OMNISHOT_DISPATCH__TIME_LIMIT_S": "2",
        "OMNISHOT_RESIZERS__MIN_REPLICAS": "2",
        "OMNISHOT_RESIZERS__MAX_REPLICAS": "2",
    }
    running = start_service(environment=environment)
    wait_for(lambda: len(running.replicas("Resizer")) == 2, 60, "two replicas")
    yield running
    running.stop()


def executions(service: Service) -> int:
    """How often the engine was asked, by all gateways."""
    return sum(gateways_that_answer(service).values())


def gateways_that_answer(service: Service) -> dict[int, int]:
    """By their processes how often each has asked the engine: each tells its own."""
    told: dict[int, int] = {}
    for _ in range(40):
        with urllib.request.urlopen(f"{service.url}/api/cache", timeout=10) as answer:
            stats = json.load(answer)
            told[stats["process"]] = stats["executions"]
    return told


def test_identical_requests_are_one_execution(service: Service) -> None:
    before = executions(service)
    picture = unique(SMALL)
    with ThreadPoolExecutor(200) as clients:
        answers = list(
            clients.map(lambda _: post(service, "/api/optimize?width=300", picture), range(200))
        )
    assert {answer.status for answer, _ in answers} == {200}
    assert len({content for _, content in answers}) == 1
    ways = Counter(answer.headers["X-Cache"] for answer, _ in answers)
    assert ways["miss"] == 1, ways
    assert executions(service) == before + 1


def test_work_over_its_limit_is_stopped_and_then_turned_away(service: Service) -> None:
    before = set(service.replicas("Resizer"))
    picture = unique(PHOTO)
    statuses = []
    deadline = time.monotonic() + 90
    # Where it has to wait for a replica it is given up without being tried, and harms none.
    while 422 not in statuses:
        assert time.monotonic() < deadline, statuses
        started = time.perf_counter()
        answer, content = post(service, ENDLESS, picture)
        statuses.append(answer.status)
        assert time.perf_counter() - started < 6
        wait_for(
            lambda: post(service, POOLED, unique(SMALL))[0].status == 200, 30, "an answer to others"
        )
    assert json.loads(content)["type"] == "/problems/quarantined"
    assert len(statuses) >= 3
    assert set(statuses[:-1]) == {504}
    assert post(service, "/api/optimize?width=100", unique(PHOTO))[0].status == 200

    def replaced() -> bool:
        now = set(service.replicas("Resizer"))
        return len(now) == 2 and now != before

    wait_for(replaced, 60, "new replicas")


@pytest.mark.timeout(300)
def test_a_redeploy_loses_nothing(cluster: LocalCluster) -> None:
    cluster.deploy(cluster.config("1"))
    cluster.wait_until_ready()
    wait_for(lambda: len(gateways_that_answer(cluster)) == 2, 60, "two gateways")
    before = set(cluster.replicas("Gateway") + cluster.replicas("Resizer"))
    with load(cluster, POOLED) as seen:
        seen.wait_for_more(20)
        cluster.deploy(cluster.config("2"))
        wait_for(lambda: replaced(cluster, before), 90, "new gateways and Resizers")
        seen.wait_for_more(40)
    assert (seen.broken, set(seen.statuses)) == (0, {200})


def replaced(cluster: LocalCluster, before: set[int]) -> bool:
    """Whether there are others, and none of those before."""
    now = {name: set(cluster.replicas(name)) for name in ("Gateway", "Resizer")}
    return all(now.values()) and before.isdisjoint(set().union(*now.values()))


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with tempfile.TemporaryDirectory(prefix="c") as home:  # short: sockets are in it
        running = LocalCluster(Path(home))
        try:
            running.wait_for_nodes()
            yield running
        finally:
            running.stop()


def test_nothing_is_lost_or_left_when_the_service_is_told_to_end(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    service = start_service(environment={"OMNISHOT_CACHE__NODE_DIR": str(folder)})
    # One gateway makes the service ready; when the other comes, Serve changes HAProxies.
    wait_for(lambda: len(gateways_that_answer(service)) == 2, 60, "two gateways")
    with load(service, POOLED) as seen:
        seen.wait_for_more(30)
        assert list(folder.rglob("*.done"))
        cut = len(seen.statuses)
        told_at = time.perf_counter()
        service.process.send_signal(signal.SIGTERM)
        ended = threading.Thread(target=service.process.wait, args=(60,))
        ended.start()
        ended.join(60)
    assert service.process.returncode == 0
    # What had come is answered; who comes later is not let in.
    assert [since for since in seen.lost_since if since < told_at] == []
    assert seen.broken == seen.refused
    assert set(seen.statuses[:cut]) == {200}
    assert set(seen.statuses) <= {200, 503}
    assert seen.refused
    # What gateways hand each other lies in memory and would stay there.
    assert not list(folder.rglob("*.done"))
    service.stop()
