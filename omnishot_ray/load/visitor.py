"""The Locust user: sends what the traffic model says, and judges what comes back.

Importing it patches the process for gevent, as importing Locust does.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from time import monotonic, perf_counter, time
from typing import Any

import gevent
from locust import FastHttpUser, task

from omnishot_ray.load import checks
from omnishot_ray.load.answers import Answer
from omnishot_ray.load.messages import pack, read_queue_ms
from omnishot_ray.load.traffic import Ask, Traffic

_JOB_S = 60.0
"""How long a job may take."""
_JOB_POLL_S = 0.25


def make_visitor(
    traffic: Traffic,
    note: Callable[[Answer], None],
    first: int = 0,
    step: int = 1,
    pace_s: float | None = None,
    decode_every: int = 20,
) -> type[FastHttpUser]:
    """A Locust user class.

    Visitors get the numbers `first`, `first + step`, …; with `pace_s` each starts a request every
    so many seconds instead of thinking. Of every `decode_every` answers one is decoded.
    """
    numbers = itertools.count(first, step)
    answers = itertools.count()

    class Visitor(FastHttpUser):  # type: ignore[misc]
        """One of them."""

        network_timeout = connection_timeout = 60.0

        def on_start(self) -> None:
            number = next(numbers)
            self.asks: Iterator[Ask] = traffic.visitor(number)
            # The paces of many users are spread over the time of one.
            self.next_at = monotonic() + (number * 0.618034 % 1.0) * (pace_s or 0.0)

        @task  # type: ignore[untyped-decorator]
        def visit(self) -> None:
            """Think, ask, look."""
            ask = next(self.asks)
            if pace_s is None:
                gevent.sleep(ask.think_s)
            else:
                gevent.sleep(max(0.0, self.next_at - monotonic()))
                self.next_at += pace_s
            note(self.ask(ask))

        def ask(self, ask: Ask) -> Answer:
            """Send one request. Its time ends with the last byte, that of a job with its end."""
            content_type, body = pack(ask)
            started = perf_counter()
            with self.client.post(
                ask.path,
                data=body,
                headers={"Content-Type": content_type, "Accept-Encoding": "identity"},
                name=ask.kind,
                catch_response=True,
            ) as answer:
                status, content = int(answer.status_code or 0), answer.content or b""
                ms = (perf_counter() - started) * 1000.0
                headers = {k.lower(): v for k, v in (answer.headers or {}).items()}
                if ask.wrap == "job":
                    problem = self.follow(ask, status, headers)
                    ms = (perf_counter() - started) * 1000.0
                else:
                    decode = next(answers) % decode_every == 0
                    problem = checks.judge(ask, status, content, decode)
                if problem:
                    answer.failure(problem)
                else:
                    answer.success()
            return Answer(
                time(),
                ask.kind,
                ms,
                problem,
                read_queue_ms(headers),
                headers.get("x-cache", ""),
                len(content),
            )

        def follow(self, ask: Ask, status: int, headers: Mapping[str, str]) -> str:
            """Wait for a job's end."""
            if status not in (200, 202):
                return f"status {status}" if status else checks.NO_ANSWER
            place, until = headers.get("location", ""), monotonic() + _JOB_S
            while monotonic() < until:
                with self.client.get(place, name="job state", catch_response=True) as answer:
                    answer.success()
                    if answer.status_code != 200:
                        return f"job state {answer.status_code}"
                    document: Any = answer.json()
                if document.get("status") not in ("queued", "active"):
                    return checks.judge_job(ask, document)
                gevent.sleep(_JOB_POLL_S)
            return "job without an end"

    return Visitor
