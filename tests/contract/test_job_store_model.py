"""Whatever is done to a store in whatever order, it is what the simplest model says."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from omnishot_ray.jobs import model
from omnishot_ray.jobs.asking import Filter
from omnishot_ray.jobs.model import FINISHED, IllegalTransition, StaleAttempt, Status
from tests.jobbing import LASTING, LEASE_S, NOW, PASSING, a_job, a_store
from tests.redis_server import running_redis

PICK = st.integers(0, 30)


class StoreMachine(RuleBasedStateMachine):
    """The model: each job's status, attempt, and when its lease or pause ends."""

    kind: ClassVar[str] = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(TemporaryDirectory()))
        redis = self.stack.enter_context(running_redis()) if self.kind == "redis" else None
        self.store = self.stack.enter_context(a_store(self.kind, folder, redis))
        self.now = NOW
        self.status: dict[str, Status] = {}
        self.attempt: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.due: dict[str, float] = {}
        self.scopes: dict[str, str] = {}

    def teardown(self) -> None:
        self.stack.close()

    def pick(self, number: int) -> str:
        return sorted(self.status)[number % len(self.status)]

    @rule(priority=st.integers(1, 10), user=st.sampled_from("ab"), scope=st.sampled_from(["", "s"]))
    def submit(self, priority: int, user: str, scope: str) -> None:
        job = a_job(len(self.status) + 1, priority=priority, user_id=user, scope=scope)
        job = replace(job, queued_at=self.now)
        taken = self.store.submit(job, self.now)
        same = [one for one, its in self.scopes.items() if scope and its == scope]
        newest = max(same, default="")
        alike = newest if newest and self.status[newest] in model.UNFINISHED else ""
        assert (taken.created, taken.job.id) == (not alike, alike or job.id)
        if taken.created:
            self.status[job.id], self.attempt[job.id] = Status.QUEUED, 0
            self.failures[job.id], self.scopes[job.id] = 0, scope

    @rule(most=st.integers(1, 3))
    def claim(self, most: int) -> None:
        for job_id, status in self.status.items():
            if status is Status.DELAYED and self.due[job_id] <= self.now:
                self.status[job_id] = Status.QUEUED
        queued = [one for one, status in self.status.items() if status is Status.QUEUED]
        claimed = self.store.claim("w", self.now, LEASE_S, most)
        assert len(claimed) == min(most, len(queued))
        for job in claimed:
            assert job.id in queued
            self.status[job.id] = Status.ACTIVE
            self.attempt[job.id] += 1
            assert job.attempts == self.attempt[job.id]
            self.due[job.id] = self.now + LEASE_S

    @precondition(lambda self: self.status)
    @rule(number=PICK, late=st.booleans(), how=st.sampled_from(["complete", "lasting", "passing"]))
    def settle(self, number: int, late: bool, how: str) -> None:
        job_id = self.pick(number)
        attempt = self.attempt[job_id] - late
        try:
            if how == "complete":
                change = lambda job: model.complete(job, attempt, self.now)  # noqa: E731
            else:
                failure = LASTING if how == "lasting" else PASSING
                change = lambda job: model.fail(job, attempt, failure, self.now, 3)  # noqa: E731
            self.store.update(job_id, change)
        except StaleAttempt:
            assert late or self.status[job_id] is not Status.ACTIVE
            return
        assert not late
        assert self.status[job_id] is Status.ACTIVE
        if how != "complete":
            self.failures[job_id] += 1
        dead = self.failures[job_id] >= 3
        self.due[job_id] = self.now + 3
        self.status[job_id] = {
            "complete": Status.COMPLETED,
            "lasting": Status.FAILED,
            "passing": Status.DEAD if dead else Status.DELAYED,
        }[how]

    @precondition(lambda self: self.status)
    @rule(number=PICK, cancels=st.booleans())
    def cancel_or_replay(self, number: int, cancels: bool) -> None:
        job_id = self.pick(number)
        wanted = Status.CANCELLED if cancels else Status.QUEUED
        change = model.cancel if cancels else model.replay
        before = self.status[job_id]
        try:
            self.store.update(job_id, lambda job: change(job, self.now))
        except IllegalTransition:
            assert before in (FINISHED if cancels else (*model.UNFINISHED, Status.COMPLETED))
            return
        assert wanted in model.TRANSITIONS[before]
        assert cancels or before in FINISHED
        self.status[job_id] = wanted
        if not cancels:
            self.failures[job_id] = 0

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        stalled = {job.id for job in self.store.requeue_stalled(self.now, 1000)}
        assert stalled == {
            job_id
            for job_id, status in self.status.items()
            if status is Status.ACTIVE and self.due[job_id] <= self.now
        }
        for job_id in stalled:
            self.status[job_id] = Status.QUEUED

    @rule()
    def give_signs_of_life(self) -> None:
        held = {one: n for one, n in self.attempt.items() if n}
        lost = self.store.prolong(held, self.now, LEASE_S)
        assert lost == {one for one in held if self.status[one] is not Status.ACTIVE}
        for job_id in held.keys() - lost:
            self.due[job_id] = self.now + LEASE_S

    @invariant()
    def the_store_is_what_the_model_says(self) -> None:
        found = self.store.find(Filter(limit=1000))
        assert {job.id: (job.status, job.attempts) for job in found} == {
            job_id: (status, self.attempt[job_id]) for job_id, status in self.status.items()
        }
        stats = self.store.stats(self.now)
        for status in Status:
            assert stats.of(status) == sum(one is status for one in self.status.values())
            listed = self.store.find(Filter((status,), limit=1000))
            assert len(listed) == stats.of(status)


@pytest.mark.parametrize(("kind", "examples"), [("memory", 60), ("sqlite", 20), ("redis", 10)])
def test_any_order_of_events(kind: str, examples: int) -> None:
    machine = type("Machine", (StoreMachine,), {"kind": kind})
    case = machine.TestCase
    case.settings = settings(max_examples=examples, stateful_step_count=30)
    case("runTest").runTest()
