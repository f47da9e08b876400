"""Jobs are never lost: not when processes are killed, not when all of them are."""

import base64
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.jobs import (
    SMALL,
    Client,
    environment_of,
    inspect,
    listed_jobs,
    run_chaos,
    submit_jobs,
    wait_for_all,
)
from benchmarks.peers.wrk import unique
from tests.integration.service import Service, start_service
from tests.integration.test_service import post
from tests.redis_server import RedisServer, running_redis
from tests.small_disk import mounted

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
        report = run_chaos(service, count=120, every_s=1.5, deadline_s=240)
    finally:
        service.stop()
    assert report.is_clean, report
    assert sum(report.kills.values()) > 0, "nothing was put to the test"


def test_what_was_unfinished_when_all_was_killed_is_finished_later(
    redis: RedisServer | None, tmp_path: Path
) -> None:
    environment = environment_of(redis, str(tmp_path))
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


def test_a_full_disk_takes_no_job_in_and_loses_none(tmp_path: Path) -> None:
    with mounted(tmp_path, "16m") as disk:
        service = start_service(environment=environment_of(None, str(disk)))
        try:
            ids = fill(service, disk)
            status, headers, problem = submit(service)
            assert status == 503
            assert int(headers["retry-after"]) > 0
            assert problem["type"] == "/problems/storage-unavailable"
            client = Client(service.port, 120)
            taken = [job["id"] for job in listed_jobs(client)]
            assert sorted(taken) == sorted(ids), "what was refused is there all the same"
            (disk / "rest").unlink()
            wait_for_all(client)
            report = inspect(client, ids)
            assert report.is_clean, report
            assert submit(service)[0] == 202
        finally:
            service.stop()


def fill(service: Service, disk: Path) -> list[str]:
    """Take all the room on the disk of the service's jobs; the ids of the jobs taken in."""
    ids = [submit(service)[2]["id"] for _ in range(5)]
    with suppress(OSError), (disk / "rest").open("wb", buffering=0) as rest:
        while True:
            rest.write(bytes(4096))
    for _ in range(100):
        status, _, document = submit(service)
        if status != 202:
            return ids
        ids.append(document["id"])
    raise AssertionError("the disk is not full")


def submit(service: Service) -> tuple[int, dict[str, str], Any]:
    """One try at a job of a picture of its own."""
    data = base64.b64encode(unique(SMALL)).decode()
    body = json.dumps({"source": {"data": data}, "variants": [{"name": "a", "width": 60}]})
    answer, content = post(service, "/api/jobs", body.encode(), Content_Type="application/json")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return answer.status, headers, json.loads(content)
