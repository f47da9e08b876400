"""Jobs under fire, and how long their answers take while the pool is busy.

    python -m benchmarks.jobs chaos --jobs 10000 --store redis
    python -m benchmarks.jobs latency

`chaos` sends jobs of mixed size to a service of its own while its Resizers, its runner and its
gateways are killed at random, and then counts: nothing may be lost, nothing be there twice, every
result has to be a picture of the size that was told. `latency` measures POST and GET of jobs and
the figures of the queue beside `/health` while jobs keep the pool busy: only the ratios mean much.
"""

import base64
import http.client
import io
import json
import os
import random
import signal
import statistics
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic, perf_counter, sleep
from typing import Any

import click
from PIL import Image

from benchmarks import machine
from benchmarks.peers.wrk import unique
from tests.integration.service import ROOT, Service, start_service
from tests.redis_server import RedisServer

DATA = ROOT / "tests" / "data"
SMALL = (DATA / "valid" / "photo_flower_480x360.jpg").read_bytes()
LARGE = (DATA / "photo_sharp_benchmark_2725x2225.jpg").read_bytes()
WORK: tuple[tuple[bytes, dict[str, Any]], ...] = (
    *((SMALL, {"variants": [{"name": "a", "width": 120}, {"name": "b", "width": 60}]}),) * 8,
    (SMALL, {"platforms": ["instagram-post", "x-post"]}),
    (LARGE, {"variants": [{"name": "a", "width": 400, "format": "webp"}]}),
)
"""Most jobs are small, some take long."""
VICTIMS = ("Resizer", "JobRunner", "Gateway")


@dataclass
class Report:
    """What became of the jobs."""

    wanted: int
    statuses: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    duplicates: int = 0
    broken: list[str] = field(default_factory=list)
    attempts: Counter[int] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Whether all that was taken in came out whole, once."""
        right = self.statuses == Counter({"completed": self.wanted})
        return right and not (self.lost or self.duplicates or self.broken)


class Client:
    """Asks again until there is an answer: connections break where gateways are killed."""

    def __init__(self, port: int, deadline_s: float) -> None:
        self._port = port
        self._until = monotonic() + deadline_s

    def ask(
        self, method: str, path: str, document: Any = None, key: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """An answer that is not a fault of the moment."""
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        body = None if document is None else json.dumps(document)
        while True:
            assert monotonic() < self._until, f"no answer to {method} {path}"
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                sleep(0.1)
                continue
            finally:
                connection.close()
            if answer.status < 500 and answer.status != 429:
                return answer.status, dict(answer.headers), content
            sleep(0.1)

    def read(self, path: str) -> Any:
        """A JSON document."""
        status, _, content = self.ask("GET", path)
        assert status == 200, content[:500]
        return json.loads(content)


def submit_jobs(client: Client, count: int, clients: int = 6) -> list[str]:
    """Ids of so many jobs, each of a picture of its own and with a key of its own."""

    def submit(number: int) -> str:
        picture, wanted = WORK[number % len(WORK)]
        data = base64.b64encode(unique(picture)).decode()
        document = {"source": {"data": data}, "priority": 1 + number % 10, **wanted}
        document["user_id"] = f"user-{number % 7}"
        status, _, content = client.ask("POST", "/api/jobs", document, f"key-{number}")
        assert status in (200, 202), content[:500]
        return str(json.loads(content)["id"])

    with ThreadPoolExecutor(clients) as threads:
        return list(threads.map(submit, range(count)))


def wait_for_all(client: Client) -> None:
    """Until nothing is waiting or active."""
    while True:
        stats = client.read("/api/queue/stats")
        if not (stats["waiting"] or stats["active"] or stats["delayed"]):
            return
        sleep(0.2)


def listed_jobs(client: Client) -> Iterator[dict[str, Any]]:
    """All jobs there are, page by page."""
    cursor = ""
    while cursor is not None:
        page = client.read(f"/api/jobs?limit=200{f'&cursor={cursor}' if cursor else ''}")
        yield from page["jobs"]
        cursor = page["next_cursor"]


def inspect(client: Client, ids: list[str]) -> Report:
    """Count what is there against what was taken in, and open every result."""
    report = Report(len(ids))
    jobs = list(listed_jobs(client))
    seen = Counter(job["id"] for job in jobs)
    report.lost = len(set(ids) - seen.keys())
    report.duplicates = len(ids) - len(set(ids)) + sum(seen.values()) - len(set(ids) & seen.keys())

    def look(job: dict[str, Any]) -> str | None:
        for variant in job["variants"]:
            if variant["status"] != "ok":
                return f"{job['id']} {variant['name']}: {variant}"
            status, _, content = client.ask("GET", variant["url"])
            if status != 200 or len(content) != variant["bytes"]:
                return f"{job['id']} {variant['name']}: {status}, {len(content)} bytes"
            with Image.open(io.BytesIO(content), formats=["JPEG", "WEBP", "PNG"]) as picture:
                picture.load()
                if picture.size != (variant["width"], variant["height"]):
                    return f"{job['id']} {variant['name']}: {picture.size}"
        return None

    for job in jobs:
        report.statuses[job["status"]] += 1
        report.attempts[job["attempts"]] += 1
    with ThreadPoolExecutor(4) as threads:
        done = [job for job in jobs if job["status"] == "completed"]
        report.broken = [fault for fault in threads.map(look, done) if fault]
    return report


@contextmanager
def killing(service: Service, every_s: float, seed: int = 0) -> Iterator[Counter[str]]:
    """Kill a random process of the service every so often."""
    chance, stop, kills = random.Random(seed), threading.Event(), Counter[str]()

    def kill() -> None:
        while not stop.wait(every_s * (0.5 + chance.random())):
            name = chance.choice(VICTIMS)
            pids = service.replicas(name)
            if pids:
                try:
                    os.kill(chance.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills[name] += 1

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield kills
    finally:
        stop.set()
        thread.join()


def environment_of(store: RedisServer | None, folder: str) -> dict[str, str]:
    """A service whose jobs are in `folder` or in Redis, and whose leases are short."""
    return {
        "OMNISHOT_JOBS__DIR": folder,
        "OMNISHOT_JOBS__LEASE_S": "4",
        "OMNISHOT_RESIZERS__MIN_REPLICAS": "2",
        **({"OMNISHOT_JOBS__REDIS_URL": store.url} if store else {}),
    }


def run_chaos(service: Service, count: int, every_s: float, deadline_s: float) -> Report:
    """Jobs while processes die, and what became of them when it is calm again."""
    client, began = Client(service.port, deadline_s), monotonic()
    with killing(service, every_s) as kills:
        ids = submit_jobs(client, count)
        while True:
            stats = client.read("/api/queue/stats")
            left = stats["waiting"] + stats["active"] + stats["delayed"]
            if left < max(5, count // 50):
                break
            sleep(0.2)
    wait_for_all(client)
    report = inspect(client, ids)
    report.kills, report.seconds = kills, monotonic() - began
    return report


@click.group()
def main() -> None:
    """Jobs under fire, and how fast they are answered."""


@main.command()
@click.option("--jobs", default=10_000, show_default=True)
@click.option("--store", type=click.Choice(["sqlite", "redis"]), default="sqlite")
@click.option("--every", default=3.0, show_default=True, help="Seconds between kills.")
@click.option("--deadline", default=7200.0, show_default=True)
def chaos(jobs: int, store: str, every: float, deadline: float) -> None:
    """Kill Resizers, runner and gateways while jobs are sent and worked off."""
    redis = RedisServer() if store == "redis" else None
    with tempfile.TemporaryDirectory() as folder:
        service = start_service(environment=environment_of(redis, folder))
        try:
            report = run_chaos(service, jobs, every, deadline)
        finally:
            service.stop()
            if redis:
                redis.kill()
    click.echo(machine.page_head("Jobs while processes are killed"))
    click.echo(
        f"- {store}: {report.wanted} jobs in {report.seconds:.0f} s, kills {dict(report.kills)}\n"
        f"- statuses {dict(report.statuses)}, attempts {dict(sorted(report.attempts.items()))}\n"
        f"- lost {report.lost}, duplicates {report.duplicates}, broken {len(report.broken)}"
    )
    for fault in report.broken[:10]:
        click.echo(fault)
    raise SystemExit(0 if report.is_clean else 1)


@main.command()
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def latency(seconds: float, as_json: bool) -> None:
    """POST and GET of jobs beside /health, with the pool busy."""
    with tempfile.TemporaryDirectory() as folder:
        service = start_service(environment=environment_of(None, folder))
        try:
            figures = measure_latency(service, seconds)
        finally:
            service.stop()
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(machine.page_head("Answers about jobs while the pool is busy"))
    click.echo("The load shares the cores with the service.\n")
    click.echo("| request | p50, ms | p95, ms | p95 over p50 of /health |\n|---|---|---|---|")
    base = figures["health"]["p50_ms"]
    for name, one in figures.items():
        p50, p95 = one["p50_ms"], one["p95_ms"]
        click.echo(f"| {name} | {p50:.1f} | {p95:.1f} | {p95 / base:.1f} |")


@main.command()
@click.option("--rounds", default=5, show_default=True)
def first(rounds: int) -> None:
    """How long the first job takes, which a runner is started for, and those after it."""
    click.echo(machine.page_head("The first job of a service that has nothing to do"))
    click.echo("| `jobs.idle_s` | the first, s | those after it, s |\n|---|---|---|")
    for idle_s in ("600", "0"):
        firsts, others = [], []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                environment = {**environment_of(None, folder), "OMNISHOT_JOBS__IDLE_S": idle_s}
                service = start_service(environment=environment)
                try:
                    client = Client(service.port, 120)
                    taken = [time_job(client) for _ in range(6)]
                finally:
                    service.stop()
            firsts.append(taken[0])
            others += taken[1:]
        click.echo(
            f"| {idle_s} | {statistics.median(firsts):.2f} ({min(firsts):.2f}–{max(firsts):.2f}) "
            f"| {statistics.median(others):.2f} |"
        )


def time_job(client: Client) -> float:
    """Seconds from sending a job of a small picture until it is completed."""
    began = monotonic()
    source = {"data": base64.b64encode(unique(SMALL)).decode()}
    document = {"source": source, "platforms": ["x-post"]}
    job = json.loads(client.ask("POST", "/api/jobs", document)[2])
    while client.read(f"/api/jobs/{job['id']}")["status"] != "completed":
        sleep(0.02)
    return monotonic() - began


def measure_latency(service: Service, seconds: float) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind of request, one after the other on one connection."""
    client = Client(service.port, seconds + 120)
    stop = threading.Event()

    def keep_busy() -> None:
        # Far more than is worked off meanwhile: the queue is never empty.
        while not stop.is_set():
            data = base64.b64encode(unique(LARGE)).decode()
            wanted = {"platforms": ["instagram-post", "x-post"], "priority": 9}
            client.ask("POST", "/api/jobs", {"source": {"data": data}, **wanted})
            stop.wait(0.2)

    taken: dict[str, list[float]] = {"health": [], "post": [], "get": [], "stats": []}
    thread = threading.Thread(target=keep_busy)
    thread.start()
    try:
        sleep(min(5.0, seconds / 4))
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)

        def timed(name: str, method: str, path: str, body: str | None = None) -> bytes:
            began = perf_counter()
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status in (200, 202), content[:300]
            taken[name].append((perf_counter() - began) * 1000.0)
            return content

        until = monotonic() + seconds
        while monotonic() < until:
            data = base64.b64encode(unique(SMALL)).decode()
            wanted = {"source": {"data": data}, "platforms": ["x-post"]}
            job = json.loads(timed("post", "POST", "/api/jobs", json.dumps(wanted)))
            timed("get", "GET", f"/api/jobs/{job['id']}")
            timed("stats", "GET", "/api/queue/stats")
            timed("health", "GET", "/health")
    finally:
        stop.set()
        thread.join()
    return {
        name: {
            "p50_ms": statistics.median(times),
            "p95_ms": statistics.quantiles(times, n=20)[-1],
            "count": len(times),
        }
        for name, times in taken.items()
    }


if __name__ == "__main__":
    main()
