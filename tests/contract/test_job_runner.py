"""The runner with a real store and real files; only where the pixels are done is played."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep, time

import pytest

from omnishot_ray.errors import EngineUnavailable, OmnishotError, StorageUnavailable, TaskTimeout
from omnishot_ray.imaging.pipeline import Result
from omnishot_ray.jobs import model
from omnishot_ray.jobs.asking import Filter
from omnishot_ray.jobs.model import Job, Status
from omnishot_ray.jobs.runner import collect
from omnishot_ray.metrics.samples import JobSample, Sample
from omnishot_ray.protocol import ImageTask
from tests.jobbing import LocalEngine, Workshop, a_job
from tests.pictures import encode, scene
from tests.small_disk import mounted

PICTURE = encode(scene(60, 40), "JPEG")
DEADLINE_S = 30.0
VARIANTS = tuple({"name": name, "width": width} for name, width in (("a", 20), ("b", 10)))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    shop = Workshop(tmp_path, backoff_s=0.01)
    yield shop
    shop.stores.store.close()


def put(shop: Workshop, number: int = 1, **values: object) -> Job:
    digest = shop.stores.blobs.put(PICTURE)
    work = replace(a_job().work, digest=digest, variants=VARIANTS)
    given = {"work": work, "created_at": time(), "queued_at": time(), **values}
    return shop.stores.store.submit(a_job(number, **given), time()).job


def until(shop: Workshop, job: Job, right: Callable[[Job], object]) -> Job:
    deadline = monotonic() + DEADLINE_S
    while True:
        now = shop.stores.store.get(job.id)
        assert now is not None
        if right(now):
            return now
        assert monotonic() < deadline, now
        sleep(0.01)


class Played(LocalEngine):
    """Answers with what it is given first, then does the work."""

    def __init__(self, *outcomes: OmnishotError | Exception) -> None:
        super().__init__(1)
        self.outcomes = list(outcomes)
        self.limits: list[float] = []

    async def run(self, task: ImageTask, limit_s: float) -> Result | OmnishotError:
        self.limits.append(limit_s)
        if self.outcomes:
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, OmnishotError):
                return outcome
            raise outcome
        return await super().run(task, limit_s)


class Endless(LocalEngine):
    """Never done, and notes when it is left alone."""

    def __init__(self) -> None:
        super().__init__(1)
        self.left = 0

    async def run(self, task: ImageTask, limit_s: float) -> Result | OmnishotError:
        self.tasks.append(task)
        try:
            await asyncio.Event().wait()
        finally:
            self.left += 1
        raise AssertionError


class Noted:
    """Keeps samples."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def record(self, sample: Sample) -> None:
        self.samples.append(sample)


@pytest.mark.parametrize("fault", [TaskTimeout("x"), RuntimeError("a fault of ours")])
def test_what_may_succeed_is_tried_three_times_and_then_dead(
    shop: Workshop, fault: Exception
) -> None:
    job, metrics = put(shop), Noted()
    with shop.working(Played(*[fault] * 3), metrics):  # type: ignore[arg-type]
        dead = until(shop, job, lambda one: one.is_finished)
        assert (dead.status, dead.attempts) == (Status.DEAD, 3)
        shop.stores.store.update(job.id, lambda one: model.replay(one, time()))
        again = until(shop, job, lambda one: one.is_finished)
    assert (again.status, again.attempts) == (Status.COMPLETED, 4)
    samples = [one for one in metrics.samples if isinstance(one, JobSample)]
    assert [(one.attempt, one.status) for one in samples] == [
        *((1, "delayed"), (2, "delayed"), (3, "dead"), (4, "completed"))
    ]
    assert samples[0].error


def test_lost_replicas_are_not_held_against_a_job(shop: Workshop) -> None:
    job = put(shop)
    with shop.working(Played(*[EngineUnavailable("x")] * 4)):
        done = until(shop, job, lambda one: one.is_finished)
    assert (done.status, done.attempts, done.failures) == (Status.COMPLETED, 5, 0)


def test_the_limit_of_the_work_is_what_is_left_of_the_jobs(shop: Workshop) -> None:
    job, engine = put(shop, timeout_s=7.0), Played()
    with shop.working(engine):
        until(shop, job, lambda one: one.is_finished)
    assert all(0 < limit <= 7.0 for limit in engine.limits)


def test_time_is_up_for_an_attempt(shop: Workshop) -> None:
    job, engine = put(shop, timeout_s=0.1, max_attempts=1), Endless()
    with shop.working(engine):
        dead = until(shop, job, lambda one: one.is_finished)
    assert dead.error is not None
    assert (dead.status, dead.error.code, engine.left) == (Status.DEAD, "timeout", 1)


def test_a_cancelled_job_is_let_go_of(shop: Workshop) -> None:
    job, engine = put(shop), Endless()
    with shop.working(engine):
        until(shop, job, lambda one: one.status is Status.ACTIVE)
        shop.stores.store.update(job.id, lambda one: model.cancel(one, time()))
        deadline = monotonic() + DEADLINE_S
        while not engine.left:
            assert monotonic() < deadline
            sleep(0.01)
    assert until(shop, job, lambda _: True).status is Status.CANCELLED


def test_a_runner_that_ends_in_peace_gives_back_what_it_has(shop: Workshop) -> None:
    job = put(shop)
    with shop.working(Endless()):
        until(shop, job, lambda one: one.status is Status.ACTIVE)
    given_back = until(shop, job, lambda _: True)
    assert (given_back.status, given_back.stalls, given_back.failures) == (Status.QUEUED, 0, 0)


def test_what_is_made_is_not_made_again(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, chunk_ms=0.001, backoff_s=0.01)
    job, engine = put(shop), LocalEngine(1)

    async def once(task: ImageTask, limit_s: float) -> Result | OmnishotError:
        if len(engine.tasks) == 1:
            engine.tasks.append(task)
            return TaskTimeout("the second chunk")
        return await LocalEngine.run(engine, task, limit_s)

    engine.run = once  # type: ignore[method-assign]
    with shop.working(engine):
        done = until(shop, job, lambda one: one.is_finished)
    assert (done.status, done.attempts) == (Status.COMPLETED, 2)
    names = [[options.name for options in task.renditions] for task in engine.tasks]
    assert names == [["a"], ["b"], ["b"]]
    assert [one.name for one in done.results] == ["a", "b"]
    shop.stores.store.close()


def test_never_more_than_the_slots(shop: Workshop) -> None:
    jobs = [put(shop, number) for number in range(1, 4)]
    engine = Endless()
    with shop.working(engine) as runner:
        until(shop, jobs[0], lambda one: one.status is Status.ACTIVE)
        sleep(0.2)
        assert (runner.active, len(engine.tasks)) == (1, 1)
    active = shop.stores.store.find(Filter((Status.ACTIVE,)))
    assert active == []


def test_bytes_that_nobody_needs_are_taken_away(shop: Workshop) -> None:
    job = put(shop)
    orphan = shop.stores.blobs.put(b"an upload that nobody used")
    with shop.working():
        done = until(shop, job, lambda one: one.is_finished)
    blobs, store = shop.stores.blobs, shop.stores.store
    assert collect(store, blobs, 3600) == 0
    sleep(0.01)
    assert collect(store, blobs, 0.0) == 1
    assert not blobs.exists(orphan)
    assert all(blobs.exists(digest) for digest in done.digests)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, "1m") as disk:
        yield disk


def test_a_full_disk_takes_nothing_in_by_halves(small_disk: Path) -> None:
    shop = Workshop(small_disk)
    accepted: list[str] = []
    with pytest.raises(StorageUnavailable) as full:
        accepted.extend(put(shop, number).id for number in range(1, 5000))
    assert full.value.retry_after_s > 0
    found = [job.id for job in shop.stores.store.find(Filter(limit=10_000))]
    assert sorted(found) == sorted(accepted)
    assert shop.stores.store.stats(time()).of(Status.QUEUED) == len(accepted)
    shop.stores.store.close()
