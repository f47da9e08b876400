"""The Locust user: sends what the traffic model says, and judges what comes back.

Importing it patches the process for gevent, as importing Locust does.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter, time
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore
from gevent.pool import Group
from locust import FastHttpUser, task

from omnishot_ray.load import checks
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.messages import authorize, is_own, pack, read_queue_ms
from omnishot_ray.load.traffic import Ask, Traffic

PATIENCE_S = 10.0
"""What is open when its visitor leaves has so long to come to its end."""
_MOST_S = 60.0
"""How long a request may take, from its sending to the last byte of its answer."""
_JOB_S = 60.0
"""How long a job may take."""
_JOB_POLL_S = 0.25
_MOST_OPEN = 8
"""Requests that a visitor with a pace has open at a time. A body has megabytes."""
_FETCH_EVERY = 4
"""Of the results of so many jobs, those of one are fetched."""


def make_visitor(
    traffic: Traffic,
    note: Callable[[Answer], None],
    first: int = 0,
    step: int = 1,
    pace_s: float | None = None,
    decode_every: int = 20,
    key: str = "",
    patience_s: float = PATIENCE_S,
) -> type[FastHttpUser]:
    """A Locust user class.

    Visitors get the numbers `first`, `first + step`, …; with `pace_s` each has a request due every
    so many seconds, whatever becomes of those before, instead of thinking after an answer. Of
    every `decode_every` answers one is decoded. `key` is an API key, empty for none.

    Every request that was sent or due leaves an answer, with one exception: of those whose visitor
    is killed, which Locust does `patience_s` after he was told to leave, the ones younger than
    half of that.
    """
    numbers = itertools.count(first, step)
    answers, jobs = itertools.count(), itertools.count()
    rights = authorize(key)
    fair_s = patience_s / 2

    class Visitor(FastHttpUser):  # type: ignore[misc]
        """One of them."""

        network_timeout = connection_timeout = _MOST_S
        concurrency = _MOST_OPEN

        def on_start(self) -> None:
            number = next(numbers)
            self.asks: Iterator[Ask] = traffic.visitor(number)
            self.open, self.places = Group(), BoundedSemaphore(_MOST_OPEN)
            # The paces of many users are spread over the time of one.
            self.due_s = perf_counter() + (number * 0.618034 % 1.0) * (pace_s or 0.0)
            self.wait()

        def wait_time(self) -> float:
            """Seconds until the next request. Locust may end a visitor while he waits for it."""
            self.next = next(self.asks)
            if pace_s is None:
                return self.next.think_s
            return max(0.0, self.due_s - perf_counter())

        @task  # type: ignore[untyped-decorator]
        def visit(self) -> None:
            """Ask and look. With a pace others do so, for the next one is due all the same."""
            if pace_s is None:
                self.attempt(self.next, perf_counter())
            else:
                self.open.spawn(self.attempt, self.next, self.due_s)
                self.due_s += pace_s

        def on_stop(self) -> None:
            """What is open has its time; Locust waits for a visitor with nothing but a task."""
            try:
                self.open.join(timeout=patience_s)
            finally:
                self.open.kill()

        def attempt(self, ask: Ask, due_s: float) -> None:
            """Send a request that was due then (by `perf_counter`), and note what became of it."""
            try:
                with self.places:
                    answer = self.ask(ask, due_s)
            except gevent.GreenletExit:
                if perf_counter() - due_s >= fair_s:
                    self.lose(ask, due_s, f"{checks.NO_ANSWER} within {fair_s:g} s")
                raise
            # Without an answer it would look as if it had never been asked for.
            except (Exception, gevent.Timeout) as error:
                self.lose(ask, due_s, f"{checks.BROKEN_OFF}: {type(error).__name__}")
            else:
                note(answer)

        def lose(self, ask: Ask, due_s: float, problem: str) -> None:
            """Note a request without an answer, and tell Locust, who knows of none either."""
            ms = (perf_counter() - due_s) * 1000.0
            self.environment.events.request.fire(
                request_type="POST",
                name=ask.kind,
                response_time=ms,
                response_length=0,
                exception=RuntimeError(problem),
                context={},
            )
            note(Answer(time(), ask.kind, ms, problem))

        def ask(self, ask: Ask, due_s: float) -> Answer:
            """Send one request. Its time begins when it was due, however late it was sent; it ends
            with the last byte, that of a job with its end.
            """
            content_type, body = pack(ask)
            headers = {"Content-Type": content_type, "Accept-Encoding": "identity", **rights}
            with (
                gevent.Timeout(_MOST_S),
                self.client.post(
                    ask.path, data=body, headers=headers, name=ask.kind, catch_response=True
                ) as answer,
            ):
                status, content, problem = _read(answer)
                ms = (perf_counter() - due_s) * 1000.0
                told = {k.lower(): v for k, v in (answer.headers or {}).items()}
                if not problem and ask.wrap != "job":
                    decode = next(answers) % decode_every == 0
                    problem = checks.judge(ask, status, content, decode)
                if problem:
                    answer.failure(problem)
                else:
                    answer.success()
            if not problem and ask.wrap == "job":
                problem, document = self.follow(status, told)
                ms = (perf_counter() - due_s) * 1000.0
                problem = problem or self.judge_job(ask, document)
            return Answer(
                time(),
                ask.kind,
                ms,
                problem,
                read_queue_ms(told),
                told.get("x-cache", ""),
                len(content),
            )

        def follow(self, status: int, headers: Mapping[str, str]) -> tuple[str, Any]:
            """Wait for a job's end: what is wrong, and its document."""
            if status not in (200, 202):
                return (f"status {status}" if status else checks.NO_ANSWER), None
            place, until = headers.get("location", ""), perf_counter() + _JOB_S
            while (left_s := until - perf_counter()) > 0:
                status, content, problem = self.get(place, "job state", left_s)
                if problem or status != 200:
                    return problem or f"job state {status}", None
                try:
                    document = json.loads(content)
                    is_open = document["status"] in ("queued", "active")
                except (ValueError, KeyError, TypeError, RecursionError):
                    return checks.UNREADABLE, None
                if not is_open:
                    return checks.RIGHT, document
                gevent.sleep(_JOB_POLL_S)
            return "job without an end", None

        def judge_job(self, ask: Ask, document: Any) -> str:
            """Look at a job's document, of some at their results too."""
            problem = checks.judge_job(ask, document)
            if problem or next(jobs) % _FETCH_EVERY:
                return problem
            places = {one["name"]: str(one.get("url")) for one in document["variants"]}
            for expected in ask.expected:
                status, data, problem = self.get(places[expected.name], "job result", _MOST_S)
                problem = problem or checks.judge_result(expected, status, data)
                if problem:
                    return problem
            return checks.RIGHT

        def get(self, place: str, name: str, most_s: float) -> tuple[int, bytes, str]:
            """Status and body of what an answer has named, and what is wrong with them."""
            if not is_own(self.host, place):
                return 0, b"", f"{name} elsewhere"
            with (
                gevent.Timeout(most_s),
                self.client.get(
                    place, headers=dict(rights), name=name, catch_response=True
                ) as answer,
            ):
                status, content, problem = _read(answer)
                if problem:
                    answer.failure(problem)
                else:
                    answer.success()
            return status, content, problem

    return Visitor


def _read(answer: Any) -> tuple[int, bytes, str]:
    """Status, body, and why there is none.

    Locust keeps what went wrong; asked for the body again, the client would read from a connection
    that it has given back.
    """
    status, error = int(answer.status_code or 0), answer.request_meta["exception"]
    if isinstance(error, gevent.Timeout | TimeoutError):
        return status, b"", f"{checks.NO_ANSWER} within {_MOST_S:g} s"
    if status == 0:
        return 0, b"", checks.NO_ANSWER
    if status < 400 and error is not None:
        return status, b"", checks.BROKEN_OFF
    return status, answer.content or b"", checks.RIGHT
