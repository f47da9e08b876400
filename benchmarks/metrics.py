"""What metrics cost: `python -m benchmarks.metrics [--rows 10000000] [--sketches]`.

Recording, microseconds a request, of which delivery is a share; ingest, samples a second on one
core; the 24-hour p99 by route and format over all rows, milliseconds. `--sketches` measures the
columns of bins beside a sketch in an object (ddsketch).
"""

import argparse
import asyncio
from collections.abc import Mapping
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa

from benchmarks import machine
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.query import Aggregate, Query
from omnishot_ray.metrics.recorder import Recorder
from omnishot_ray.metrics.samples import RequestSample, schema
from omnishot_ray.metrics.sketches import ACCURACY, bins_of
from omnishot_ray.metrics.store import MetricStore

NOW = 1_800_001_234.0
_BATCH = 10_000
_DAY_S = 86_400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--sketches", action="store_true")
    given = parser.parse_args()
    if given.sketches:
        measure_sketches()
        return
    print(machine.page_head("What metrics cost") + "\n```")
    record_us, deliver_us = measure_recording()
    print(f"recording    {record_us:8.2f} µs a request (goal 5), delivery {deliver_us:.2f} more")
    store, per_s = measure_ingest(given.rows)
    print(f"ingest       {per_s:8,.0f} samples/s on one core (goal 200,000)")
    cold_ms, warm_ms = measure_query(store)
    print(f"24-h p99     {warm_ms:8.1f} ms by route and format over {given.rows:,} (goal 200)")
    print(f"             {cold_ms:8.1f} ms the first time")
    print(f"held         {store.held_bytes}\n```")


def measure_recording(requests: int = 100_000, flush: int = 1000) -> tuple[float, float]:
    """Microseconds of CPU a request: taking the sample, and packing it for the hub."""

    async def send(streams: Mapping[str, bytes]) -> bool:
        return bool(streams)

    async def run() -> tuple[float, float]:
        recorder = Recorder("gateway-1", MetricsConfig(), send)
        recording = delivery = 0.0
        for begin in range(0, requests, flush):
            began = process_time()
            for number in range(begin, begin + flush):
                recorder.record(request_of(number))
            recorded = process_time()
            await recorder.flush()
            recording += recorded - began
            delivery += process_time() - recorded
        return recording / requests * 1e6, delivery / requests * 1e6

    return asyncio.run(run())


def measure_ingest(rows: int) -> tuple[MetricStore, float]:
    """A store with a day of requests, and how many it took a second."""
    clock = [NOW - _DAY_S]
    store = MetricStore(MetricsConfig(rollup_bytes=256 << 20), lambda: clock[0])
    spent, batches = 0.0, max(1, rows // _BATCH)
    for number in range(batches):
        since_s = clock[0]
        clock[0] = NOW - _DAY_S + _DAY_S * (number + 1) / batches
        batch = requests_of(_BATCH, since_s, clock[0], number)
        began = process_time()
        store.ingest("requests", batch)
        store.tick()
        spent += process_time() - began
    return store, batches * _BATCH / spent


def measure_query(store: MetricStore) -> tuple[float, float]:
    """Milliseconds of the first answer and the median of the next."""
    query = Query(
        "requests",
        _DAY_S,
        (Aggregate("count"), Aggregate("p99", "total_ms")),
        ("route", "format"),
        until_s=NOW,
    )
    times = []
    for _ in range(12):
        began = perf_counter()
        store.query(query)
        times.append((perf_counter() - began) * 1000)
    return times[0], float(np.median(times[1:]))


def measure_sketches(count: int = 200_000) -> None:
    """Microseconds a value."""
    from ddsketch import DDSketch  # noqa: PLC0415  # of the development tools

    values = np.random.default_rng(1).lognormal(3, 1, count)
    began = process_time()
    sketch = DDSketch(ACCURACY)
    for value in values.tolist():
        sketch.add(value)
    print(f"ddsketch     {(process_time() - began) / count * 1e6:8.3f} µs a value")
    began = process_time()
    for begin in range(0, count, _BATCH):
        np.unique(bins_of(values[begin : begin + _BATCH]), return_counts=True)
    print(f"columns      {(process_time() - began) / count * 1e6:8.3f} µs a value")


def request_of(number: int) -> RequestSample:
    """As gateways record them."""
    return RequestSample(
        at_s=NOW,
        route="/api/optimize",
        status=200,
        request_id=f"request-{number}",
        lane="loop",
        cache="miss",
        source_format="jpeg",
        format="jpeg",
        renditions=1,
        pixels=172_800,
        total_ms=2.5,
        decode_ms=0.8,
        transform_ms=0.4,
        encode_ms=0.6,
        bytes_in=34_000,
        bytes_out=8_000,
        bytes_saved=26_000,
    )


def requests_of(rows: int, since_s: float, until_s: float, seed: int) -> pa.RecordBatch:
    """Requests of one gateway, spread evenly over a time."""
    draw = np.random.default_rng(seed)
    columns: dict[str, object] = {
        "at_s": draw.uniform(since_s, until_s, rows),
        "process": ["gateway-1"] * rows,
        "route": draw.choice(["/api/optimize", "/api/variants", "/api/info"], rows),
        "status": draw.choice([200, 200, 200, 304, 429], rows),
        "format": draw.choice(["jpeg", "webp", "avif"], rows),
        "cache": draw.choice(["miss", "hit-memory"], rows),
        "request_id": [f"request-{number}" for number in range(rows)],
        **{
            f"{name}_ms": draw.lognormal(2, 1, rows)
            for name in ("total", "queue", "decode", "transform", "encode")
        },
        "bytes_out": draw.integers(1_000, 100_000, rows),
    }
    arrays = []
    for field in schema("requests"):
        empty = "" if pa.types.is_string(field.type) else 0
        arrays.append(pa.array(columns.get(field.name, [empty] * rows), field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema("requests"))


if __name__ == "__main__":
    main()
