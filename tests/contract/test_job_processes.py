"""Real processes on one store: nothing runs twice, and what is killed loses nothing."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep, time

import pytest

from omnishot_ray.jobs import model
from omnishot_ray.jobs.asking import Filter
from omnishot_ray.jobs.model import StaleAttempt, Status, VariantResult
from omnishot_ray.jobs.redis_store import RedisStore
from omnishot_ray.jobs.sqlite_store import SqliteStore
from omnishot_ray.jobs.store import Store
from tests.jobbing import a_job
from tests.redis_server import RedisServer, running_redis

COUNT = 80
LEASE_S = 0.5
DEADLINE_S = 60.0
fresh = multiprocessing.get_context("spawn")


def open_store(address: str) -> Store:
    return RedisStore(address) if address.startswith("redis") else SqliteStore(address)


def work(address: str, log: str) -> None:
    """A runner: notes each attempt that it begins before it does anything with it."""
    store = open_store(address)
    with open(log, "a", buffering=1) as notes:
        while True:
            store.requeue_stalled(time(), 1000)
            for job in store.claim(str(os.getpid()), time(), LEASE_S, 2):
                notes.write(f"{job.id} {job.attempts}\n")
                try:
                    for name in "ab":
                        made = (VariantResult(name),)
                        store.update(
                            job.id,
                            lambda one, n=job.attempts, m=made: model.advance(one, n, None, m),
                        )
                    store.update(job.id, lambda one, n=job.attempts: model.complete(one, n, time()))
                except StaleAttempt:
                    continue
            if not store.stats(time()).of(*model.UNFINISHED):
                return


@pytest.fixture(params=["sqlite", "redis"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "jobs.db")
        return
    with running_redis() as server:
        assert isinstance(server, RedisServer)
        yield server.url


@pytest.mark.parametrize("kills", [0, 6])
def test_no_attempt_begins_twice_and_no_job_is_lost(
    address: str, tmp_path: Path, kills: int
) -> None:
    store = open_store(address)
    for number in range(1, COUNT + 1):
        store.submit(a_job(number, created_at=time(), queued_at=time()), time())
    logs = [str(tmp_path / f"log-{n}") for n in range(3 + kills)]
    started = iter(logs)
    runners = [fresh.Process(target=work, args=(address, next(started))) for _ in range(3)]
    for runner in runners:
        runner.start()
    deadline = monotonic() + DEADLINE_S
    for _ in range(kills):
        sleep(0.15)
        victim = runners.pop(0)
        if victim.pid and victim.is_alive():
            os.kill(victim.pid, signal.SIGKILL)
        victim.join(10)
        runners.append(fresh.Process(target=work, args=(address, next(started))))
        runners[-1].start()
    for runner in runners:
        runner.join(max(1.0, deadline - monotonic()))
        assert runner.exitcode == 0
    jobs = store.find(Filter(limit=1000))
    assert {(job.status, len(job.results)) for job in jobs} == {(Status.COMPLETED, 2)}
    assert len(jobs) == COUNT
    begun = [
        line for log in logs if Path(log).exists() for line in Path(log).read_text().split("\n")
    ]
    begun = [line for line in begun if line]
    assert len(begun) == len(set(begun)), "an attempt began twice"
    assert len(begun) >= COUNT
    store.close()


def take_in(address: str, log: str) -> None:
    """Notes each job once it was accepted."""
    store = open_store(address)
    with open(log, "a", buffering=1) as notes:
        for number in range(1, 100_000):
            store.submit(a_job(number), time())
            notes.write(f"{number}\n")


def test_what_sqlite_has_accepted_is_there_after_kill_9(tmp_path: Path) -> None:
    address, log = str(tmp_path / "jobs.db"), tmp_path / "log"
    for _ in range(3):
        writer = fresh.Process(target=take_in, args=(address, str(log)))
        (tmp_path / "jobs.db").unlink(missing_ok=True)
        for left in tmp_path.glob("jobs.db-*"):
            left.unlink()
        log.write_text("")
        writer.start()
        deadline = monotonic() + DEADLINE_S
        while log.read_text().count("\n") < 30:
            assert monotonic() < deadline
            sleep(0.01)
        assert writer.pid
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
        accepted = [int(line) for line in log.read_text().split() if line]
        store = SqliteStore(address)
        found = {int(job.id, 16) for job in store.find(Filter(limit=1_000_000))}
        assert set(accepted) <= found
        assert len(found) - len(accepted) <= 1, "at most the one that was being told of"
        assert store.stats(time()).of(Status.QUEUED) == len(found)
        store.close()
