"""Several Ray nodes on one machine; one dies under load, another comes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import median

import pytest

from tests.chaos.load import Load, load
from tests.integration.service import ROOT, free_port, wait_for

THUMBNAIL = "/api/optimize?width=64&height=48"
POOLED = "/api/variants?platforms=instagram-post,x-post&format=webp&effort=5"
"""Too dear for a gateway: 189 core-ms by the cost model."""
CLIENTS = 2


class Nodes:
    """The service on a head and two nodes, in a process of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.said: list[dict] = []
        command = [sys.executable, "-m", "benchmarks.serving.nodes", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("{"):  # Ray says things too
                self.said.append(json.loads(line))

    def ask(self, line: str, event: str, deadline_s: float = 60) -> dict:
        """Send a line and wait for the event that answers it."""
        before = len(self.said)
        if line:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

        def answer() -> dict | None:
            assert self.process.poll() is None, "the nodes have ended"
            return next((one for one in self.said[before:] if one["event"] == event), None)

        return wait_for(answer, deadline_s, event)

    def stop(self) -> None:
        self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    running = Nodes()
    try:
        running.ask("", "ready", 100)
        yield running
    finally:
        running.stop()


def lost(*seen: Load) -> int:
    return sum(one.broken + sum(status != 200 for status in one.statuses) for one in seen)


def pace(seen: Load, count: int = 100) -> float:
    """Answers a second."""
    started = time.monotonic()
    seen.wait_for_more(count)
    return count / (time.monotonic() - started)


@pytest.mark.timeout(240)
def test_a_killed_node_costs_what_its_gateway_held(nodes: Nodes) -> None:
    there = nodes.said[0]["nodes"]
    assert [one["Resizer"] for one in there] == [1, 1]
    assert [one["Gateway"] for one in there] == [1, 1]
    with load(nodes, THUMBNAIL, CLIENTS) as cheap, load(nodes, POOLED, CLIENTS) as dear:
        cheap.wait_for_more(50)
        dear.wait_for_more(10)
        before = median(pace(cheap) for _ in range(3))
        assert lost(cheap, dear) == 0
        nodes.ask("kill 0", "killed")
        cheap.wait_for_more(100)
        dear.wait_for_more(10)
        at_once = lost(cheap, dear)
        # HAProxy gives the two gateways as many each, or one of them one more.
        assert at_once <= CLIENTS + 1, "more than the gateway held"
        cheap.wait_for_more(200)
        dear.wait_for_more(10)
        assert lost(cheap, dear) == at_once, "later nothing is lost"
        nodes.ask("add", "added")
        wait_for(lambda: is_back(nodes), 90, "a gateway and a Resizer on the new node")
        dear.wait_for_more(20)
        # In the best of some rounds, for the machine has quick and slow ones.
        assert any(pace(cheap) > 0.8 * before for _ in range(10)), "it does not recover"
        assert lost(cheap, dear) == at_once


def is_back(nodes: Nodes) -> bool:
    *_, new = nodes.ask("tell", "told")["nodes"]
    return new == {"Gateway": 1, "Resizer": 1}
