"""Redis and storage that fail: a slower service, never an error."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers.wrk import unique
from tests.chaos.load import load
from tests.integration.service import Service, start_service, wait_for
from tests.integration.test_service import SMALL, post
from tests.redis_server import RedisServer
from tests.small_disk import mounted

THUMBNAIL = "/api/optimize?width=64&height=48"


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 64 KiB."""
    with mounted(tmp_path_factory.mktemp("disk"), "64k") as disk:
        yield disk


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def service(redis: RedisServer, full_disk: Path) -> Iterator[Service]:
    environment = {
        "OMNISHOT_REDIS_URL": redis.url,
        "OMNISHOT_CACHE__STORAGE_URI": full_disk.as_uri(),
        "OMNISHOT_CACHE__MEMORY_BYTES": "0",
        "OMNISHOT_API__RATE_LIMIT": "1000000/minute",
    }
    running = start_service(environment=environment)
    yield running
    running.stop()


def circuit(service: Service, name: str) -> str:
    with urllib.request.urlopen(f"{service.url}/api/services/health", timeout=10) as answer:
        return str(json.load(answer)["services"][name]["circuit"])


def test_a_full_disk_is_a_slower_service(service: Service) -> None:
    with load(service, THUMBNAIL) as seen:
        wait_for(lambda: circuit(service, "storage-cache") == "open", 60, "an open circuit")
        seen.wait_for_more(20)
    assert (seen.broken, set(seen.statuses)) == (0, {200})


def test_redis_killed_and_back_is_a_slower_service(service: Service, redis: RedisServer) -> None:
    picture = unique(SMALL)
    post(service, THUMBNAIL, picture)
    wait_for(
        lambda: post(service, THUMBNAIL, picture)[0].headers["X-Cache"] == "hit-shared",
        20,
        "a hit in Redis",
    )
    with load(service, THUMBNAIL) as seen:
        seen.wait_for_more(20)
        redis.kill()
        wait_for(lambda: circuit(service, "redis-cache") == "open", 30, "an open circuit")
        seen.wait_for_more(40)
        redis.start()
        wait_for(lambda: circuit(service, "redis-cache") == "closed", 60, "a closed circuit")
        seen.wait_for_more(20)
    assert (seen.broken, set(seen.statuses)) == (0, {200})
