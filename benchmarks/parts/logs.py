"""`logs.*` and `traces.*`: what is told of requests, and what that costs them."""

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from benchmarks.parts.asking import scope_of
from benchmarks.parts.case import FOLDER, Case, Figures, filled, pace, pace_of, place, spending
from benchmarks.watching import answer
from omnishot_ray.api.watch import Watch
from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.logs import LOGGER, configure_logs
from omnishot_ray.telemetry.spans import StageSpans

_ROUTE = "/api/optimize"
_TOLD = {"route": _ROUTE, "status": 200, "took_ms": 1200.5, "reason": "encode"}
_LINES, _ROUNDS = 1000, 5


@contextmanager
def _logging(config: LogConfig) -> Iterator[None]:
    """Lines go where the configuration says; afterwards this page is as quiet as before."""
    logger = logging.getLogger(LOGGER)
    configure_logs(config, "gateway-1")
    try:
        yield
    finally:
        configure_logs(LogConfig(file="/dev/null"), "benchmark")
        logger.setLevel(logging.CRITICAL)


@contextmanager
def _standard_error(file: Path) -> Iterator[None]:
    """What is written there comes into a file."""
    kept, other = os.dup(2), os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(other, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(other)


def _written(config: LogConfig, file: Path) -> Figures:
    """Lines of a slow request into the log, in its own process."""
    logger = logging.getLogger(f"{LOGGER}.benchmarks")
    with _logging(config):
        taken = pace_of(lambda: logger.warning("slow request", extra=_TOLD), _LINES)
        informed = pace_of(lambda: logger.info("request", extra=_TOLD), _LINES)
    lines = file.read_bytes().splitlines()
    return {
        "core-µs a warning": taken.core_us,
        "core-µs an info": informed.core_us,
        "lines written of 10 000": len(lines),
        "bytes a line": sum(map(len, lines)) / max(1, len(lines)),
    }


def _formatted(form: str) -> Figures:
    with place() as folder:
        return _written(LogConfig(format=form, file=str(folder / "log")), folder / "log")


def _levelled(level: str) -> Figures:
    with place() as folder:
        return _written(LogConfig(level=level, file=str(folder / "log")), folder / "log")


def _filed(value: str) -> Figures:
    with filled(value) as file, place() as folder:
        where = folder / "log"
        if file:
            return _written(LogConfig(file=str(where)), where)
        with _standard_error(where):
            return _written(LogConfig(), where)


async def _requests(config: LogConfig, count: int, seconds: float) -> Figures:
    """So many requests at once that take so long, and the lines that are written of them."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(seconds)
        await answer(scope, receive, send)

    async def one(watch: Watch, number: int) -> None:
        scope = {**scope_of("http", "POST", _ROUTE, {}), "state": {"request_id": f"{number:032x}"}}
        await watch(scope, _nothing, _nothing)

    told, taken = [], []
    for _ in range(_ROUNDS):
        watch = Watch(slow, config, {_ROUTE})
        with place() as folder:
            file = folder / "log"
            with _logging(LogConfig(file=str(file))), spending() as spent:
                await asyncio.gather(*(one(watch, number) for number in range(count)))
            told.append(len(file.read_bytes().splitlines()))
            taken.append(spent.core_s / count * 1e6)
    return {f"lines of {count} requests": median(told), "core-µs a request": median(taken)}


async def _nothing(*_: object) -> None:
    return None


async def _slow(slow_ms: float) -> Figures:
    return await _requests(LogConfig(slow_ms=slow_ms, lines_per_s=1e6), 1000, 0.2)


async def _bounded(per_s: float) -> Figures:
    return await _requests(LogConfig(sample=1.0, lines_per_s=per_s), 1000, 0.0)


class _Counting(SpanExporter):
    """Sends nothing anywhere."""

    spans = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count them."""
        self.spans += len(spans)
        return SpanExportResult.SUCCESS


def export_nowhere() -> list[BatchSpanProcessor]:
    """What `traces.exporter` may name."""
    return [BatchSpanProcessor(_Counting())]


async def _traced(exporter: str, share: float, requests: int = 1000) -> Figures:
    """A span of a request as Serve makes it, with the stages below it."""
    counting = _Counting()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)))
    provider.add_span_processor(BatchSpanProcessor(counting))
    serve = provider.get_tracer("serve")
    tracer = StageSpans() if exporter else None
    if tracer is not None:
        tracer._tracer = provider.get_tracer(LOGGER)
    watch = Watch(answer, LogConfig(slow_ms=0.0), {_ROUTE}, tracer)
    numbers = iter(range(10**6))

    async def ask() -> None:
        number = next(numbers)
        scope = {**scope_of("http", "POST", _ROUTE, {}), "state": {"request_id": f"{number:032x}"}}
        if not exporter:
            await watch(scope, _nothing, _nothing)
            return
        with serve.start_as_current_span("proxy"):
            await watch(scope, _nothing, _nothing)

    taken = await pace(ask, requests)
    asked = next(numbers)
    provider.force_flush()
    provider.shutdown()
    return {"core-µs a request": taken.core_us, "spans a request": counting.spans / asked}


async def _exported(exporter: str) -> Figures:
    return await _traced(exporter, 0.01)


async def _sampled(share: float) -> Figures:
    return await _traced("otlp", share)


CASES = (
    Case("logs.level", ("info", "warning", "error"), "5 000 warnings and 5 000 infos", _levelled),
    Case("logs.format", ("auto", "json", "text"), "5 000 warnings and 5 000 infos", _formatted),
    Case("logs.file", ("", f"{FOLDER}/log"), "5 000 warnings and 5 000 infos", _filed),
    Case("logs.slow_ms", (1000.0, 0.0, 100.0), "requests that take 200 ms", _slow),
    Case("logs.lines_per_s", (20.0, 1.0, 10_000.0), "requests at once with `logs.sample` 1",
         _bounded),
    Case("traces.exporter", ("", "benchmarks.parts.logs:export_nowhere"),
         "requests of three stages", _exported),
    Case("traces.sample", (0.01, 0.1, 1.0), "requests of three stages", _sampled),
)  # fmt: skip
