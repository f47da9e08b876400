"""Jobs are never lost: not when processes are killed, not when all of them are."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.jobs import Client, environment_of, inspect, run_chaos, submit_jobs, wait_for_all
from tests.integration.service import start_service
from tests.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(params=["sqlite", "redis"])
def redis(request: pytest.FixtureRequest) -> Iterator[RedisServer | None]:
    if request.param == "sqlite":
        yield None
        return
    with running_redis() as server:
        yield server


def test_no_job_is_lost_or_there_twice_while_processes_are_killed(
    redis: RedisServer | None, tmp_path: Path
) -> None:
    service = start_service(environment=environment_of(redis, str(tmp_path)))
    try:
        report = run_chaos(service, count=200, every_s=1.5, deadline_s=240)
    finally:
        service.stop()
    assert report.is_clean, report
    assert sum(report.kills.values()) > 0, "nothing was put to the test"


def test_what_was_unfinished_when_all_was_killed_is_finished_later(tmp_path: Path) -> None:
    environment = environment_of(None, str(tmp_path))
    service = start_service(environment=environment)
    try:
        client = Client(service.port, 120)
        ids = submit_jobs(client, 60)
        before = client.read("/api/queue/stats")
        for pid in [service.process.pid, *service.descendants()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    finally:
        service.stop()
    assert before["completed"] < len(ids), "all was done before anything was killed"
    service = start_service(environment=environment)
    try:
        client = Client(service.port, 180)
        wait_for_all(client)
        report = inspect(client, ids)
    finally:
        service.stop()
    assert report.is_clean, report
