"""`metrics.*`: what is kept of samples, for how long, and what it costs."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from time import perf_counter, process_time

import orjson
from starlette.types import Message

from benchmarks import rss
from benchmarks.metrics import NOW, request_of, requests_of
from benchmarks.parts.asking import face, scope_of
from benchmarks.parts.case import (
    FOLDER,
    Case,
    Figures,
    filled,
    folder_bytes,
    fresh,
    pace_of,
    place,
    spending,
)
from omnishot_ray.metrics.alerts import AlertConfig
from omnishot_ray.metrics.archive import Archive
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Hub
from omnishot_ray.metrics.local import LocalMetrics
from omnishot_ray.metrics.query import Aggregate, Query
from omnishot_ray.metrics.recorder import Recorder
from omnishot_ray.metrics.rollups import Level
from omnishot_ray.serving.resources import Watch

_DAY_S = 86_400.0
_P99 = (Aggregate("count"), Aggregate("p99", "total_ms"))
_LIVE_S = 4.0
_NO_ALERTS = AlertConfig(rules=(), every_s=1e12)


class _Writing(Hub):
    """Notes what its writing takes."""

    writing_s = 0.0

    def write(self) -> None:
        """As `Hub.write`."""
        with spending() as spent:
            super().write()
        self.writing_s += spent.core_s


def hub_of(seconds: float, per_s: int, every_s: float, config: MetricsConfig) -> _Writing:
    """A hub after so many seconds of traffic that came every `every_s`, by a clock of its own.

    Nobody looks after alerts: that is measured for itself.
    """
    clock = [NOW - seconds]
    hub = _Writing(replace(config, alerts=_NO_ALERTS), lambda: clock[0])
    while clock[0] < NOW - 1e-6:
        since_s, clock[0] = clock[0], clock[0] + every_s
        rows = round(per_s * every_s)
        hub.take("requests", requests_of(rows, since_s, clock[0], int(clock[0])))
        hub.tick()
    return hub


async def _flushed(seconds: float, per_s: int = 200, samples: int = 20_000) -> Figures:
    hub = Hub(MetricsConfig())
    packing = taking = 0.0

    async def send(streams: Mapping[str, bytes]) -> bool:
        nonlocal taking
        with spending() as spent:
            hub.ingest(streams)
        taking += spent.core_s
        return True

    recorder = Recorder("gateway-1", MetricsConfig(flush_s=seconds), send)
    each = round(per_s * seconds)
    for begin in range(0, samples, each):
        for number in range(begin, begin + each):
            recorder.record(request_of(number))
        with spending() as spent:
            await recorder.flush()
        packing += spent.core_s
    taken = hub.store.samples["requests"]
    return {
        f"samples a delivery of {per_s}/s": each,
        "core-µs a sample to pack": (packing - taking) / taken * 1e6,
        "core-µs to take in": taking / taken * 1e6,
    }


def _buffered(most: int) -> Figures:
    """In a process of its own, for its memory."""

    async def refuse(_streams: Mapping[str, bytes]) -> bool:
        return False

    recorder = Recorder("gateway-1", MetricsConfig(buffer_samples=most), refuse)
    recorder.record(request_of(0))
    asyncio.run(recorder.flush())
    rest = rss.resident_bytes()
    for number in range(most + most // 10):
        recorder.record(request_of(number))
    held = rss.resident_bytes() - rest
    with spending() as spent:
        asyncio.run(recorder.flush())
    return {
        "MB held": held / 1e6,
        "dropped of a tenth more": recorder.dropped,
        "core-ms of the event loop to pack them all": spent.core_s * 1e3,
    }


def _looked(seconds: float) -> Figures:
    watch = Watch("gateway-1", "gateway")
    look = pace_of(watch.look, 500)
    return {"core-µs a look": look.core_us, "% of a core": look.core_us / seconds / 1e4}


def _archived(uri: str, samples: int = 50_000) -> Figures:
    with filled(uri) as at:
        config = MetricsConfig(uri=at, write_s=1e9)
        with spending() as spent:
            hub = hub_of(500.0, samples // 500, 10.0, config)
        with spending() as writing:
            hub.write()
        size = sum(hub.store.held_bytes.values())
        figures = {"core-µs a sample": (spent.core_s + writing.core_s) / samples * 1e6}
        figures["MB in memory"] = size / 1e6
        if at:
            kept = Archive(at).read("requests", 0.0, NOW)
            figures["samples on disk"] = float(kept.num_rows)
    return figures


def _written(seconds: float, minutes: int = 3, per_s: int = 50) -> Figures:
    with place() as folder:
        config = MetricsConfig(uri=folder.as_uri(), write_s=seconds)
        hub = hub_of(60.0 * minutes, per_s, 1.0, config)
        hub.write()
        files = [file for file in folder.rglob("*.parquet") if file.is_file()]
        return {
            "files a minute": len(files) / minutes,
            "core-ms a minute": hub.writing_s * 1e3 / minutes,
            "bytes a sample": folder_bytes(folder) / (60 * minutes * per_s),
            "samples lost at most with the hub": per_s * seconds,
        }


def _retained(days: float, fed: int = 400, a_day: int = 480) -> Figures:
    """Each day's requests come within a minute."""
    clock = [NOW - fed * _DAY_S]
    hub = Hub(MetricsConfig(retention_days=days, alerts=_NO_ALERTS), lambda: clock[0])
    for day in range(fed):
        clock[0] += _DAY_S
        hub.take("requests", requests_of(a_day, clock[0] - 60.0, clock[0], day))
        hub.tick()
    ask = Query("requests", fed * _DAY_S, _P99, ("route", "format"), until_s=NOW)
    found = sum(row["count"] for row in hub.query(ask).to_pylist())
    return {
        "days of requests that a question finds": found / a_day,
        "MB of rollups": hub.store.held_bytes["rollups"] / 1e6,
        "core-ms of the question": pace_of(lambda: hub.query(ask), 3).core_us / 1e3,
    }


def _kept_raw(config: MetricsConfig, hours: float, per_s: int) -> Figures:
    hub = hub_of(hours * 3600.0, per_s, 20.0, config)
    samples = hub.store.read("requests", 0.0)
    oldest = min(samples["at_s"].to_pylist())
    return {
        "samples kept": samples.num_rows,
        "minutes back": (NOW - oldest) / 60.0,
        "MB": hub.store.held_bytes["samples"] / 1e6,
    }


def _rolled_up(most: int, hours: float = 2.0) -> Figures:
    hub = hub_of(hours * 3600.0, 12, 5.0, MetricsConfig(rollup_bytes=most))
    ask = Query("requests", hours * 3600.0, _P99, ("route", "format"), until_s=NOW)
    asked = pace_of(lambda: hub.query(ask), 5)
    fine = {level.step_s: level for level in hub.store._rollups["requests"].levels}
    return {
        "MB held": hub.store.held_bytes["rollups"] / 1e6,
        "minutes back by the second": _reach(fine[1]) / 60.0,
        "by ten seconds": _reach(fine[10]) / 60.0,
        "by the minute": _reach(fine[60]) / 60.0,
        "core-ms of the p99 by route and format over all": asked.core_us / 1e3,
    }


def _reach(level: Level) -> float:
    """Seconds back to its oldest cell."""
    return NOW - min(float(part.at[0]) for part in level.read(0, int(NOW) + 1))


def _windowed(seconds: float) -> Figures:
    hub = _live_hub()
    taken = pace_of(lambda: hub.snapshot(seconds, (), ()), 5)
    document = hub.snapshot(seconds, (), ())
    return {
        "requests in it": document["requests"]["total"],
        "core-ms of a snapshot": taken.core_us / 1e3,
        "kB of JSON": len(orjson.dumps(document)) / 1e3,
    }


async def _subscribed(most: int) -> Figures:
    """All places are taken, and one more comes."""
    hub_config = MetricsConfig(max_subscribers=most)
    app = face(metrics=LocalMetrics(hub_config), metrics_config=hub_config)
    sent, refused = [0], [0]

    async def listen() -> None:
        greeting = [
            {"type": "websocket.receive", "text": '{"subscribe": "metrics"}'},
            {"type": "websocket.connect"},
        ]

        async def receive() -> Message:
            if not greeting:
                await asyncio.Event().wait()
            return greeting.pop()

        async def send(message: Message) -> None:
            sent[0] += len(message.get("text") or "")
            refused[0] += message["type"] == "websocket.close"

        await app(scope_of("websocket", "GET", "/api/metrics/stream", {}), receive, send)

    listeners = [asyncio.create_task(listen()) for _ in range(most + 1)]
    await asyncio.sleep(1.2)
    began, spent, before = perf_counter(), process_time(), sent[0]
    await asyncio.sleep(_LIVE_S)
    passed = perf_counter() - began
    used = process_time() - spent
    for task in listeners:
        task.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    return {
        "core-ms a second": used / passed * 1e3,
        "kB a second": (sent[0] - before) / passed / 1e3,
        "refused of one more": refused[0],
    }


def _raw(name: str, hours: float, per_s: int, value: float) -> Figures:
    return _kept_raw(MetricsConfig(**{name: value}), hours, per_s)  # type: ignore[arg-type]


_live_hub = cache(partial(hub_of, 3600.0, 20, 10.0, MetricsConfig()))


CASES = (
    Case("metrics.window_s", (60.0, 10.0, 3600.0), "`GET /api/metrics`, 20 requests/s", _windowed),
    Case("metrics.flush_s", (1.0, 0.2, 5.0), "20 000 samples of requests", _flushed),
    Case(
        "metrics.buffer_samples",
        (20_000, 2_000, 200_000),
        "samples while the hub is away",
        partial(fresh, _buffered),
    ),
    Case("metrics.resources_s", (2.0, 0.5, 10.0), "a process looks at itself", _looked),
    Case("metrics.uri", ("", f"file://{FOLDER}"), "50 000 samples taken in", _archived),
    Case("metrics.write_s", (10.0, 1.0, 60.0), "50 requests/s for three minutes", _written),
    Case(
        "metrics.retention_days",
        (30.0, 1.0, 365.0),
        "400 days of 480 requests each",
        _retained,
    ),
    Case("metrics.raw_s", (3600.0, 600.0, 7200.0), "150 minutes of 3 requests/s",
         partial(_raw, "raw_s", 2.5, 3)),
    Case("metrics.raw_bytes", (16 << 20, 4 << 20, 64 << 20), "50 minutes of 100 requests/s",
         partial(_raw, "raw_bytes", 5 / 6, 100)),
    Case("metrics.rollup_bytes", (64 << 20, 4 << 20, 16 << 20), "two hours of 12 requests/s",
         _rolled_up),
    Case("metrics.max_subscribers", (64, 8, 256), "so many listen to the live page's stream",
         _subscribed),
)  # fmt: skip
