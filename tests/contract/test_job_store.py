"""What every store of jobs does, whichever keeps them."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from omnishot_ray.errors import Overloaded, StorageUnavailable
from omnishot_ray.jobs import model
from omnishot_ray.jobs.asking import Filter, Key, Worker
from omnishot_ray.jobs.model import Batch, IllegalTransition, Job, StaleAttempt, Status
from omnishot_ray.jobs.redis_store import RedisStore
from omnishot_ray.jobs.sqlite_store import SqliteStore
from omnishot_ray.jobs.store import KeyReused, Store, UnknownJob
from tests.jobbing import LASTING, LEASE_S, NOW, PASSING, a_job, a_store
from tests.redis_server import RedisServer, running_redis

LATER = NOW + 1000


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> Iterator[Store]:
    with a_store(request.param, tmp_path, redis) as store:
        yield store


def put(store: Store, *jobs: Job) -> None:
    for job in jobs:
        assert store.submit(job, NOW).created


def claim(store: Store, now: float = LATER, most: int = 1) -> list[Job]:
    return list(store.claim("me", now, LEASE_S, most))


def full(job: Job) -> Job:
    """Every field that can hold something does."""
    return replace(
        job,
        user_id="u",
        batch_id="b",
        scope="s",
        work_key="k",
        source=model.Source(20, 10, "jpeg", 99),
        results=(model.VariantResult("a", "d" * 64, 20, 10, "webp", 9, (1, 2, 3, 4), "file:///o"),),
        error=PASSING,
        callback_at=NOW,
    )


def test_a_job_comes_back_as_it_went_in(store: Store) -> None:
    job = full(a_job())
    put(store, job)
    assert store.get(job.id) == job
    assert store.get("0" * 32) is None


def test_the_oldest_of_equals_goes_first_and_none_goes_twice(store: Store) -> None:
    put(store, *(a_job(number) for number in (1, 2, 3)))
    first = claim(store)
    assert [job.id for job in first + claim(store, most=5)] == [a_job(n).id for n in (1, 2, 3)]
    assert claim(store) == []
    assert (first[0].status, first[0].attempts, first[0].worker) == (Status.ACTIVE, 1, "me")
    assert first[0] == store.get(first[0].id)


def test_the_urgent_goes_first_but_waiting_makes_urgent(store: Store) -> None:
    put(store, a_job(1, priority=10), a_job(2, priority=1), a_job(80, priority=5))
    order = claim(store, NOW + 81, most=3)
    # 80 s old by then, number 1 has caught up with the nine steps between.
    assert [job.priority for job in order] == [1, 10, 5]


def test_users_take_turns_whatever_they_have_brought(store: Store) -> None:
    put(store, *(a_job(n, user_id="many") for n in range(1, 7)))
    put(store, *(a_job(n, user_id="few") for n in range(7, 9)))
    users = [job.user_id for job in claim(store, most=6)]
    assert users == ["many", "few", "many", "few", "many", "many"]


def test_a_late_finisher_of_an_old_attempt_changes_nothing(store: Store) -> None:
    put(store, a_job())
    (first,) = claim(store, NOW)
    over = NOW + LEASE_S + 1
    assert [job.id for job in store.requeue_stalled(over, 3)] == [first.id]
    (second,) = claim(store, over)
    assert (second.attempts, second.stalls, second.failures) == (2, 1, 0)
    for late in (
        lambda job: model.complete(job, first.attempts, over),
        lambda job: model.fail(job, first.attempts, LASTING, over, 0),
        lambda job: model.advance(job, first.attempts, None, ()),
    ):
        with pytest.raises(StaleAttempt):
            store.update(first.id, late)
    assert store.get(first.id) == second
    done = store.update(first.id, lambda job: model.complete(job, 2, over))
    assert done.status is Status.COMPLETED
    with pytest.raises(StaleAttempt):
        store.update(first.id, lambda job: model.complete(job, 2, over))


def test_a_sign_of_life_keeps_a_job_and_tells_who_has_lost_his(store: Store) -> None:
    put(store, a_job(1), a_job(2))
    claim(store, NOW, most=2)
    store.update(a_job(2).id, lambda job: model.cancel(job, NOW))
    held = {a_job(1).id: 1, a_job(2).id: 1, "f" * 32: 1}
    assert store.prolong(held, NOW + 10, LEASE_S) == {a_job(2).id, "f" * 32}
    assert store.requeue_stalled(NOW + 20, 3) == []
    assert len(store.requeue_stalled(NOW + 26, 3)) == 1


def test_who_stalls_over_and_over_is_dead(store: Store) -> None:
    put(store, a_job())
    now = NOW
    for _ in range(3):
        claim(store, now)
        now += LEASE_S + 1
        store.requeue_stalled(now, max_stalls=2)
    job = store.get(a_job().id)
    assert job is not None
    assert (job.status, job.stalls) == (Status.DEAD, 3)
    assert job.error is not None


def test_a_failed_attempt_waits_for_its_time(store: Store) -> None:
    put(store, a_job())
    (job,) = claim(store, NOW)
    store.update(job.id, lambda one: model.fail(one, 1, PASSING, NOW, 4.0))
    assert claim(store, NOW + 3.9) == []
    assert [one.attempts for one in claim(store, NOW + 4.1)] == [2]


def test_same_scope_same_job_while_it_works_or_has_worked(store: Store) -> None:
    put(store, a_job(1, scope="s", work_key="k"))
    assert not store.submit(a_job(2, scope="s", work_key="k"), NOW).created
    assert store.submit(a_job(3, scope="s", work_key="k"), NOW, dedupe=False).created
    (job, _) = claim(store, most=2)
    store.update(job.id, lambda one: model.fail(one, 1, LASTING, NOW, 0))
    store.update(a_job(3).id, lambda one: model.fail(one, 1, LASTING, NOW, 0))
    assert store.submit(a_job(4, scope="s", work_key="k"), NOW).created
    claim(store)
    store.update(a_job(4).id, lambda one: model.complete(one, 1, NOW))
    again = store.submit(a_job(5, scope="s", work_key="k"), NOW)
    assert (again.created, again.job.id) == (False, a_job(4).id)


def test_an_address_is_the_same_only_while_it_is_at_work(store: Store) -> None:
    put(store, a_job(1, scope="s"))
    assert not store.submit(a_job(2, scope="s"), NOW).created
    claim(store)
    store.update(a_job(1).id, lambda one: model.complete(one, 1, NOW))
    assert store.submit(a_job(3, scope="s"), NOW).created


def test_results_that_are_there_complete_a_job_at_once(store: Store) -> None:
    put(store, a_job(1, scope="one", work_key="k"))
    claim(store)
    results = (model.VariantResult("a", "e" * 64, 20, 10, "webp", 9),)
    store.update(a_job(1).id, lambda job: model.advance(job, 1, None, results))
    store.update(a_job(1).id, lambda job: model.complete(job, 1, NOW))
    taken = store.submit(a_job(2, scope="another", work_key="k"), NOW)
    assert (taken.created, taken.job.status, taken.job.results) == (
        *(True, Status.COMPLETED),
        results,
    )
    assert (taken.job.attempts, taken.job.progress) == (0, 100)


def test_an_idempotency_key_names_one_job(store: Store) -> None:
    key = Key("me:k", "payload")
    store.reserve(key, NOW)
    with pytest.raises(KeyReused) as reused:
        store.reserve(replace(key, fingerprint="other"), NOW)
    assert reused.value.in_flight
    assert store.submit(a_job(1), NOW, key=key).created
    again = store.submit(a_job(2), NOW + 5, key=key)
    assert (again.created, again.job.id) == (False, a_job(1).id)
    with pytest.raises(KeyReused) as reused:
        store.submit(a_job(3), NOW, key=replace(key, fingerprint="other"))
    assert not reused.value.in_flight
    assert store.get(a_job(3).id) is None
    assert store.submit(a_job(4), NOW + 90_000, key=key).created, "it is forgotten after a day"


def test_a_request_that_came_to_nothing_frees_its_key(store: Store) -> None:
    key = Key("me:k", "payload")
    store.reserve(key, NOW)
    store.release(replace(key, fingerprint="other"))  # not theirs
    with pytest.raises(KeyReused):
        store.reserve(replace(key, fingerprint="other"), NOW)
    store.release(key)
    store.reserve(replace(key, fingerprint="other"), NOW)
    assert store.submit(a_job(1), NOW, key=replace(key, fingerprint="other")).created
    store.release(replace(key, fingerprint="other"))
    again = store.submit(a_job(2), NOW, key=replace(key, fingerprint="other"))
    assert not again.created, "what came to something stays"


def test_a_request_that_never_ended_blocks_its_key_for_a_minute(store: Store) -> None:
    store.reserve(Key("k", "one"), NOW)
    store.reserve(Key("k", "two"), NOW + 61)


def test_replay_makes_a_new_start(store: Store) -> None:
    put(store, a_job(max_attempts=1))
    claim(store, NOW)
    dead = store.update(a_job().id, lambda job: model.fail(job, 1, PASSING, NOW, 0))
    assert dead.status is Status.DEAD
    store.update(a_job().id, lambda job: model.replay(job, NOW + 1))
    (job,) = claim(store, NOW + 2)
    assert (job.attempts, job.failures, job.error) == (2, 0, None)


def test_what_cannot_be_is_not(store: Store) -> None:
    put(store, a_job())
    with pytest.raises(IllegalTransition):
        store.update(a_job().id, lambda job: model.replay(job, NOW))
    assert store.get(a_job().id) == a_job()
    with pytest.raises(UnknownJob):
        store.update("0" * 32, lambda job: model.cancel(job, NOW))


def test_lists_are_in_pages_the_newest_first(store: Store) -> None:
    put(store, *(a_job(n, user_id="ab"[n % 2]) for n in range(1, 8)))
    store.update(a_job(5).id, lambda job: model.cancel(job, NOW))

    def listed(**wanted: object) -> list[int]:
        return [int(job.id, 16) for job in store.find(Filter(**wanted))]  # type: ignore[arg-type]

    assert listed() == [7, 6, 5, 4, 3, 2, 1]
    assert listed(limit=3) == [7, 6, 5]
    assert listed(limit=3, before=a_job(5).id) == [4, 3, 2]
    assert listed(user_id="b", limit=2) == [7, 5]
    assert listed(statuses=(Status.CANCELLED,)) == [5]
    queued = (Status.QUEUED, Status.DELAYED)
    assert listed(user_id="b", statuses=queued, limit=2) == [7, 3]
    assert listed(statuses=queued, limit=4) == [7, 6, 4, 3]
    assert listed(user_id="c") == []


def test_figures_are_of_what_is_there(store: Store) -> None:
    put(store, a_job(1), a_job(2, priority=1), a_job(3), a_job(4))
    claim(store, NOW + 100, most=2)
    store.update(a_job(2).id, lambda job: model.complete(job, 1, NOW + 100))
    store.note_worker(Worker("w", NOW + 100, 4, 2))
    store.note_worker(Worker("gone", NOW, 4, 0))
    stats = store.stats(NOW + 101)
    assert stats.counts == {
        (Status.QUEUED, 5): 2,
        (Status.ACTIVE, 5): 1,
        (Status.COMPLETED, 1): 1,
    }
    assert stats.of(Status.QUEUED, Status.ACTIVE) == 3
    assert (stats.stalled, stats.finished_lately) == (0, 1)
    assert stats.oldest_queued_at == NOW + 3
    assert [worker.name for worker in stats.workers] == ["w"]
    assert store.stats(NOW + 200).stalled == 1
    assert store.stats(NOW + 200).finished_lately == 0


def test_work_is_what_has_not_come_to_its_end(store: Store) -> None:
    def has_work(finished_before: float = 0.0) -> bool:
        return store.has_work(LATER, finished_before)

    assert not has_work()
    work = replace(a_job().work, callback_url="https://example.org/")
    put(store, a_job(work=work), a_job(2))
    assert has_work()
    for job in claim(store, most=2):
        assert has_work()
        store.update(job.id, lambda one, at=job.attempts: model.complete(one, at, LATER))
    assert has_work(), "somebody is to be told"
    store.update(a_job().id, lambda job: model.note_callback(job, LATER + 900, "no answer"))
    assert has_work(), "later"
    store.update(a_job().id, lambda job: model.note_callback(job, None, ""))
    assert not has_work()
    assert has_work(LATER + 1), "both ended before that"
    store.submit_batch(Batch("b", NOW, 1, jobs=(a_job(3, batch_id="b"),)), NOW)
    assert has_work()


def test_callbacks_come_up_until_they_are_told(store: Store) -> None:
    work = replace(a_job().work, callback_url="https://example.org/")
    put(store, a_job(work=work))
    assert store.due_callbacks(LATER) == []
    store.update(a_job().id, lambda job: model.cancel(job, NOW))
    assert store.due_callbacks(NOW) == [a_job().id]
    store.update(a_job().id, lambda job: model.note_callback(job, NOW + 5, "no answer"))
    assert store.due_callbacks(NOW + 4) == []
    store.update(a_job().id, lambda job: model.note_callback(job, None, ""))
    assert store.due_callbacks(LATER) == []


def batch_of(count: int) -> Batch:
    jobs = tuple(a_job(n, batch_id="b", user_id="u") for n in range(1, count + 1))
    return Batch("b", NOW, count, "u", jobs=jobs)


def test_a_batch_is_there_whole_and_gets_in_line_by_and_by(store: Store) -> None:
    batch = batch_of(250)
    assert store.submit_batch(batch, NOW, Key("k", "p")) == (batch, True)
    assert store.submit_batch(replace(batch, id="c"), NOW, Key("k", "p"))[0].id == "b"
    assert store.open_batches(9) == ["b"]
    assert [store.enqueue("b", NOW), store.enqueue("b", NOW)] == [150, 50]
    assert store.batch_counts("b") == {Status.QUEUED: 200}
    assert store.enqueue("b", NOW) == 0
    assert store.open_batches(9) == []
    assert store.batch_counts("b") == {Status.QUEUED: 250}
    kept = store.get_batch("b")
    assert kept is not None
    assert (kept.enqueued, kept.total, kept.jobs) == (250, 250, ())


def test_a_cancelled_batch_gets_no_further(store: Store) -> None:
    store.submit_batch(batch_of(150), NOW)
    store.enqueue("b", NOW)
    assert store.cancel_batch("b", NOW).enqueued == 100
    assert store.enqueue("b", NOW) == 0
    assert store.open_batches(9) == []
    with pytest.raises(UnknownJob):
        store.cancel_batch("other", NOW)


def test_what_is_old_is_forgotten_and_what_is_needed_is_known(store: Store) -> None:
    put(store, full(a_job(1)), a_job(2, work_key="k"))
    store.submit_batch(replace(batch_of(1), jobs=(a_job(9, batch_id="b"),)), NOW)
    assert set(store.digests()) == {"d" * 64}
    store.update(a_job(1).id, lambda job: model.cancel(job, NOW))
    assert store.forget(NOW) == 0
    assert store.forget(NOW + 1) == 1
    assert store.get(a_job(1).id) is None
    assert [job.id for job in store.find(Filter())] == [a_job(2).id]
    assert store.stats(NOW).counts == {(Status.QUEUED, 5): 1}
    assert store.submit(full(a_job(3)), NOW).created, "its scope is forgotten with it"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_a_full_store_takes_no_more(kind: str, tmp_path: Path, redis: RedisServer) -> None:
    with a_store(kind, tmp_path, redis) as store:
        store._max_waiting = 2
        put(store, a_job(1), a_job(2))
        with pytest.raises(Overloaded):
            store.submit(a_job(3), NOW)
        with pytest.raises(Overloaded):
            store.submit_batch(batch_of(1), NOW)
        store.update(a_job(1).id, lambda job: model.cancel(job, NOW))
        put(store, a_job(3))


def test_threads_lose_no_update(store: Store) -> None:
    put(store, *(a_job(n) for n in range(1, 41)))
    claimed: list[str] = []

    def work(name: str) -> None:
        while jobs := store.claim(name, LATER, LEASE_S, 2):
            for job in jobs:
                claimed.append(job.id)
                for letter in "ab":
                    made = (model.VariantResult(letter),)
                    store.update(job.id, lambda one, m=made: model.advance(one, 1, None, m))
                store.update(job.id, lambda one: model.complete(one, 1, LATER))

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == [a_job(n).id for n in range(1, 41)]
    done = store.find(Filter(limit=100))
    assert {(job.status, len(job.results), job.version) for job in done} == {
        (Status.COMPLETED, 2, 5)
    }
    assert store.stats(LATER).counts == {(Status.COMPLETED, 5): 40}


def test_a_store_that_is_down_says_so_and_when_to_come_back(tmp_path: Path) -> None:
    server = RedisServer()
    down = RedisStore(server.url)
    server.kill()
    (tmp_path / "file").touch()
    nowhere = SqliteStore(tmp_path / "file" / "jobs.db")
    for store in (down, nowhere):
        for call in (
            lambda s=store: s.submit(a_job(), NOW),
            lambda s=store: s.get(a_job().id),
            lambda s=store: s.stats(NOW),
            lambda s=store: s.find(Filter()),
            lambda s=store: s.check(),
            lambda s=store: s.claim("me", NOW, LEASE_S),
        ):
            with pytest.raises(StorageUnavailable) as fault:
                call()
            assert fault.value.retry_after_s > 0


def test_jobs_are_still_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    with a_store("sqlite", tmp_path) as store:
        put(store, full(a_job(1)), a_job(2))
        claim(store)
        before = store.find(Filter())
    with a_store("sqlite", tmp_path) as store:
        assert store.find(Filter()) == before
