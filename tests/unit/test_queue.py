"""The waiting line: by priority, bounded by its work, drained in batches."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.errors import Overloaded
from omnishot_ray.imaging.options import Options
from omnishot_ray.protocol import ImageTask
from omnishot_ray.serving.queue import QueueConfig, TaskQueue, Waiting

Make = Callable[..., Waiting]


@pytest.fixture(scope="module")
def waiting() -> Iterator[Make]:
    """Makes tasks that wait; the promise of an outcome needs an event loop."""
    loop = asyncio.new_event_loop()

    def make(
        name: str = "a",
        cost: float = 10.0,
        priority: int = 5,
        size: int = 10,
        at: float = 0.0,
        deaths: int = 0,
    ) -> Waiting:
        task = ImageTask(bytes(size), (Options(),), name, priority)
        return Waiting(task, cost, loop.create_future(), at, deaths=deaths)

    yield make
    loop.close()


def names(batch: Sequence[Waiting]) -> str:
    return "".join(one.task.request_id for one in batch)


def drained(queue: TaskQueue) -> list[str]:
    batches = []
    while queue:
        batches.append(names(queue.pop_batch()))
    return batches


def filled(config: QueueConfig, tasks: Sequence[Waiting]) -> TaskQueue:
    queue = TaskQueue(config)
    for task in tasks:
        queue.push(task, drain_rate=1)
    return queue


LONG = {"max_waiting_ms": 1e9, "max_waiting_s": 1e9, "standing_s": 1e9}
ONE_BY_ONE = QueueConfig(batch_max=1, **LONG)


def test_an_empty_queue_gives_an_empty_batch() -> None:
    queue = TaskQueue(QueueConfig())
    assert len(queue) == 0
    assert queue.pop_batch() == []


def test_priority_1_comes_first_and_equals_in_their_order(waiting: Make) -> None:
    order = [("a", 5), ("b", 1), ("c", 10), ("d", 1), ("e", 5)]
    queue = filled(ONE_BY_ONE, [waiting(name, priority=priority) for name, priority in order])
    assert "".join(drained(queue)) == "bdaec"


@given(data=st.data())
def test_any_line_is_served_by_priority_then_arrival(waiting: Make, data: st.DataObject) -> None:
    priorities = data.draw(st.lists(st.integers(1, 10), max_size=30))
    tasks = [waiting(str(index), priority=one) for index, one in enumerate(priorities)]
    queue = filled(ONE_BY_ONE, tasks)
    assert drained(queue) == [one.task.request_id for one in sorted(tasks, key=by_priority)]


def by_priority(waiting: Waiting) -> int:
    return waiting.task.priority


@pytest.mark.parametrize(
    ("config", "tasks", "batches"),
    [
        ({"batch_ms": 30, "hop_ms": 99}, [{"cost": 10}] * 7, [3, 3, 1]),
        ({"batch_ms": 30, "hop_ms": 99}, [{"cost": 5}, {"cost": 26}, {"cost": 27}], [1, 1, 1]),
        ({"hop_ms": 4}, [{"cost": 10}] * 7, [3, 2, 1, 1]),  # 7 hops of 4 ms pay for 20 ms more
        ({"hop_ms": 4}, [{"cost": 4}] * 3, [3]),
        ({"hop_ms": 0}, [{"cost": 1}] * 3, [1, 1, 1]),
        ({"batch_ms": 30}, [{"cost": 500}, {"cost": 1}, {"cost": 500}], [1, 1, 1]),
        ({"batch_max": 2}, [{"cost": 1}] * 5, [2, 2, 1]),
        ({"batch_max_bytes": 100}, [{"size": 40, "cost": 1}] * 5, [2, 2, 1]),
        ({"batch_max_bytes": 100}, [{"size": 900, "cost": 1}, {"size": 1, "cost": 1}], [1, 1]),
    ],
    ids=str,
)
def test_a_batch_is_filled_up_to_its_bounds(
    waiting: Make, config: dict[str, Any], tasks: list[dict[str, Any]], batches: list[int]
) -> None:
    queue = filled(QueueConfig(**config), [waiting(**task) for task in tasks])
    assert [len(batch) for batch in drained(queue)] == batches


@given(data=st.data())
def test_batches_keep_their_bounds_and_lose_nobody(waiting: Make, data: st.DataObject) -> None:
    shapes = data.draw(
        st.lists(st.tuples(st.floats(0.1, 60), st.integers(0, 300), st.integers(1, 3)), max_size=25)
    )
    tasks = [waiting(cost=cost, size=size, priority=p) for cost, size, p in shapes]
    config = QueueConfig(batch_ms=50, hop_ms=50, batch_max=4, batch_max_bytes=500, **LONG)
    queue = filled(config, tasks)
    assert queue.waiting_ms == pytest.approx(sum(task.cost_ms for task in tasks))

    served: list[Waiting] = []
    while queue:
        batch = queue.pop_batch()
        assert 1 <= len(batch) <= 4
        assert len(batch) == 1 or sum(one.cost_ms for one in batch) <= 50
        assert len(batch) == 1 or sum(len(one.task.data) for one in batch) <= 500
        served += batch

    assert sorted(map(id, served)) == sorted(map(id, tasks))
    assert queue.waiting_ms == 0


@pytest.mark.parametrize(("drain_rate", "retry_after_s"), [(1, 2.0), (4, 0.5)])
def test_a_full_queue_says_when_to_come_back(
    waiting: Make, drain_rate: float, retry_after_s: float
) -> None:
    queue = filled(QueueConfig(max_waiting_ms=5000), [waiting(cost=3000), waiting(cost=2000)])
    with pytest.raises(Overloaded) as caught:
        queue.push(waiting(cost=2000), drain_rate)
    assert caught.value.retry_after_s == retry_after_s
    assert "2 tasks" in caught.value.detail
    assert "5.0 core-seconds" in caught.value.detail
    assert len(queue) == 2


def test_there_is_room_again_after_a_batch_has_left(waiting: Make) -> None:
    queue = filled(QueueConfig(max_waiting_ms=50), [waiting(cost=25), waiting(cost=25)])
    with pytest.raises(Overloaded):
        queue.push(waiting(), 1)
    queue.pop_batch()
    queue.push(waiting("z"), 1)
    assert "z" in "".join(drained(queue))


def test_a_task_larger_than_the_bound_may_wait_alone(waiting: Make) -> None:
    queue = filled(QueueConfig(max_waiting_ms=50), [waiting(cost=9000)])
    assert len(queue.pop_batch()) == 1


def test_whose_client_has_left_is_dropped(waiting: Make) -> None:
    tasks = [waiting(name) for name in "abcd"]
    queue = filled(QueueConfig(batch_ms=20), tasks)
    tasks[0].outcome.cancel()
    tasks[2].outcome.cancel()
    assert drained(queue) == ["bd"]
    assert queue.waiting_ms == 0


def test_a_queue_of_those_who_left_gives_an_empty_batch(waiting: Make) -> None:
    tasks = [waiting(), waiting(cost=1000)]
    queue = filled(QueueConfig(), tasks)
    for task in tasks:
        task.outcome.cancel()
    assert queue.pop_batch() == []
    assert len(queue) == 0


def test_who_left_takes_no_room(waiting: Make) -> None:
    """Clients that gave up while every replica was busy are no reason to turn others away."""
    tasks = [waiting(cost=25), waiting(cost=25)]
    queue = filled(QueueConfig(max_waiting_ms=50), tasks)
    for task in tasks:
        task.outcome.cancel()
    queue.push(waiting("z", cost=25), 1)
    assert drained(queue) == ["z"]


def test_the_line_is_as_long_as_the_time_it_takes(waiting: Make) -> None:
    config = QueueConfig(max_waiting_s=2)
    assert len(filled(config, [waiting(cost=1000)] * 2)) == 2
    with pytest.raises(Overloaded):
        filled(config, [waiting(cost=1000)] * 3)
    queue = filled(config, [waiting(cost=1000)] * 2)
    queue.push(waiting(cost=1000), drain_rate=1.5)
    assert queue.fill == pytest.approx(1.0)


STANDING = QueueConfig(
    max_waiting_s=2, standing_s=0.5, standing_tasks=0, standing_after_s=1, batch_max=1
)


def test_a_line_that_stands_is_made_shorter(waiting: Make) -> None:
    queue = filled(STANDING, [waiting(name, cost=400) for name in "abc"])
    queue.push(waiting("d", cost=400, at=0.1), 1)
    assert list(queue.shed(0.1)) == []
    queue.push(waiting("e", cost=400, at=1.2), 1)
    assert names(queue.shed(1.2)) == "edcb"
    with pytest.raises(Overloaded):
        queue.push(waiting("f", cost=400, at=1.3), 1)
    assert drained(queue) == ["a"]


@pytest.mark.parametrize(
    ("offered", "kept"), [(0.0, "abcde"), (1.0, "abcde"), (2.5, "ab"), (9.0, "a"), (1e9, "a")]
)
def test_a_line_that_stands_is_the_shorter_the_more_comes(
    waiting: Make, offered: float, kept: str
) -> None:
    queue = filled(STANDING, [waiting(name, cost=100) for name in "abcdef"])
    queue.push(waiting("g", cost=100, at=0.1), 1, offered=offered)
    queue.push(waiting("h", cost=100, at=1.2), 1, offered=offered)
    gone = queue.shed(1.2)
    with pytest.raises(Overloaded):
        queue.push(waiting("i", cost=100, at=1.3), 1, offered=offered)
    assert drained(queue) == [*kept]
    assert len(gone) + len(kept) == 8


def test_a_line_that_stands_has_work_for_a_batch_however_much_comes(waiting: Make) -> None:
    queue = filled(replace(STANDING, batch_ms=100), [waiting(cost=20)] * 26)
    for at in (0.1, 1.2):
        queue.push(waiting(cost=20, at=at), 1, offered=1e9)
    queue.shed(1.2)
    assert queue.waiting_ms == 100


@pytest.mark.parametrize(("offered", "after_s"), [(0.5, 1.0), (1.0, 1.0), (4.0, 0.25)])
def test_a_line_stands_the_sooner_the_more_comes(
    waiting: Make, offered: float, after_s: float
) -> None:
    queue = filled(STANDING, [waiting(cost=100) for _ in range(6)])
    queue.push(waiting(cost=100, at=0.0), 1, offered=offered)
    queue.push(waiting(cost=100, at=after_s - 0.01), 1, offered=offered)
    assert not queue.stands
    queue.push(waiting(cost=100, at=after_s + 0.01), 1, offered=offered)
    assert queue.stands


def test_a_line_of_dear_tasks_may_be_longer(waiting: Make) -> None:
    queue = filled(replace(STANDING, standing_tasks=3), [waiting("a", cost=400, at=0)])
    for name in "bcde":
        queue.push(waiting(name, cost=400, at=0.1), 1)
    queue.push(waiting("f", cost=400, at=1.2), 1)
    assert names(queue.shed(1.2)) == "fed"


def test_a_line_may_stand_for_longer_where_replicas_may_come(waiting: Make) -> None:
    queue = TaskQueue(replace(STANDING, growth_s=10))
    for name, at in (("a", 0.0), ("b", 0.0), ("c", 0.1), ("d", 9.9)):
        queue.push(waiting(name, cost=400, at=at), 1, missing=1)
    assert list(queue.shed(9.9)) == []
    queue.push(waiting("e", cost=400, at=10.2), 1, missing=1)
    assert names(queue.shed(10.2)) == "edcb"


def test_a_line_stands_anew_when_all_replicas_have_come(waiting: Make) -> None:
    queue = TaskQueue(replace(STANDING, growth_s=10))
    for name, at in (("a", 0.0), ("b", 0.0), ("c", 0.1)):
        queue.push(waiting(name, cost=400, at=at), 1, missing=1)
    queue.push(waiting("d", cost=400, at=9.0), 2)
    assert list(queue.shed(9.0)) == []
    queue.push(waiting("e", cost=400, at=10.1), 2)
    assert names(queue.shed(10.1)) == "edc"


def test_a_long_line_stands_though_nobody_comes(waiting: Make) -> None:
    """Those who come go to gateways that have less to do."""
    queue = filled(STANDING, [waiting(name, cost=400) for name in "abcde"])
    assert list(queue.shed(0.9)) == []
    assert names(queue.shed(1.1)) == "edcb"
    assert list(queue.shed(1.2)) == []


def test_a_burst_after_which_nobody_comes_is_worked_off(waiting: Make) -> None:
    queue = filled(STANDING, [waiting(name, cost=400) for name in "abc"])
    assert list(queue.shed(60.0)) == []
    assert drained(queue) == ["a", "b", "c"]


def test_a_line_that_was_short_for_a_while_may_be_long_again(waiting: Make) -> None:
    queue = filled(STANDING, [waiting(name, cost=400) for name in "abc"])
    queue.push(waiting("d", cost=400, at=1.0), 1)
    assert len(queue.shed(1.0)) == 3
    drained(queue)
    for at in (3.0, 4.1):
        queue.push(waiting(cost=1, at=at), 1)
    for name in "fgh":
        queue.push(waiting(name, cost=400, at=4.2), 1)
    assert queue.waiting_ms == pytest.approx(1202)


def test_what_comes_back_from_a_dead_replica_is_not_cut(waiting: Make) -> None:
    queue = filled(STANDING, [waiting(name, cost=400) for name in "ab"])
    queue.push_back(waiting("back", cost=400, at=9.0, deaths=1))
    queue.push(waiting("c", cost=400, at=1.0), 1)
    queue.push(waiting("d", cost=400, at=2.1), 1)
    assert queue.shed(2.1)
    assert "back" in drained(queue)


def test_a_returned_task_keeps_its_place_and_is_never_shed(waiting: Make) -> None:
    queue = filled(QueueConfig(max_waiting_ms=30, batch_max=1), [waiting(n) for n in "abc"])
    (first,) = queue.pop_batch()
    queue.push(waiting("c"), 1)
    queue.push_back(first)
    assert drained(queue) == ["a", "b", "c", "c"]


def test_what_was_there_when_a_replica_died_travels_alone(waiting: Make) -> None:
    config = QueueConfig(hop_ms=99)
    tasks = [waiting("a"), waiting("b", deaths=1), waiting("c"), waiting("d")]
    assert drained(filled(config, tasks)) == ["a", "b", "cd"]


def test_several_free_replicas_share_what_waits(waiting: Make) -> None:
    queue = filled(QueueConfig(hop_ms=99), [waiting(n) for n in "abcd"])
    assert names(queue.pop_batch(places=2)) == "ab"
    assert names(queue.pop_batch(places=1)) == "cd"


def test_cheap_work_goes_before_dear_work(waiting: Make) -> None:
    queue = filled(ONE_BY_ONE, [waiting("dear", cost=3000), waiting("cheap", at=1.0)])
    assert drained(queue) == ["cheap", "dear"]


@given(data=st.data())
def test_nobody_starves(waiting: Make, data: st.DataObject) -> None:
    """Whatever comes later than a task's rank goes behind it, however urgent and cheap it is."""
    priority, cost = data.draw(st.integers(1, 10)), data.draw(st.floats(1, 5000))
    patient = waiting("patient", cost=cost, priority=priority)
    longest_s = 0.5 * (priority - 1) + cost / 1000 + 0.01
    later = [waiting("later", cost=1, priority=1, at=longest_s + step) for step in range(20)]
    queue = filled(ONE_BY_ONE, [*later, patient])
    assert drained(queue)[0] == "patient"


@pytest.mark.parametrize(
    "name",
    ["max_waiting_s", "standing_s", "max_waiting_ms", "batch_ms", "batch_max", "batch_max_bytes"],
)
@pytest.mark.parametrize("value", [0, -1])
def test_every_bound_is_more_than_nothing(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        QueueConfig(**{name: value})


@pytest.mark.parametrize(
    "name", ["standing_tasks", "standing_after_s", "growth_s", "ageing_s", "cost_weight", "hop_ms"]
)
def test_no_weight_is_less_than_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        QueueConfig(**{name: -1})
