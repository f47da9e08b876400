"""A job changes only in the ways that are drawn."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from omnishot_ray.jobs import model
from omnishot_ray.jobs.codec import read_batch, read_job
from omnishot_ray.jobs.model import (
    TRANSITIONS,
    Batch,
    IllegalTransition,
    Job,
    StaleAttempt,
    Status,
    VariantResult,
)
from omnishot_ray.jobs.turns import MAX_BACKOFF_S, Head, backoff, order, rank
from tests.jobbing import LASTING, NOW, PASSING, a_job

CHANGES: dict[str, tuple[Callable[[Job], Job], set[tuple[Status, Status]]]] = {
    "start": (
        lambda job: model.start(job, "w", NOW, 15),
        {(Status.QUEUED, Status.ACTIVE)},
    ),
    "complete": (
        lambda job: model.complete(job, 1, NOW),
        {(Status.ACTIVE, Status.COMPLETED)},
    ),
    "fail for good": (
        lambda job: model.fail(job, 1, LASTING, NOW, 0),
        {(Status.ACTIVE, Status.FAILED)},
    ),
    "fail for now": (
        lambda job: model.fail(job, 1, PASSING, NOW, 4),
        {(Status.ACTIVE, Status.DELAYED)},
    ),
    "fail for the last time": (
        lambda job: model.fail(replace(job, max_attempts=1), 1, PASSING, NOW, 4),
        {(Status.ACTIVE, Status.DEAD)},
    ),
    "wake": (lambda job: model.wake(job, NOW), {(Status.DELAYED, Status.QUEUED)}),
    "stall": (lambda job: model.stall(job, NOW, 3), {(Status.ACTIVE, Status.QUEUED)}),
    "stall once too often": (
        lambda job: model.stall(job, NOW, 0),
        {(Status.ACTIVE, Status.DEAD)},
    ),
    "release": (lambda job: model.release(job, 1), {(Status.ACTIVE, Status.QUEUED)}),
    "cancel": (
        lambda job: model.cancel(job, NOW),
        {(status, Status.CANCELLED) for status in model.UNFINISHED},
    ),
    "replay": (
        lambda job: model.replay(job, NOW),
        {(status, Status.QUEUED) for status in (Status.FAILED, Status.DEAD, Status.CANCELLED)},
    ),
}


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_legal_from_where_it_is_drawn_and_nowhere_else(
    name: str, status: Status
) -> None:
    change, legal = CHANGES[name]
    job = replace(a_job(), status=status, attempts=1, due_at=NOW)
    targets = [after for before, after in legal if before is status]
    if not targets:
        with pytest.raises((IllegalTransition, StaleAttempt)):
            change(job)
        return
    changed = change(job)
    assert [changed.status] == targets
    assert changed.version == job.version + 1
    assert changed.status in TRANSITIONS[status]


def test_every_drawn_transition_is_some_change() -> None:
    drawn = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
    assert drawn == {pair for _, legal in CHANGES.values() for pair in legal}


def test_only_what_is_over_may_be_woken_or_found_stalled() -> None:
    for status, change in ((Status.DELAYED, model.wake), (Status.ACTIVE, None)):
        job = replace(a_job(), status=status, due_at=NOW + 1)
        with pytest.raises(StaleAttempt):
            change(job, NOW) if change else model.stall(job, NOW, 3)


def test_a_job_reads_as_it_was_written_and_survives_new_and_lost_fields() -> None:
    job = replace(a_job(), results=(VariantResult("a", failure=LASTING),), error=PASSING)
    assert read_job(job.as_json()) == job
    text = job.as_json().replace(b'"user_id":""', b'"gone":1')
    assert read_job(text) == job
    batch = Batch("b", NOW, 1, jobs=(job,))
    assert read_batch(batch.as_json()) == batch


def test_ids_sort_by_time_and_are_uuid7() -> None:
    ids = [model.new_id(NOW + n / 1000) for n in range(50)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert all(len(one) == 32 and one[12] == "7" and one[16] in "89ab" for one in ids)


def test_a_replay_fetches_anew_what_came_from_an_address() -> None:
    work = replace(a_job().work, url="https://a.org/", digest="d" * 64)
    made = (VariantResult("a", "e" * 64),)
    failed = replace(a_job(), work=work, status=Status.FAILED, results=made)
    again = model.replay(failed, NOW)
    assert (again.work.digest, again.results) == ("", ())
    kept = model.replay(replace(failed, work=replace(work, url="")), NOW)
    assert (kept.work.digest, kept.results) == ("d" * 64, made)


def test_progress_is_whole_only_at_the_end() -> None:
    job = replace(a_job(), status=Status.ACTIVE, attempts=1)
    assert job.progress == 0
    for name, percent in (("a", 50), ("b", 99)):
        job = model.advance(job, 1, None, (VariantResult(name),))
        assert job.progress == percent
    assert model.complete(job, 1, NOW).progress == 100


@pytest.mark.parametrize(
    ("failures", "highest"), [(1, 2.0), (2, 4.0), (3, 8.0), (60, MAX_BACKOFF_S)]
)
def test_backoff_is_anything_up_to_2_4_8_seconds(failures: int, highest: float) -> None:
    assert backoff(failures, 2.0, 1.0) == highest
    assert backoff(failures, 2.0, 0.0) == 0.0
    drawn = {backoff(failures, 2.0) for _ in range(200)}
    assert all(0 <= delay <= highest for delay in drawn)
    assert max(drawn) > highest / 2 > min(drawn)


def test_turns() -> None:
    def head(user: str, waited_s: float, priority: int, turn: int) -> Head:
        job = a_job(queued_at=NOW - waited_s, priority=priority)
        return Head(user, user, rank(job, 10.0), turn)

    def first(*heads: Head) -> str:
        return order(heads, NOW, 10.0)[0].user_id

    assert first(head("a", 1, 5, 0), head("b", 0, 1, 9)) == "b", "the more urgent"
    assert first(head("a", 45, 5, 0), head("b", 0, 2, 9)) == "a", "who has waited four steps"
    assert first(head("a", 900, 1, 8), head("b", 95, 10, 3)) == "b", "whose turn is longer ago"
    assert first(head("a", 9, 5, 1), head("b", 8, 5, 1)) == "a", "who came first"


def test_a_fault_of_the_service_is_not_held_against_the_job() -> None:
    ours = model.Failure("storage-unavailable", "Storage not available", "Later.", retryable=True)
    job = replace(a_job(max_attempts=1), status=Status.ACTIVE, attempts=1)
    again = model.fail(job, 1, ours, NOW, 4, max_stalls=1)
    assert (again.status, again.failures, again.stalls) == (Status.DELAYED, 0, 1)
    once_more = replace(again, status=Status.ACTIVE)
    assert model.fail(once_more, 1, ours, NOW, 4, max_stalls=1).status is Status.DEAD
