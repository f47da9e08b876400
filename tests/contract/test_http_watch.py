"""What is told of requests: the slow, the failed, the drawn; and the stages of the traced."""

import itertools
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.api.watch import REASONS, Allowance, is_drawn
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import run_task, with_queue_time
from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.discretion import Discretion
from omnishot_ray.telemetry.lines import JsonLines
from omnishot_ray.telemetry.spans import StageSpans
from tests.contract.checks import CheckedClient
from tests.corpus import read

JPEG_SMALL = read("photo_flower_480x360")
KEY = "0123456789abcdef0123456789abcdef"


class Lines(logging.Handler):
    """What would be written, as the service writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines("gateway-1a2b", Discretion()))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def of_requests(self) -> list[dict]:
        documents = map(json.loads, self.lines)
        return [line for line in documents if line["logger"].endswith("watch")]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("omnishot_ray")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("DEBUG")
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def client_of(optimizer=None, tracer=None, api=None, **logs) -> CheckedClient:
    app = create_app(
        optimizer or LocalOptimizer(Limits()),
        api or ApiConfig(),
        logs=LogConfig(**logs),
        tracer=tracer,
    )
    return CheckedClient(app)


class Waiting(LocalOptimizer):
    """Says that tasks have waited."""

    async def optimize(self, task):
        return with_queue_time(run_task(task, Limits()), 5000.0)


def test_requests_are_not_told_as_long_as_all_is_well(lines: Lines) -> None:
    with client_of(slow_ms=60_000.0) as client:
        assert client.post("/api/optimize?width=100", content=JPEG_SMALL).status_code == 200
        assert client.post("/api/optimize?widht=100", content=JPEG_SMALL).status_code == 400
        assert client.get("/health").status_code == 200
    assert lines.of_requests() == []


def test_a_slow_request_is_told_with_its_id_its_stages_and_the_reason(lines: Lines) -> None:
    with client_of(Waiting(Limits()), slow_ms=0.001) as client:
        answer = client.post("/api/optimize?width=100", content=JPEG_SMALL)
    (line,) = lines.of_requests()
    assert line["level"] == "warning"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["message"] == f"slow request: {REASONS['queue']}"
    assert line["reason"] == "queue"
    assert line["queue_ms"] == 5000.0
    assert (line["method"], line["route"], line["status"]) == ("POST", "/api/optimize", 200)
    assert line["cache"] == "miss"
    assert line["took_ms"] >= 0


def test_work_that_is_slow_names_its_stage(lines: Lines) -> None:
    with client_of(slow_ms=0.001) as client:
        client.post("/api/optimize?width=1200&format=avif&effort=6", content=JPEG_SMALL)
        client.get("/health")
    made, health = lines.of_requests()
    assert made["reason"] == "encode"
    assert health["reason"] == "elsewhere"
    assert health["route"] == "/health"


def test_a_failure_of_ours_is_told_however_quick(lines: Lines) -> None:
    class Broken(LocalOptimizer):
        async def optimize(self, task):
            raise RuntimeError(f"cannot read {task.data!r} for Bearer {KEY}")

    with client_of(Broken(Limits()), slow_ms=60_000.0) as client:
        answer = client.post("/api/optimize?width=100", content=JPEG_SMALL)
    assert answer.status_code == 500
    (line,) = (json.loads(line) for line in lines.lines)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["error"] == "RuntimeError"
    assert KEY not in lines.lines[0]
    assert "JFIF" not in lines.lines[0]
    assert len(lines.lines[0]) < 3000


def test_the_sample_is_told_and_the_same_everywhere(lines: Lines) -> None:
    ids = [f"request-{number}" for number in range(400)]
    with client_of(slow_ms=60_000.0, sample=0.1, lines_per_s=10_000.0) as client:
        for request_id in ids:
            client.get("/health", headers={"X-Request-Id": request_id})
    told = [line["request_id"] for line in lines.of_requests()]
    assert told == [request_id for request_id in ids if is_drawn(request_id, 0.1)]
    assert 15 <= len(told) <= 75  # 40 expected; five standard deviations
    assert {line["level"] for line in lines.of_requests()} == {"info"}


def test_lines_are_bounded_and_what_is_left_out_is_counted() -> None:
    now = 0.0
    allowance = Allowance(2.0, lambda: now)
    assert [allowance.take() for _ in range(5)] == [0, 0, None, None, None]
    now = 0.5
    assert allowance.take() == 3
    assert allowance.take() is None
    now = 100.0
    assert [allowance.take() for _ in range(3)] == [1, 0, None]


def test_slow_requests_in_great_number_are_not_all_told(lines: Lines) -> None:
    with client_of(slow_ms=0.001, lines_per_s=1.0) as client:
        for _ in range(50):
            client.get("/health")
    assert 1 <= len(lines.of_requests()) < 50


def test_nothing_personal_or_secret_is_told(lines: Lines) -> None:
    """Each place in a request that may hold something, with everything told."""
    api = ApiConfig(keys=(f"shop:{KEY}",), rate_limit="1/hour")
    secret = "zq9-not-for-the-log"
    with client_of(slow_ms=0.001, sample=1.0, lines_per_s=10_000.0, api=api) as client:
        for method, path in (
            ("POST", f"/api/optimize?width=100&token={secret}"),
            ("POST", "/api/optimize?width=100"),
            ("GET", f"/home/{secret}.jpg"),
            ("GET", f"/problems/{secret}"),
            ("POST", f"/api/variants?{secret}=1"),
        ):
            for key in (KEY, secret):
                client.request(
                    method,
                    path,
                    content=JPEG_SMALL if method == "POST" else None,
                    headers={
                        "Authorization": f"Bearer {key}",
                        "Cookie": f"session={secret}",
                        "User-Agent": secret,
                        "Referer": f"https://shop.example/{secret}",
                        "X-Forwarded-For": "203.0.113.77",
                    },
                )
    written = "\n".join(lines.lines)
    assert len(lines.of_requests()) == 10
    for hidden in (KEY, secret, "203.0.113.77", "JFIF"):
        assert hidden not in written
    assert "key:shop is over its rate limit" in written, "callers are called by their keys' names"


@pytest.fixture(scope="module")
def spans() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # once for a process, as Ray Serve does it
    return exporter


def traced(app):
    """A span around each request, as Ray Serve makes it."""

    async def around(scope, receive, send):
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        with trace.get_tracer("test").start_as_current_span("request"):
            await app(scope, receive, send)

    return around


def test_stages_are_spans_below_that_of_the_request(spans: InMemorySpanExporter) -> None:
    spans.clear()
    app = create_app(Waiting(Limits()), ApiConfig(), tracer=StageSpans())
    with CheckedClient(traced(app)) as client:
        client.post("/api/optimize?width=100", content=JPEG_SMALL)
    *stages, request = spans.get_finished_spans()
    assert [span.name for span in stages] == [
        f"omnishot.{name}" for name in ("queue", "decode", "transform", "encode")
    ]
    for span in stages:
        assert span.parent.span_id == request.context.span_id
        assert span.context.trace_id == request.context.trace_id
        assert not span.attributes, "nothing that could tell of a picture or a person"
    queue = stages[0]
    assert (queue.end_time - queue.start_time) / 1e6 == pytest.approx(5000.0)
    for before, after in itertools.pairwise(stages):
        assert before.end_time == after.start_time
    assert stages[-1].end_time <= request.end_time


def test_a_request_that_is_not_traced_has_no_spans(spans: InMemorySpanExporter) -> None:
    spans.clear()
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), tracer=StageSpans())
    with CheckedClient(app) as client:
        client.post("/api/optimize?width=100", content=JPEG_SMALL)
    assert spans.get_finished_spans() == ()
