"""Bounded load from threads: what came back of each request, and in how long."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

from benchmarks.peers.wrk import unique
from tests.integration.service import Service, wait_for
from tests.integration.test_service import SMALL, post


@dataclass
class Load:
    """What happens while it runs; `broken` are requests without an answer, `refused` those of them
    that found nobody to send to.
    """

    statuses: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    broken: int = 0
    refused: int = 0
    lost_since: list[float] = field(default_factory=list)
    """When those without an answer were begun, by `perf_counter`."""

    def wait_for_more(self, count: int, deadline_s: float = 60) -> None:
        """Until so many more answers are in."""
        wanted = len(self.statuses) + count
        wait_for(lambda: len(self.statuses) >= wanted, deadline_s, f"{count} more answers")


@contextmanager
def load(service: Service, path: str, clients: int = 4, picture: bytes = SMALL) -> Iterator[Load]:
    """`clients` that ask one request after the other, each for a picture never sent before."""
    seen, stop = Load(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            started = perf_counter()
            try:
                answer, _ = post(service, path, unique(picture))
            except (OSError, http.client.HTTPException) as error:
                seen.broken += 1
                seen.lost_since.append(started)
                seen.refused += isinstance(error, ConnectionRefusedError)
                stop.wait(0.05)
                continue
            seen.statuses.append(answer.status)
            seen.seconds.append(perf_counter() - started)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()
